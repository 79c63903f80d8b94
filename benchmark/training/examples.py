"""Training examples: texts as token ids, with hidden or replaced inputs, and values or targets where a method asks."""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from benchmark.core.errors import UserError
from benchmark.data.targets import Targets
from benchmark.data.texts import AugmentedText
from benchmark.methods.base import Training
from benchmark.scoring.contrast import shared_characters


class SoftLabels(NamedTuple):
    """Probabilities of some tokens in place of each label of a text; the first label has none.

    Attributes:
        tokens: Token ids, int64 (labels, top).
        probabilities: Their probabilities, float32 (labels, top); they add up to 1, those of the first label to 0.
    """

    tokens: torch.Tensor
    probabilities: torch.Tensor


class Example(NamedTuple):
    """A text as it is read once.

    Attributes:
        inputs: Token ids that the model sees.
        labels: Token ids that it has to predict, as many.
        values: A value for every label (`Training`); empty where the loss needs none.
        soft: What stands in place of the labels in a loss with a teacher's probabilities; else None.
    """

    inputs: list[int]
    labels: list[int]
    values: list[float]
    soft: SoftLabels | None = None


class Examples(Dataset[Example]):
    """The examples of a training in order, each made when it is asked for.

    Which tokens are replaced depends on the seed and the example's position alone, not on how examples are batched.

    Args:
        sequences: Token ids of every text.
        values: A value for each of these tokens; empty where the loss needs none.
        order: Numbers of the texts, in the order they are read.
        training: Which share of the tokens is replaced.
        substitutes: Token ids that replace others, drawn with equal chances.
        seed: Seed of the draws.
        replaced_below: Only texts with lower numbers have tokens replaced; None for all texts.
        inputs: Token ids of every text as the model sees them (`with_hidden`); None for those of `sequences`.
        targets: A teacher's probabilities for every text, where the loss needs them; None for a text without.
    """

    def __init__(
        self,
        sequences: Sequence[list[int]],
        values: Sequence[list[float]],
        order: Sequence[int],
        training: Training,
        substitutes: Sequence[int],
        seed: int,
        replaced_below: int | None = None,
        inputs: Sequence[list[int]] | None = None,
        targets: Sequence[Targets | None] = (),
    ) -> None:
        self._sequences, self._values, self._order = sequences, values, order
        self._inputs = sequences if inputs is None else inputs
        self._replaced_below = len(sequences) if replaced_below is None else replaced_below
        self._share, self._substitutes, self._seed = training.replaced, substitutes, seed
        self._targets, self._temperature = targets, training.temperature
        self._top = max((of_text.tokens.shape[1] for of_text in targets if of_text), default=0)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Example:
        number = self._order[position]
        inputs = self._inputs[number]
        if number < self._replaced_below:
            inputs = self._with_replaced(inputs, position)
        labels = self._sequences[number]
        soft = soft_labels(self._targets[number], labels, self._top, self._temperature) if self._targets else None
        return Example(inputs, labels, self._values[number] if self._values else [], soft)

    def _with_replaced(self, ids: list[int], position: int) -> list[int]:
        """The ids with a share of them replaced, never the first."""
        if not self._substitutes:
            return ids
        rng = random.Random(f"replaced:{self._seed}:{position}")
        wanted = rng.uniform(*self._share) * (len(ids) - 1)
        inputs = list(ids)
        # Rounded up with the probability of the fraction, so that short texts keep the share on average, too.
        for index in rng.sample(range(1, len(ids)), math.floor(wanted + rng.random())):
            inputs[index] = rng.choice(self._substitutes)
        return inputs


def substitutes(
    tokenizer: PreTrainedTokenizerFast, replacement: Literal["random", "mask"], size: int
) -> tuple[list[int], list[str]]:
    """Token ids that may replace others in a model of `size` embeddings, and a note where the token was a choice.

    For "random" they are the whole vocabulary without special tokens. For "mask" it is the tokenizer's mask token, or
    else its unknown, padding or end token, the first that it has.

    Raises:
        UserError: If the tokenizer has none of these.
    """
    if replacement == "random":
        return sorted({*range(min(size, len(tokenizer)))} - {*tokenizer.all_special_ids}), []
    for name in ("mask", "unk", "pad", "eos"):
        number = getattr(tokenizer, f"{name}_token_id")
        if number is not None and number < size:
            return [number], [f"masked: {tokenizer.convert_ids_to_tokens(number)!r}, the tokenizer's {name} token"]
    raise UserError(
        "the model's tokenizer has no mask, unk, pad or eos token to mask with; add one, or leave the method out"
    )


