"""Texts as a model reads them: prefix, tokens, the characters of each token, batches.

Scores belong to characters. Tokens that share a character, as when a byte-level tokenizer splits an emoji or a Chinese
character, form a single unit. So units never overlap and never contain a part of a character.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores
from benchmark.models.special_tokens import added_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

AUTO = "auto"  # the prefix is chosen for the tokenizer


@dataclass(frozen=True)
class EncodedText:
    """A text with its tokens.

    Attributes:
        text: The text.
        ids: The model's input: token ids of prefix and text, with special tokens.
        units: For each unit, its first character, the character after its last, and the indices of its tokens in `ids`.
    """

    text: Text
    ids: list[int]
    units: list[tuple[int, int, list[int]]]

    def with_scores(self, scores: Sequence[float]) -> TokenScores:
        """The units with scores, given a score for each of `ids`; a unit has the mean of its tokens."""
        return TokenScores(
            id=self.text.id,
            token=[self.text.text[start:end] for start, end, _ in self.units],
            start=[start for start, _, _ in self.units],
            end=[end for _, end, _ in self.units],
            score=[sum(scores[index] for index in indices) / len(indices) for _, _, indices in self.units],
        )

    def with_tensor(self, scores: "torch.Tensor", dtype: "torch.dtype") -> TokenScores:
        """`with_scores` for a tensor of scores from a model of this dtype.

        Raises UserError if a score is not a finite number.
        """
        if not scores.isfinite().all():
            raise UserError(
                f"text {self.text.id!r}: its scores are not finite numbers; the model overflows in {dtype}, load it in "
                "bfloat16 or float32"
            )
        return self.with_scores(scores.tolist())

    def last_before(self, character: int) -> int:
        """Number of the last unit that ends at or before a character and is more than white space; −1 if none."""
        before = [
            number
            for number, (start, end, _) in enumerate(self.units)
            if end <= character and self.text.text[start:end].strip()
        ]
        return before[-1] if before else -1


def prefix_for(tokenizer: "PreTrainedTokenizerBase", prefix: str) -> str:
    """The prefix that is put before every text that a model scores; "auto" chooses it for the tokenizer.

    The first position draws attention whatever token it holds, so "auto" puts a token there that belongs to no text. If
    the tokenizer adds a special token itself, the prefix is empty. Else it is the tokenizer's start or end token, else
    "Text: " as in the figures of Gao et al.
    """
    if prefix != AUTO:
        return prefix
    untyped: Any = tokenizer
    if added_tokens(untyped).before:
        return ""
    return str(tokenizer.bos_token or tokenizer.eos_token or "Text: ")


def encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text], prefix: str) -> list[EncodedText]:
    """Tokenize texts with a prefix before each.

    Raises:
        UserError: If the tokenizer gives no character offsets, or a text has no token.
    """
    if not getattr(tokenizer, "is_fast", False):
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        raise UserError(
            f"tokenizer {name} gives no character offsets; use a model that has a fast tokenizer (tokenizer.json)"
        )
    if not texts:
        return []
    # A tokenizer.json may switch on truncation or padding, which would cut texts without a word.
    rows = tokenizer(
        [prefix + text.text for text in texts],
        add_special_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        truncation=False,
        padding=False,
        verbose=False,
    )
    items = zip(texts, rows["input_ids"], rows["offset_mapping"], strict=True)
    encoded = [EncodedText(text, ids, _units(offsets, len(prefix))) for text, ids, offsets in items]
    for text in encoded:
        if not text.units:
            raise UserError(f"text {text.text.id!r} has no token; leave it out")
    return encoded


def unscored_tokens(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text]) -> list[TokenScores]:
    """The units of texts without a prefix, each with score 0.

    Raises:
        UserError: If the tokenizer gives no character offsets, or a text has no token.
    """
    return [text.with_scores([0.0] * len(text.ids)) for text in encode(tokenizer, texts, prefix="")]


def _units(offsets: Sequence[tuple[int, int]], shift: int) -> list[tuple[int, int, list[int]]]:
    """Units from the offsets of tokens in a text after a prefix of `shift` characters, see `EncodedText`."""
    units: list[tuple[int, int, list[int]]] = []
    for index, (start, end) in enumerate(offsets):
        start, end = max(start - shift, 0), end - shift
        if end <= start:
            continue
        if units and start < units[-1][1]:
            first, last, indices = units.pop()
            units.append((min(first, start), max(last, end), [*indices, index]))
        else:
            units.append((start, end, [index]))
    return units


def check_lengths(encoded: Sequence[EncodedText], context: int | None) -> None:
    """Raise UserError if a text has more tokens than the model's context; None means no limit."""
    too_long = [text for text in encoded if context is not None and len(text.ids) > context]
    if too_long:
        first = too_long[0]
        others = f" ({len(too_long) - 1} more texts are too long as well)" if len(too_long) > 1 else ""
        raise UserError(
            f"text {first.text.id!r} has {len(first.ids)} tokens, but the model's context is {context}: split the text "
            f"or leave it out{others}"
        )


def batches(lengths: Sequence[int], budget: int, padded: bool = True) -> Iterator[list[int]]:
    """Batches of texts of similar length, as lists of text numbers.

    The longest texts come first, so that a batch that does not fit in memory fails at once.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a batch, padding included; a longer text has a batch of its own.
        padded: Whether a batch may hold texts of different lengths.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        full = batch and (len(batch) + 1) * lengths[batch[0]] > budget
        if full or (batch and not padded and lengths[number] != lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def pad(rows: Sequence[list[int]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids and attention mask, both int64 (texts, longest), padded on the right with id 0."""
    import torch

    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask
