"""Token scores of texts: how much attention each token receives, or its loss, and the difference of two models' scores.

Scores live on characters. Tokens that share a character (byte-level tokenizers split an emoji or a Chinese character
into several) are one entry here, its score the mean of theirs: so entries never overlap, and a character is never
half a token. torch is imported where a model runs, not before.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, nearest
from benchmark.data.attention import REDUCTIONS, AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.models.special_tokens import added_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from benchmark.core.progress import Progress

AUTO = "auto"  # a prefix that the tokenizer decides on


@dataclass(frozen=True)
class _Encoded:
    """A text as the model reads it. `units` are entries of the result: start, end and the positions of their tokens."""

    text: Text
    ids: list[int]
    units: list[tuple[int, int, list[int]]]

    def with_scores(self, scores: Sequence[float]) -> TokenScores:
        """The result for scores that stand one beside every entry of `ids`."""
        return TokenScores(
            id=self.text.id,
            token=[self.text.text[start:end] for start, end, _ in self.units],
            start=[start for start, _, _ in self.units],
            end=[end for _, end, _ in self.units],
            score=[sum(scores[place] for place in places) / len(places) for _, _, places in self.units],
        )

    def last_before(self, place: int) -> int:
        """Number of the last entry before a character that is not white space alone; −1 if there is none."""
        before = [
            n for n, (start, end, _) in enumerate(self.units) if end <= place and self.text.text[start:end].strip()
        ]
        return before[-1] if before else -1


def score_texts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[Text],
    reduction: str = "received",
    prefix: str = "",
    tokens_per_batch: int = 4096,
    progress: "Progress | None" = None,
    part: AttentionPart | None = None,
) -> list[TokenScores]:
    """Score every token of every text by the attention it receives in the model, or by its loss.

    The model reads each text by itself, with `prefix` in front and the special tokens that the tokenizer adds; neither
    is part of the result. A token that reaches from the prefix into the text begins at the text's first character.

    Args:
        model: A causal language model; its language-model head is run for "loss" alone.
        tokenizer: The model's tokenizer, a fast one; it needs no padding token.
        texts: What to score.
        reduction: One of REDUCTIONS. Those of ATTENTION are explained at
            `scoring.attention.ReceivedAttention.scores`; "loss" is the token's negative log-likelihood in nats
            given all that stands before it, the prefix too. A token that nothing stands before, as the first of a text
            where the tokenizer adds no token in front, has a loss of 0.
        prefix: Put before every text, for instance "Text: ", since the first position draws attention of its own; for
            "auto" see `prefix_for`.
        tokens_per_batch: Most tokens of a batch, padding included; a longer text is a batch of its own.
        progress: Called after each batch with the number of texts done, of all texts, and of tokens read.
        part: Which layers or heads count; all of them if None. Of no use to "loss".

    Returns:
        One result per text, in the order of `texts`.

    Raises:
        UserError: If the reduction is unknown, the tokenizer gives no offsets, a text is empty or longer than the
            model's context, the architecture's attention cannot be read or lacks the part asked for, or a score is not
            a finite number.
    """
    import torch

    from benchmark.models.forward_checks import padding_is_harmless
    from benchmark.models.loading import context_of
    from benchmark.scoring.attention import ReceivedAttention
    from benchmark.scoring.losses import TokenLosses

    if reduction not in REDUCTIONS:
        raise UserError(f"reduction {reduction!r} is unknown; {nearest(reduction, REDUCTIONS)}")
    encoded = _encode(tokenizer, texts, prefix_for(tokenizer, prefix))
    reader = TokenLosses(model) if reduction == "loss" else ReceivedAttention(model, reduction, part=part)
    decoder = reader.decoder
    _check_lengths(encoded, context_of(decoder.config))
    results: dict[int, TokenScores] = {}
    read = 0
    was_training = decoder.training
    decoder.eval()
    try:
        padded = padding_is_harmless(model)
        with torch.inference_mode(), reader:
            for batch in batches([len(one.ids) for one in encoded], tokens_per_batch, padded):
                ids, mask = _padded([encoded[place].ids for place in batch])
                decoder(input_ids=ids.to(decoder.device), attention_mask=mask.to(decoder.device), use_cache=False)
                for place, row in zip(batch, reader.scores().cpu(), strict=True):
                    results[place] = _result(encoded[place], row, decoder.dtype)
                read += sum(len(encoded[place].ids) for place in batch)
                if progress:
                    progress(len(results), len(texts), read)
    finally:
        decoder.train(was_training)
    return [results[place] for place in range(len(texts))]


def prefix_for(tokenizer: "PreTrainedTokenizerBase", prefix: str) -> str:
    """The text that stands before every text which a model scores.

    Whatever stands at the first position draws attention of its own. For "auto" it is a token of no text: nothing has
    to be added where the tokenizer puts one there by itself; else it is the tokenizer's start or end token, else
    "Text: " as in the figures of Gao et al.
    """
    if prefix != AUTO:
        return prefix
    untyped: Any = tokenizer
    if added_tokens(untyped).before:
        return ""
    return str(tokenizer.bos_token or tokenizer.eos_token or "Text: ")


@dataclass(frozen=True)
class Look:
    """What one query of a text attends to: the text's tokens with the shares of its attention, 0 for those after it.

    `query` is its own number among the tokens; `first` says whether token 0 stood at the model's first position, which
    draws attention whatever stands there.
    """

    tokens: TokenScores
    query: int
    first: bool


def looks_before(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[Text],
    places: Sequence[Sequence[int]],
    prefix: str = "",
    tokens_per_batch: int = 4096,
) -> list[list[Look | None]]:
    """For some characters of each text: what the last token before that place attends to, mean of layers and heads.

    It is the last one that ends there or earlier and is not white space alone; None if there is none. Texts are read as
    in `score_texts`, which see for the other arguments and for what is raised; `places` has an entry per text.
    """
    import torch

    from benchmark.models.loading import context_of
    from benchmark.scoring.attention import ReceivedAttention

    encoded = _encode(tokenizer, texts, prefix_for(tokenizer, prefix))
    reader = ReceivedAttention(model)
    _check_lengths(encoded, context_of(reader.decoder.config))
    queries = [[one.last_before(place) for place in some] for one, some in zip(encoded, places, strict=True)]
    results: dict[int, list[Look | None]] = {}
    was_training = reader.decoder.training
    reader.decoder.eval()
    try:
        with torch.inference_mode(), reader:
            for batch in batches([len(one.ids) for one in encoded], tokens_per_batch):
                ids, mask = (each.to(reader.decoder.device) for each in _padded([encoded[n].ids for n in batch]))
                reader.watch([[encoded[n].units[query][2][-1] for query in queries[n] if query >= 0] for n in batch])
                reader.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
                rows = iter(reader.rows().cpu())
                for n in batch:
                    one, first = encoded[n], 0 in encoded[n].units[0][2]
                    results[n] = [
                        Look(_result(one, next(rows)[: len(one.ids)], reader.decoder.dtype), query, first)
                        if query >= 0
                        else None
                        for query in queries[n]
                    ]
    finally:
        reader.decoder.train(was_training)
    return [results[number] for number in range(len(texts))]


def tokens_of(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text]) -> list[TokenScores]:
    """The tokens that `score_texts` would give without a prefix, each with score 0.

    Raises UserError if the tokenizer gives no offsets or a text has no token.
    """
    return [one.with_scores([0.0] * len(one.ids)) for one in _encode(tokenizer, texts, prefix="")]


def contrast(large: Sequence[TokenScores], small: Sequence[TokenScores]) -> list[TokenScores]:
    """The large model's scores minus the small model's, on the large model's tokens.

    Where the small model cut the text otherwise, its score for a token of the large model is the mean of its tokens'
    scores there, weighted by the characters they share with it. A token of white space alone that no token of the small
    model covers (some tokenizers leave spaces out of their offsets) is compared with the next one that stands there.

    Raises:
        UserError: If the two are not about the same texts in the same order, or a token has no counterpart.
    """
    if [one.id for one in large] != [one.id for one in small]:
        raise UserError(
            "the two models' scores are not of the same texts in the same order; score one corpus with both"
        )
    return [_difference(one, other) for one, other in zip(large, small, strict=True)]


def _difference(large: TokenScores, small: TokenScores) -> TokenScores:
    if (large.start, large.end) == (small.start, small.end):
        others = small.score
    else:
        others = [_score_at(small, large, place) for place in range(len(large.token))]
    score = [mine - other for mine, other in zip(large.score, others, strict=True)]
    return TokenScores(large.id, large.token, large.start, large.end, score)


def _score_at(small: TokenScores, large: TokenScores, place: int) -> float:
    """The small model's score on the characters of one token of the large model."""
    start, end = large.start[place], large.end[place]
    first, shared = shared_characters(small.start, small.end, start, end)
    if shared:
        # Shares first, so that a single counterpart gives its score unrounded.
        return sum(chars / sum(shared) * small.score[first + k] for k, chars in enumerate(shared))
    if large.token[place].isspace() and small.score:
        return small.score[min(first, len(small.score) - 1)]
    raise UserError(
        f"the two models' tokens cannot be aligned on text {large.id!r} at characters {start} to {end}: the small "
        "model has no token there; score the same corpus with both models"
    )


