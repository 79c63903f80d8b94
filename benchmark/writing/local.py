"""A local model as a writer: batches of samples, each row with random numbers of its own."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch

from benchmark.core.errors import UserError, library_error
from benchmark.data.texts import Text
from benchmark.data.written import Writing
from benchmark.models.forward_checks import check_finite_logits
from benchmark.models.generation_settings import set_aside_settings
from benchmark.models.loading import context_of, tokenizer_of
from benchmark.models.shared_prefix import PrefixReader, common_prefix
from benchmark.writing.requests import MARK, Request, Sample
from benchmark.writing.settings import LocalWriter, Sampling

ITEM_TOKENS = 50  # assumed for the items or clues in a prompt, which are known only when it is asked
_OPENED = "<think>"  # at the end of the prompt: the template has begun the model's thoughts
# Templates may show the date of the day. A sample must not depend on it, so this is always the same one.
_DATE = {
    "%Y": "2024", "%y": "24", "%m": "07", "%B": "July", "%b": "Jul", "%d": "26", "%A": "Friday", "%a": "Fri",
    "%H": "12", "%M": "00", "%S": "00",
}  # fmt: skip
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{- format"
    + "".join(f' | replace("{code}", "{value}")' for code, value in _DATE.items())
    + " -}}{%- endmacro %}\n"  # a newline after a block is left out
)
_FIRST_CANDIDATES = 256  # of the vocabulary that are sorted at first; more where they do not reach top_p


class LocalModel:
    """Draws samples from a causal language model of transformers.

    A sample depends on its seed, and through rounding on the rows computed with it. Batches are the same whatever is
    known already, so an interrupted run ends with the same bytes.

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        sampling: How to sample.

    Raises:
        UserError: `chat` is true and the tokenizer has no chat template.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling) -> None:
        self._model, self._tokenizer, self._sampling = model, tokenizer, sampling
        set_aside_settings(model, tokenizer)
        ends = model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        self._chat = goes_through_template(tokenizer, sampling)

    @cached_property
    def _reader(self) -> PrefixReader:
        return PrefixReader(self._model)

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        """Draw the samples, batch by batch; a batch whose samples are all known is skipped.

        Raises:
            UserError: A prompt leaves no room for the answer in the model's context.
        """
        size = self._sampling.batch_size
        for start in range(0, len(requests), size):
            batch = requests[start : start + size]
            if not all(request.name in known for request in batch):
                yield from zip(batch, self._draw(batch), strict=True)

    def _draw(self, batch: Sequence[Request]) -> list[Sample]:
        prompts = [prompt_ids(request, self._tokenizer, self._chat) for request in batch]
        limit, context = self._sampling.max_tokens, context_of(self._model.config)
        for request, ids in zip(batch, prompts, strict=True):
            if context is not None and len(ids) + limit > context:
                raise UserError(
                    f"writer: {request.name}: prompt and answer need {len(ids)} + {limit} tokens, more than the "
                    f"model's context of {context}; lower max_tokens, shorten the text, or use another writer"
                )
        generators = [random.Random(request.seed) for request in batch]
        generated: list[list[int]] = [[]] * len(batch)
        groups = self._reader.groups(prompts, limit) if self._reader.supported else [[n] for n in range(len(batch))]
        for group in groups:
            draw = self._drawn_by([generators[number] for number in group])
            rows = [prompts[number] for number in group]
            if self._reader.supported:
                shared = common_prefix([row[:-1] for row in rows]) if len(rows) > 1 else []
                drawn = self._reader.generate(rows, self._reader.read_prefix(shared), limit, self._ended, draw)
            else:
                drawn = [self._generate_whole(rows[0], limit, draw)]
            for number, tokens in zip(group, drawn, strict=True):
                generated[number] = tokens
        return [self._sample(ids, tokens) for ids, tokens in zip(prompts, generated, strict=True)]

    def _drawn_by(self, generators: Sequence[random.Random]) -> Callable[[torch.Tensor, Sequence[int]], list[int]]:
        sampling = self._sampling

        def draw(logits: torch.Tensor, rows: Sequence[int]) -> list[int]:
            if sampling.temperature == 0:
                return [int(token) for token in logits.float().argmax(dim=-1)]
            return [
                drawn_token(row, sampling.temperature, sampling.top_p, generators[number].random())
                for row, number in zip(logits, rows, strict=True)
            ]

        return draw

    @torch.no_grad()
    def _generate_whole(self, ids: list[int], limit: int, draw: Callable[..., list[int]]) -> list[int]:
        """Generate for one row by reading it anew for every token: for models that cannot continue from a cache."""
        tokens: list[int] = []
        while len(tokens) < limit:
            row = torch.tensor([[*ids, *tokens]], device=self._model.device)
            logits = self._model(input_ids=row, use_cache=False).logits[:, -1]
            check_finite_logits(self._model, logits)
            tokens += draw(logits, [0])
            if self._ended([tokens])[0]:
                break
        return tokens

    def _ended(self, rows: list[list[int]]) -> list[bool]:
        if self._chat:
            return [row[-1] in self._ends for row in rows]
        tails = self._tokenizer.batch_decode([row[-8:] for row in rows])
        return [row[-1] in self._ends or MARK in tail for row, tail in zip(rows, tails, strict=True)]

    def _sample(self, prompt: list[int], tokens: list[int]) -> Sample:
        ended = self._ended([tokens])[0]
        text = self._tokenizer.decode([token for token in tokens if token not in self._ends], skip_special_tokens=True)
        if not self._chat:
            text = text.partition(MARK)[0]
        elif self._tokenizer.decode(prompt[-len(_OPENED) :]).rstrip().endswith(_OPENED):
            text = f"{_OPENED}{text}"
        return Sample(text.strip(), len(prompt), len(tokens), "stop" if ended else "length")


