"""lm-eval's model, with what requests share computed once: the beginning of prompts, the context of several choices.

Requests, tokens, truncation, stop sequences, the store of answers and their order are stock lm-eval's; the model alone
is called in another way. In float32 answers are those of stock lm-eval. In bfloat16 rounding depends on what is
computed together, in stock lm-eval as well: its answers change with the batch size. `python -m perf.evaluation` counts
both.
"""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lm_eval import evaluator
from lm_eval.api.model import LM
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.models.huggingface import HFLM
from torch.nn.functional import log_softmax

from benchmark.core.progress import Progress
from benchmark.models.behaviour import ALONE, bears_padding
from benchmark.models.generation import set_aside_settings
from benchmark.models.loading import context_of
from benchmark.models.reading import Beginning, Reader, Row

_KEPT = 16  # texts whose tokens are kept
PASS = 64  # tokens that could be read in the time that one more forward pass takes

_Request = tuple[tuple[str, str], list[int], list[int]]  # context and continuation, as texts and as tokens
_Asked = tuple[Row, list[tuple[int, list[int]]]]  # a row, and the numbers of its requests with their places in it


def evaluated(
    model: LM,
    loaded: Any,
    num_fewshot: int | None,
    limit: int | None = None,
    samples: dict[str, list[int]] | None = None,
) -> Any:
    """What lm-eval's `evaluate` finds for tasks that its TaskManager loaded.

    `simple_evaluate` does the same, and besides looks for a git checkout and runs pip for seconds to report on the
    machine.

    Args:
        model: The model, as lm-eval takes it.
        loaded: What `TaskManager.load` gave.
        num_fewshot: Examples before each question, None for what the task says; a task that says 0 keeps it.
        limit: The first so many questions of each task, None for all.
        samples: The numbers of the questions to ask by task, None for all; not with a limit.
    """
    random.seed(DEFAULT_RANDOM_SEED)  # some tasks draw their examples or choices
    np.random.seed(DEFAULT_OTHER_SEED)
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return evaluator.evaluate(model, loaded, limit=limit, samples=samples, bootstrap_iters=0, log_samples=True)