def shared_characters(starts: Sequence[int], ends: Sequence[int], start: int, end: int) -> tuple[int, list[int]]:
    """Which of some spans share characters with [start, end): the first one's number, and how many each shares.

    The spans are in text order and do not overlap.
    """
    first, last = bisect_right(ends, start), bisect_left(starts, end)
    return first, [min(end, ends[k]) - max(start, starts[k]) for k in range(first, last)]


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text], prefix: str) -> list[_Encoded]:
    if not getattr(tokenizer, "is_fast", False):
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        raise UserError(
            f"tokenizer {name} gives no character offsets; use a model that has a fast tokenizer (tokenizer.json)"
        )
    if not texts:
        return []
    # A tokenizer.json may have truncation or padding switched on, and a cut would go unnoticed.
    rows = tokenizer(
        [prefix + one.text for one in texts],
        add_special_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        truncation=False,
        padding=False,
        verbose=False,
    )
    pairs = zip(texts, rows["input_ids"], rows["offset_mapping"], strict=True)
    encoded = [_Encoded(text, ids, _units(offsets, len(prefix))) for text, ids, offsets in pairs]
    for one in encoded:
        if not one.units:
            raise UserError(f"text {one.text.id!r} has no token; leave it out")
    return encoded


def _units(offsets: Sequence[tuple[int, int]], shift: int) -> list[tuple[int, int, list[int]]]:
    """Spans in the text with the positions of their tokens; tokens that share a character are put together."""
    units: list[tuple[int, int, list[int]]] = []
    for place, (start, end) in enumerate(offsets):
        start, end = max(start - shift, 0), end - shift
        if end <= start:
            continue
        if units and start < units[-1][1]:
            first, last, places = units.pop()
            units.append((min(first, start), max(last, end), [*places, place]))
        else:
            units.append((start, end, [place]))
    return units