def goes_through_template(tokenizer: Any, sampling: Sampling) -> bool:
    """Whether prompts go through the tokenizer's chat template.

    Raises:
        UserError: They should, and the tokenizer has none.
    """
    if sampling.chat and not tokenizer.chat_template:
        raise UserError("writer: chat: true, but the model's tokenizer has no chat template; leave chat out")
    return bool(tokenizer.chat_template) if sampling.chat is None else sampling.chat


def prompt_ids(request: Request, tokenizer: Any, chat: bool) -> list[int]:
    """The token ids of a prompt: through the tokenizer's chat template, or as plain text with the prompt's examples.

    Raises:
        UserError: The chat template is broken, or does not take such a chat.
    """
    if not chat:
        ids: list[int] = tokenizer(request.plain, verbose=False)["input_ids"]
        return ids
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = f"{_FIXED_DATE}{template}"
        text = tokenizer.apply_chat_template(
            request.chat, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # of jinja2, or raised by what a stranger wrote in the template
        raise UserError(
            f"writer: the chat template of the model's tokenizer fails: {library_error(error)}; correct it, or set "
            "chat: false"
        ) from None
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


class LongestPrompt(NamedTuple):
    """The longest prompt that a writer gets: the text's id, the prompt's name, and its tokens."""

    text: str
    prompt: str
    length: int


def longest_prompt(writer: LocalWriter, writing: Writing, texts: Sequence[Text]) -> LongestPrompt:
    """The longest prompt about some texts, with `ITEM_TOKENS` for items or clues.

    Raises:
        UserError: The writer's tokenizer cannot be loaded, or lacks the chat template that the writer should use.
    """
    tokenizer = tokenizer_of(writer.spec)
    chat = goes_through_template(tokenizer, writer)
    longest = max(texts, key=lambda text: len(tokenizer(text.text, verbose=False)["input_ids"]))
    unknown = ITEM_TOKENS if writing.items or writing.clues else 0
    lengths = {
        name: len(prompt_ids(Request("", prompt, {"document": longest.text}, 0), tokenizer, chat)) + unknown
        for name, prompt in writing.contents().items()
    }
    name = max(lengths, key=lambda name: lengths[name])
    return LongestPrompt(longest.id, name, lengths[name])


def drawn_token(logits: torch.Tensor, temperature: float, top_p: float, number: float) -> int:
    """The token that a uniform random number draws by nucleus sampling (Holtzman et al., ICLR 2020).

    The nucleus is the smallest set of the likeliest tokens whose probabilities sum to at least `top_p`.

    Args:
        logits: Logits (vocabulary).
        temperature: Divides the logits, above 0.
        top_p: The nucleus' probability.
        number: At least 0 and below 1.
    """
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    count = min(_FIRST_CANDIDATES, len(probabilities))
    while True:
        values, tokens = probabilities.topk(count)
        sums = values.cumsum(dim=0)
        if float(sums[-1]) >= top_p or count == len(probabilities):
            break
        count = min(8 * count, len(probabilities))
    nucleus = min(int((sums < top_p).sum()) + 1, count)
    chosen = int(torch.searchsorted(sums[:nucleus], number * float(sums[nucleus - 1]), right=True))
    return int(tokens[min(chosen, nucleus - 1)])