class Answering(HFLM):  # type: ignore[misc]
    """A model as lm-eval takes it.

    The model is called as stock lm-eval does it for generation that is not greedy, for texts read window by window
    (loglikelihood_rolling), for requests longer than its context, and if it is none that `Reader` reads. That costs
    time, and changes no number.

    Args:
        model: A causal language model of transformers, or a peft model of one.
        tokenizer: Its tokenizer. A copy is used, since lm-eval gives it a padding token.
        batch_size: Prompts answered at once. Where choices are compared, a batch has no more tokens than so many of the
            longest requests; and prompts that are shorter than others that were answered before, because fewer
            examples stand in them, are answered as many more at once as have the tokens of those.
        progress: Told of the requests answered, of a kind (generations, likelihoods) at a time.

    Attributes:
        notes: What of the model was set aside, or done in another way for its sake.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, progress: Progress) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=batch_size,
            max_length=context_of(model.config),
        )
        self.notes = [f"the model's {setting} was set aside" for setting in set_aside_settings(model, self.tokenizer)]
        self._progress = progress
        self._answered = self._asked = 0
        self._rows, self._most_tokens = batch_size, 0
        self._beginning: Beginning | None = None
        self._encoded: dict[str, list[int]] = {}

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.model)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers of stock lm-eval."""
        if not (self._reader.reads or bears_padding(self.model, left=True)):
            self._rows = 1
            self.notes += [ALONE] if ALONE not in self.notes else []
        answer = super().generate_until

        def answer_task(of_task: list[Any], **options: Any) -> list[str]:
            longest = max(
                len(self.tok_encode(prompt)) + how.get("max_gen_toks", self.max_gen_toks)
                for prompt, how in (request.args for request in of_task)
            )
            self._most_tokens = max(self._most_tokens, self._rows * longest)
            self.batch_size_per_gpu = 1 if self._rows == 1 else self._most_tokens // longest
            answers: list[str] = answer(of_task, **options)
            self.batch_size_per_gpu = self._rows
            return answers

        return self._by_task(requests, answer_task)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """The likelihoods of stock lm-eval."""
        return self._by_task(requests, super().loglikelihood)

    def tok_encode(self, string: str, *rest: Any, **options: Any) -> list[int]:
        """The tokens of stock lm-eval, which encodes a context once for each of its choices; the last few are kept."""
        if rest or options:
            return list(super().tok_encode(string, *rest, **options))
        if string not in self._encoded:
            if len(self._encoded) == _KEPT:
                self._encoded.clear()
            self._encoded[string] = super().tok_encode(string)
        return self._encoded[string]

    def _by_task(self, requests: list[Any], answer: Callable[..., list[Any]]) -> list[Any]:
        """Answer requests of one task after another, since those of a task have their examples in common."""
        self._answered, self._asked = 0, len(requests)
        tasks: dict[Any, list[int]] = {}
        for number, request in enumerate(requests):
            tasks.setdefault(request.task_name, []).append(number)
        answers: list[Any] = [None] * len(requests)
        for numbers in tasks.values():
            found = answer([requests[number] for number in numbers], disable_tqdm=True)
            for number, one in zip(numbers, found, strict=True):
                answers[number] = one
            self._beginning = None
        return answers

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        limit = max_length - context.shape[1]
        if limit < 1 or not self._is_greedy(options) or not self._reader.reads:
            tokens = super()._model_generate(context, max_length, stop, **options)
            self._tell(len(context))
            return tokens
        rows = [ids[real].tolist() for ids, real in zip(context, options["attention_mask"].bool(), strict=True)]
        made: dict[int, list[int]] = {}
        for numbers in self._readable_together(rows, limit):
            some = [rows[number] for number in numbers]
            found = self._reader.continued(some, self._begin(some), limit, self._ended(stop))
            made.update(zip(numbers, found, strict=True))
        self._tell(len(rows))
        longest = max(map(len, made.values()))
        padding = [self.tokenizer.pad_token_id] * longest
        filled = [(made[number] + padding)[:longest] for number in range(len(rows))]
        return torch.cat([context, torch.tensor(filled, device=context.device)], dim=1)

    def _is_greedy(self, options: dict[str, Any]) -> bool:
        """Whether the task asks for nothing but the likeliest tokens."""
        others = options.keys() - {"attention_mask", "do_sample", "temperature"}
        return not (others or options.get("do_sample") or options.get("temperature") or self.mixed_precision_dtype)

    def _readable_together(self, rows: list[list[int]], limit: int) -> Iterator[list[int]]:
        """Numbers of rows that can be read at once: all, or those of a length where padding would shift a window."""
        window = self._reader.window
        whole = window is None or max(map(len, rows)) + limit <= window
        lengths: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            lengths.setdefault(0 if whole else len(row), []).append(number)
        yield from lengths.values()

    def _begin(self, rows: Sequence[list[int]]) -> Beginning:
        """What the rows begin with: read already, or read now if that is less work than to read it in every row."""
        common = _common([row[:-1] for row in rows])
        known = self._beginning
        if known is None or known.ids != common[: len(known.ids)]:
            known = self._reader.begin([])
        if (len(common) - len(known.ids)) * len(rows) > len(common) + PASS:
            known = self._reader.begin(common)
        self._beginning = known
        return known

    def _ended(self, stop: list[str]) -> Callable[[list[list[int]]], list[bool]]:
        """Whether rows have ended, by the end token or by the text of their last tokens, as stock lm-eval sees it."""
        end = self.model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        behind = 2 + max(len(self.tokenizer.encode(some, add_special_tokens=False)) for some in stop)

        def ended(rows: list[list[int]]) -> list[bool]:
            texts = self.tokenizer.batch_decode([row[-behind:] for row in rows])
            return [
                row[-1] in ends or any(some in text for some in stop) for row, text in zip(rows, texts, strict=True)
            ]

        return ended

    def _loglikelihood_tokens(
        self, requests: Sequence[_Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        longest = max(len(context) + len(rest) for _, context, rest in requests)
        is_window = override_bs is not None
        if is_window or self.mixed_precision_dtype or longest > self.max_length + 1 or not self._reader.reads:
            found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
            return found
        answers: dict[int, tuple[float, bool]] = {}
        for batch in self._batches(requests, longest):
            compared = self._compared(batch, requests)
            answers.update(compared)
            self._tell(len(compared))
        for number, answer in answers.items():
            self.cache_hook.add_partial("loglikelihood", requests[number][0], answer)
        return [answers[number] for number in range(len(requests))]

    def _batches(self, requests: Sequence[_Request], longest: int) -> Iterator[list[_Asked]]:
        """Rows to read at once, long ones first; together they have no more tokens than stock's largest batch."""
        packs = self._reader.packs and longest <= (self._reader.window or longest)
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for number, (_, context, rest) in enumerate(requests):
            alike.setdefault((tuple(context), () if packs else tuple(rest[:-1])), []).append(number)
        rows: list[_Asked] = []
        for numbers in alike.values():
            for start in range(0, len(numbers), self.batch_size):
                row = Row(requests[numbers[0]][1])
                rows.append((row, [(n, row.add(requests[n][2])) for n in numbers[start : start + self.batch_size]]))
        rows.sort(key=lambda asked: (-len(asked[0].tokens), asked[0].tokens))
        while rows:
            fit = max(1, self.batch_size * (longest - 1) // len(rows[0][0].tokens))
            yield rows[:fit]
            rows = rows[fit:]

    def _compared(self, batch: list[_Asked], requests: Sequence[_Request]) -> dict[int, tuple[float, bool]]:
        """Of every request of a batch, by its number: the log-likelihood, and whether nothing is likelier."""
        rows = [row for row, _ in batch]
        beginning = self._begin([row.tokens[: row.context] for row in rows])
        asked = [(row, number, places) for row, (_, some) in enumerate(batch) for number, places in some]
        every = [(row, place) for row, _, places in asked for place in places]
        distinct = {place: index for index, place in enumerate(dict.fromkeys(every))}
        logits = self._reader.predicted(rows, beginning, list(distinct))
        likelihoods = log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        index = torch.tensor([distinct[place] for place in every], device=logits.device)
        tokens = torch.tensor([t for _, number, _ in asked for t in requests[number][2]], device=logits.device)
        lengths = [len(places) for _, _, places in asked]
        sums = torch.stack([some.sum() for some in likelihoods[index, tokens].split(lengths)])
        hits = torch.stack([some.all() for some in (likelihoods.argmax(dim=-1)[index] == tokens).split(lengths)])
        numbers = [number for _, number, _ in asked]
        return dict(zip(numbers, zip(sums.tolist(), hits.tolist(), strict=True), strict=True))

    def _model_call(self, inps: Any, *rest: Any, **options: Any) -> Any:
        logits = super()._model_call(inps, *rest, **options)
        self._tell(len(inps))
        return logits

    def _tell(self, requests: int) -> None:
        self._answered += requests
        self._progress(self._answered, self._asked)


def _common(rows: Sequence[list[int]]) -> list[int]:
    """The longest beginning that all rows share."""
    low, high = min(rows), max(rows)  # in the order of a dictionary: what these two share, all between share
    length = next((place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:length]