def _check_lengths(encoded: Sequence[_Encoded], limit: int | None) -> None:
    too_long = [one for one in encoded if limit is not None and len(one.ids) > limit]
    if too_long:
        one = too_long[0]
        others = f" ({len(too_long) - 1} more texts are too long as well)" if len(too_long) > 1 else ""
        raise UserError(
            f"text {one.text.id!r} has {len(one.ids)} tokens, but the model's context is {limit}: split the text or "
            f"leave it out{others}"
        )


def batches(lengths: Sequence[int], budget: int, padded: bool = True) -> Iterator[list[int]]:
    """Places of texts of like length, the longest first, so that memory runs out at once or not at all.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a batch, padding included.
        padded: Whether a batch may hold texts of unlike length.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        full = batch and (len(batch) + 1) * lengths[batch[0]] > budget
        if full or (batch and not padded and lengths[place] != lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _padded(rows: Sequence[list[int]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids and attention mask, both (texts, longest); padding is id 0 on the right, unseen by real tokens."""
    import torch

    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask


def _result(one: _Encoded, row: "torch.Tensor", dtype: "torch.dtype") -> TokenScores:
    if not row.isfinite().all():
        raise UserError(
            f"text {one.text.id!r}: its scores are not finite numbers; the model overflows in {dtype}, load it in "
            "bfloat16 or float32"
        )
    return one.with_scores(row.tolist())