def with_hidden(
    texts: Sequence[AugmentedText], sequences: Sequence[list[int]], tokenizer: PreTrainedTokenizerFast, mask: int
) -> list[list[int]]:
    """`sequences`, the encoded `texts`, with `mask` for every token that shares a character with a hidden span.

    The first token stays, and so do special tokens, which have no characters in the text.
    """
    hidden: list[list[int]] = list(sequences)
    for number, text in enumerate(texts):
        if text.hidden:
            offsets = tokenizer(text.text, return_offsets_mapping=True)["offset_mapping"]
            starts, ends = [start for start, _ in text.hidden], [end for _, end in text.hidden]
            hidden[number] = list(sequences[number])
            for index, (start, end) in enumerate(offsets):
                if index and start < end and shared_characters(starts, ends, start, end)[1]:
                    hidden[number][index] = mask
    return hidden


def token_values(
    texts: Sequence[AugmentedText],
    sequences: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerFast,
    training: Training,
    count: int,
) -> list[list[float]]:
    """The value of every token of `sequences`, the encoded `texts`: a weight or a reference loss (`Training`).

    Texts from number `count` on are rehearsed or practised. They have no reference loss, so no token of theirs competes
    for selection: its value is −∞, and it is always in the loss.

    Raises:
        ValueError: If a weight is below 0, naming the text.
    """
    default = 0.0 if training.loss == "selected" else 1.0
    values_of_texts = []
    rows = tokenizer([text.text for text in texts], return_offsets_mapping=True)["offset_mapping"]
    for number, (text, ids, offsets) in enumerate(zip(texts, sequences, rows, strict=True)):
        if training.loss == "selected" and number >= count:
            values_of_texts.append([-math.inf] * len(ids))
            continue
        if training.loss == "weighted" and any(value < 0 for _, _, value in text.values):
            raise ValueError(f"text {text.id!r}: a weight of the loss is below 0")
        values = values_at(text.values, offsets, default)
        values_of_texts.append(values + [default] * (len(ids) - len(values)))  # for the end token that training appends
    return values_of_texts


def soft_labels(targets: Targets | None, labels: Sequence[int], top: int, temperature: float) -> SoftLabels:
    """A teacher's probabilities for each label of a text, renormalised over the `top` tokens that are kept.

    Args:
        targets: What the teacher expects after each token of the text; None where there is no teacher, so that each
            label itself has probability 1.
        labels: Token ids of the text.
        top: Tokens of each position.
        temperature: What divides the teacher's logits.
    """
    tokens = torch.zeros(len(labels), top, dtype=torch.long)
    probabilities = torch.zeros(len(labels), top)
    if targets is None:
        tokens[:, 0], probabilities[1:, 0] = torch.tensor(labels), 1.0
    else:
        before = len(labels) - 1  # the label of a position is expected after the token before it
        tokens[1:] = torch.tensor(targets.tokens[:before])
        probabilities[1:] = (torch.tensor(targets.log_probs[:before]) / temperature).softmax(dim=-1)
    return SoftLabels(tokens, probabilities)


def values_at(
    spans: Sequence[tuple[int, int, float]], tokens: Iterable[tuple[int, int]], default: float
) -> list[float]:
    """The value of each token [start, end): the mean over its characters of the `spans` on them.

    A token without a span on it gets `default`.
    """
    starts, ends = [start for start, _, _ in spans], [end for _, end, _ in spans]
    result = []
    for start, end in tokens:
        first, shared = shared_characters(starts, ends, start, end) if start < end else (0, [])
        chars = sum(shared)
        total = math.fsum(count * spans[first + index][2] for index, count in enumerate(shared))
        result.append(total / chars if chars else default)
    return result
