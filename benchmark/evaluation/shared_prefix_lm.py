"""lm-eval's class for transformers models, with everything that requests share computed once.

lm-eval's guide to new models suggests to subclass `HFLM` and override a few methods, which is done here. Stock lm-eval
reads every prompt whole. It shares a forward pass between continuations of a context only if they have a single token
(`logits_cache`), and has no cache of keys and values across requests. The tasks of this project put the same examples
before every question, and have several choices of many tokens after the same context. So three methods that call the
model are overridden:

- `_model_generate`: the examples are read once for a task, and rows that have ended are not computed further.
- `_loglikelihood_tokens`: the examples are read once, and the choices of a question share a row.
- `generate_until`: short prompts form larger batches than long ones.

Requests, tokens, truncation, stop sequences and the order of answers are stock lm-eval's, but for tokens that reach
from a context into its continuation (`_encode_pair`). In float32 the answers are those of stock lm-eval. In bfloat16,
rounding depends on what is computed together; stock lm-eval's own answers change with the batch size. Questions take
about half the time that stock lm-eval needs: `python -m perf.evaluation` measures it and counts the answers that
differ, and docs/performance.md has the numbers.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM
from torch.nn.functional import log_softmax

from benchmark.core.progress import Progress
from benchmark.evaluation.batch_limits import rows_of_choices, rows_that_fit
from benchmark.models.forward_checks import PADDING_NOTE, padding_is_harmless
from benchmark.models.generation_settings import set_aside_settings
from benchmark.models.loading import context_of
from benchmark.models.shared_prefix import PackedRow, Prefix, PrefixReader, common_prefix

_CACHED_TEXTS = 16  # whose tokens are cached
TOKENS_PER_PASS = 64  # tokens that could be read in the time that one more forward pass takes

_Request = tuple[tuple[str, str], list[int], list[int]]  # context and continuation as texts, then each as tokens
# A row, and for each request in it the request's number and the indices of the tokens that predict its continuation.
_RowOfRequests = tuple[PackedRow, list[tuple[int, list[int]]]]


class SharedPrefixLM(HFLM):  # type: ignore[misc]
    """A causal language model for lm-eval that reads the tokens that requests share once.

    Stock lm-eval calls the model for sampled generation, for texts read window by window (loglikelihood_rolling), for
    requests longer than the context, and for models that `PrefixReader` does not support. The answers are the same.

    Args:
        model: A causal language model of transformers, or a peft model of one.
        tokenizer: Its tokenizer. It is copied, since lm-eval gives it a padding token.
        batch_size: Prompts of a batch. For choices, a batch has at most the tokens of `batch_size` longest requests.
            For generation, a task with shorter prompts than an earlier task, for lack of examples, has larger batches,
            of as many tokens as that task's. `batch_limits` limits them further on a CPU.
        progress: Called with the number of requests answered and of all requests, separately for generations and
            likelihoods.

    Attributes:
        notes: Settings of the model that were set aside, and whether prompts were read one by one; for the record.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, progress: Progress) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=batch_size,
            max_length=context_of(model.config),
        )
        self.notes = [f"the model's {setting} was set aside" for setting in set_aside_settings(model, self.tokenizer)]
        self.cache_hook = self._counter = _AnswerCounter(progress)
        self._encoded: dict[str, list[int]] = {}
        self._rows, self._most_tokens = batch_size, 0
        self._logit_bytes_per_token = model.config.get_text_config(decoder=True).vocab_size * model.dtype.itemsize
        self._prefix: Prefix | None = None

    @cached_property
    def _reader(self) -> PrefixReader:
        return PrefixReader(self.model)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers of stock lm-eval, task by task, in batches of about the same number of tokens."""
        if not (self._reader.supported or padding_is_harmless(self.model, left=True)):
            self._rows = 1
            self.notes += [PADDING_NOTE] if PADDING_NOTE not in self.notes else []
        generate = super().generate_until

        def generate_task(requests: list[Any], **options: Any) -> list[str]:
            longest = max(
                len(self.tok_encode(prompt)) + settings.get("max_gen_toks", self.max_gen_toks)
                for prompt, settings in (request.args for request in requests)
            )
            self._most_tokens = max(self._most_tokens, self._rows * longest)
            rows = 1 if self._rows == 1 else self._most_tokens // longest
            with self._rows_at_once(rows, longest, 1):
                answers: list[str] = generate(requests, **options)
            return answers

        return self._by_task(requests, generate_task)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """The likelihoods of stock lm-eval, task by task."""
        return self._by_task(requests, super().loglikelihood)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The likelihoods of stock lm-eval."""
        self._counter.start(len(requests))
        longest = min(max(len(self.tok_encode(request.args[0])) for request in requests) + 1, self.max_length)
        with self._rows_at_once(self._rows, longest, longest):
            likelihoods: list[float] = super().loglikelihood_rolling(requests, disable_tqdm=True)
        return likelihoods

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The tokens of a context and of the continuation to score, those of both together cut in two.

        Where a token reaches across the cut, stock lm-eval leaves out as many tokens as the context has alone, and so
        scores a piece of the continuation, or nothing. Here the cut is before that token, so that all of it is scored.
        """
        of_context, of_continuation = super()._encode_pair(context, continuation)
        whole = self.tok_encode(context + continuation)
        if whole[: len(of_context)] == of_context and of_continuation:
            return of_context, of_continuation
        shared = min(len(common_prefix([of_context, whole])), len(whole) - 1)
        return (whole[:shared], whole[shared:]) if shared else (of_context, of_continuation)

    def tok_encode(self, string: str, *rest: Any, **options: Any) -> list[int]:
        """The tokens of stock lm-eval, with a cache: lm-eval encodes a context again for each of its choices."""
        if rest or options:
            return list(super().tok_encode(string, *rest, **options))
        if string not in self._encoded:
            if len(self._encoded) == _CACHED_TEXTS:
                self._encoded.clear()
            self._encoded[string] = super().tok_encode(string)
        return self._encoded[string]

    def _by_task(self, requests: list[Any], answer: Callable[..., list[Any]]) -> list[Any]:
        """Answer the requests of one task after another, since those of a task share their examples."""
        self._counter.start(len(requests))
        tasks: dict[Any, list[int]] = {}
        for number, request in enumerate(requests):
            tasks.setdefault(request.task_name, []).append(number)
        answers: list[Any] = [None] * len(requests)
        for numbers in tasks.values():
            of_task = answer([requests[number] for number in numbers], disable_tqdm=True)
            for number, task_answer in zip(numbers, of_task, strict=True):
                answers[number] = task_answer
            self._prefix = None
        return answers

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        """Generate for a batch of prompts, padded on the left: (rows, n) tokens in, (rows, n + generated) out."""
        limit = max_length - context.shape[1]
        if limit < 1 or not self._is_greedy(options) or not self._reader.supported:
            return super()._model_generate(context, max_length, stop, **options)
        prompts = [ids[mask].tolist() for ids, mask in zip(context, options["attention_mask"].bool(), strict=True)]
        generated: dict[int, list[int]] = {}
        for numbers in self._reader.groups(prompts, limit):
            group = [prompts[number] for number in numbers]
            tokens = self._reader.generate(group, self._prefix_of(group), limit, self._stop_check(stop))
            generated.update(zip(numbers, tokens, strict=True))
        longest = max(map(len, generated.values()))
        padding = [self.tokenizer.pad_token_id] * longest
        padded = [(generated[number] + padding)[:longest] for number in range(len(prompts))]
        return torch.cat([context, torch.tensor(padded, device=context.device)], dim=1)

    def _is_greedy(self, options: dict[str, Any]) -> bool:
        """Whether a task's generation settings ask for the likeliest tokens and nothing else."""
        others = options.keys() - {"attention_mask", "do_sample", "temperature"}
        return not (others or options.get("do_sample") or options.get("temperature") or self.mixed_precision_dtype)

    def _prefix_of(self, rows: Sequence[list[int]]) -> Prefix:
        """The prefix that rows share: the last batch's, or a longer one if that is worth a forward pass."""
        shared = common_prefix([row[:-1] for row in rows])
        prefix = self._prefix
        if prefix is None or prefix.ids != shared[: len(prefix.ids)]:
            prefix = self._reader.read_prefix([])
        if (len(shared) - len(prefix.ids)) * len(rows) > len(shared) + TOKENS_PER_PASS:
            prefix = self._reader.read_prefix(shared)
        self._prefix = prefix
        return prefix

    def _stop_check(self, stop: list[str]) -> Callable[[list[list[int]]], list[bool]]:
        """A function that says which rows have ended, by an end token or a stop sequence, as stock lm-eval does."""
        end_token = self.model.generation_config.eos_token_id
        end_tokens = end_token if isinstance(end_token, list) else [end_token]
        last = 2 + max(len(self.tokenizer.encode(sequence, add_special_tokens=False)) for sequence in stop)

        def ended(rows: list[list[int]]) -> list[bool]:
            texts = self.tokenizer.batch_decode([row[-last:] for row in rows])
            return [
                row[-1] in end_tokens or any(sequence in text for sequence in stop)
                for row, text in zip(rows, texts, strict=True)
            ]

        return ended

    def _loglikelihood_tokens(
        self, requests: Sequence[_Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Of every request: the log-likelihood of its continuation, and whether it is the likeliest one."""
        longest = max(len(context) + len(continuation) for _, context, continuation in requests)
        is_window = override_bs is not None
        if is_window or self.mixed_precision_dtype or longest > self.max_length + 1 or not self._reader.supported:
            read = min(longest, self.max_length)
            with self._rows_at_once(self._rows, read, read):
                stock: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
            return stock
        answers: dict[int, tuple[float, bool]] = {}
        for batch in self._batches(requests, longest):
            of_batch = self._likelihoods(batch, requests)
            answers.update(of_batch)
            for number, answer in of_batch.items():
                self.cache_hook.add_partial("loglikelihood", requests[number][0], answer)
        return [answers[number] for number in range(len(requests))]

    def _batches(self, requests: Sequence[_Request], longest: int) -> Iterator[list[_RowOfRequests]]:
        """Rows to read together, the longest first, with at most the tokens of stock lm-eval's largest batch."""
        packs = self._reader.packs and longest <= (self._reader.window or longest)
        same_row: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for number, (_, context, continuation) in enumerate(requests):
            same_row.setdefault((tuple(context), () if packs else tuple(continuation[:-1])), []).append(number)
        rows: list[_RowOfRequests] = []
        for numbers in same_row.values():
            for start in range(0, len(numbers), self.batch_size):
                row = PackedRow(requests[numbers[0]][1])
                rows.append((row, [(n, row.add(requests[n][2])) for n in numbers[start : start + self.batch_size]]))
        rows.sort(key=lambda row: (-len(row[0].tokens), row[0].tokens))
        sizes = [(len(row.tokens), row.context) for row, _ in rows]
        while rows:
            fit = rows_of_choices(self.device.type, self.batch_size, longest, sizes, self._logit_bytes_per_token)
            yield rows[:fit]
            rows, sizes = rows[fit:], sizes[fit:]

    @contextmanager
    def _rows_at_once(self, rows: int, tokens: int, columns: int) -> Iterator[None]:
        """Let stock lm-eval form batches of at most `rows` rows meanwhile, as many as fit.

        Args:
            rows: The most rows of a batch.
            tokens: Tokens of the longest row.
            columns: Tokens of a row whose logits are computed.
        """
        self.batch_size_per_gpu = min(
            rows, rows_that_fit(self.device.type, tokens, columns * self._logit_bytes_per_token)
        )
        try:
            yield
        finally:
            self.batch_size_per_gpu = self._rows

    def _likelihoods(self, batch: list[_RowOfRequests], requests: Sequence[_Request]) -> dict[int, tuple[float, bool]]:
        """The answers of a batch's requests, by request number, see `_loglikelihood_tokens`."""
        rows = [row for row, _ in batch]
        prefix = self._prefix_of([row.tokens[: row.context] for row in rows])
        asked = [(row, number, indices) for row, (_, items) in enumerate(batch) for number, indices in items]
        every = [(row, index) for row, _, indices in asked for index in indices]
        distinct = {token: number for number, token in enumerate(dict.fromkeys(every))}
        logits = self._reader.logits_at(rows, prefix, list(distinct))
        likelihoods = log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        predicting = torch.tensor([distinct[token] for token in every], device=logits.device)
        tokens = torch.tensor([t for _, number, _ in asked for t in requests[number][2]], device=logits.device)
        lengths = [len(indices) for _, _, indices in asked]
        sums = torch.stack([part.sum() for part in likelihoods[predicting, tokens].split(lengths)])
        is_likeliest = likelihoods.argmax(dim=-1)[predicting] == tokens
        all_likeliest = torch.stack([part.all() for part in is_likeliest.split(lengths)])
        numbers = [number for _, number, _ in asked]
        return dict(zip(numbers, zip(sums.tolist(), all_likeliest.tolist(), strict=True), strict=True))


class _AnswerCounter(CacheHook):  # type: ignore[misc]
    """Counts answers: lm-eval hands every answer to its cache hook, which would store it if caching were on."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(None)
        self._progress = progress
        self._answered = self._requests = 0

    def start(self, requests: int) -> None:
        """Start the progress count for a number of requests."""
        self._answered, self._requests = 0, requests

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """Count an answer."""
        self._answered += 1
        self._progress(self._answered, self._requests)
