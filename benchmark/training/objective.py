"""What a method may change in training: tokens of the input that others stand for, and how the loss weighs tokens."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedTokenizerFast

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText
from benchmark.methods.base import Training
from benchmark.scoring.scores import shared_characters
from benchmark.training.checkpoints import Resumable
from benchmark.training.rows import IGNORE


class Reading(NamedTuple):
    """A text as it is read once: the ids the model sees, those it is to predict, and the values of these, if any."""

    inputs: list[int]
    labels: list[int]
    values: list[float]


class Readings(Dataset[Reading]):
    """What is read in the course of training, in order, made as it is asked for.

    Which tokens are replaced depends on the seed and the place in the order alone, not on how texts are batched.

    Args:
        sequences: token ids of every text.
        values: values of these tokens; nothing where the loss needs none.
        order: numbers of the texts in the order they are read.
        training: what is replaced, and in which share.
        others: the tokens that one is drawn from to stand for another.
        seed: of the draws.
        replaced_below: tokens are replaced in texts with lower numbers than this alone; None for all.
    """

    def __init__(
        self,
        sequences: Sequence[list[int]],
        values: Sequence[list[float]],
        order: Sequence[int],
        training: Training,
        others: Sequence[int],
        seed: int,
        replaced_below: int | None = None,
    ) -> None:
        self._sequences, self._values, self._order = sequences, values, order
        self._replaced_below = len(sequences) if replaced_below is None else replaced_below
        self._share, self._others, self._seed = training.replaced, others, seed

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> Reading:
        number = self._order[place]
        ids = self._sequences[number]
        inputs = self._replaced(ids, place) if number < self._replaced_below else ids
        return Reading(inputs, ids, self._values[number] if self._values else [])

    def _replaced(self, ids: list[int], place: int) -> list[int]:
        """The ids with a share of them, the first never among them, put in the place of by others."""
        if not self._others:
            return ids
        rng = random.Random(f"replaced:{self._seed}:{place}")
        wanted = rng.uniform(*self._share) * (len(ids) - 1)
        inputs = list(ids)
        # Rounded up as often as its fraction says, so that the share is kept on average in short texts too.
        for at in rng.sample(range(1, len(ids)), math.floor(wanted + rng.random())):
            inputs[at] = rng.choice(self._others)
        return inputs


def substitutes(
    tokenizer: PreTrainedTokenizerFast, replacement: Literal["random", "mask"], size: int
) -> tuple[list[int], list[str]]:
    """Ids of what may stand for a token in a model of `size` embeddings, and a note where that was a choice.

    They are all that the vocabulary has beside special tokens, or the one mask token; where the tokenizer has none, its
    unknown, padding or end token, the first there is.

    Raises UserError if the tokenizer has none of these.
    """
    if replacement == "random":
        return sorted({*range(min(size, len(tokenizer)))} - {*tokenizer.all_special_ids}), []
    for name in ("mask", "unk", "pad", "eos"):
        number = getattr(tokenizer, f"{name}_token_id")
        if number is not None and number < size:
            return [number], [f"masked: {tokenizer.convert_ids_to_tokens(number)!r}, the tokenizer's {name} token"]
    raise UserError("the tokenizer has no mask, unk, pad or eos token to mask with; add one, or leave the method out")


def token_values(
    texts: Sequence[AugmentedText],
    sequences: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerFast,
    training: Training,
) -> list[list[float]]:
    """The value of every token of `sequences`, the encoded `texts`: see `Training`.

    Raises ValueError naming a text with a weight below 0.
    """
    otherwise = 1.0 if training.loss == "weighted" else 0.0
    found = []
    rows = tokenizer([text.text for text in texts], return_offsets_mapping=True)["offset_mapping"]
    for text, ids, offsets in zip(texts, sequences, rows, strict=True):
        if training.loss == "weighted" and any(value < 0 for _, _, value in text.values):
            raise ValueError(f"text {text.id!r}: a weight of the loss is below 0")
        values = values_at(text.values, offsets, otherwise)
        found.append(values + [otherwise] * (len(ids) - len(values)))  # the end token that training appends
    return found


def values_at(
    spans: Sequence[tuple[int, int, float]], tokens: Iterable[tuple[int, int]], otherwise: float
) -> list[float]:
    """Value of each token [start, end): the mean of `spans`' on its characters; `otherwise` where none lies on it."""
    starts, ends = [start for start, _, _ in spans], [end for _, end, _ in spans]
    result = []
    for start, end in tokens:
        first, shared = shared_characters(starts, ends, start, end) if start < end else (0, [])
        chars = sum(shared)
        total = math.fsum(count * spans[first + k][2] for k, count in enumerate(shared))
        result.append(total / chars if chars else otherwise)
    return result


def in_columns(
    batch: Sequence[Reading], padding: int, lay_out: Callable[..., dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """What `lay_out` (`in_rows` or `padded`) makes of the inputs, with the readings' own labels.

    Where readings have values there is also `values`, float32 of the labels' shape, with 0 where a label is ignored.
    """
    starts = [0, *accumulate(len(reading.inputs) for reading in batch)]
    # The tokens' numbers in the batch are laid out as if they were ids; padding is the number after the last.
    rows = lay_out([range(start, end) for start, end in pairwise(starts)], starts[-1])
    number, predicted = rows["input_ids"], rows["labels"] != IGNORE
    rows["input_ids"] = torch.tensor([*chain.from_iterable(one.inputs for one in batch), padding])[number]
    labels = torch.tensor([*chain.from_iterable(one.labels for one in batch), IGNORE])
    rows["labels"] = torch.where(predicted, labels[number], IGNORE)
    if batch[0].values:
        values = torch.tensor([*chain.from_iterable(one.values for one in batch), 0.0])
        rows["values"] = torch.where(predicted, values[number], 0.0)
    return rows


def token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """float32 loss of every label, (rows, n), from the logits one place before it; 0 where a label is ignored."""
    predicted = logits[:, :-1].float().transpose(1, 2)
    return pad(cross_entropy(predicted, labels[:, 1:], ignore_index=IGNORE, reduction="none"), (1, 0))


class InOrder(Resumable):
    """Trains on the texts in the order they are given in."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


class Weighted(InOrder):
    """The loss is Σ weight × token loss / Σ weight, both sums over the effective batch, however it is split.

    Weights are the batch's `values`; or, with `selected`, 1 for that share of the effective batch's tokens whose loss
    exceeds their value most and 0 for the rest. These losses are those of a forward pass before the step, without
    dropout or noise, so that the micro-batch decides nothing here either. The price is that pass.
    """

    loss_is_scaled_for_ga = True
    selected: float | None = None

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The micro-batches of a step and the sum of their weights."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        samples = [{name: column.to(device) for name, column in sample.items()} for sample in samples]
        if self.selected is not None:
            chosen = select([self._excess(sample) for sample in samples], self.selected)
            samples = [{**sample, "values": weights} for sample, weights in zip(samples, chosen, strict=True)]
        return samples, torch.stack([sample["values"].sum() for sample in samples]).sum()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's part of the loss; `num_items_in_batch` is the sum of weights."""
        outputs = model(**_seen(inputs))
        loss = (token_losses(outputs.logits, inputs["labels"]) * inputs["values"]).sum() / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def _excess(self, sample: dict[str, torch.Tensor]) -> torch.Tensor:
        model: Any = self.model
        model.eval()  # training_step switches back
        with torch.no_grad(), self.compute_loss_context_manager():
            excess = token_losses(model(**_seen(sample)).logits, sample["labels"]) - sample["values"]
        return torch.where(sample["labels"] != IGNORE, excess, -math.inf)


def _seen(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: column for name, column in inputs.items() if name not in ("labels", "values")}


def select(excess: Sequence[torch.Tensor], share: float) -> list[torch.Tensor]:
    """1.0 for the share of all entries that are highest, 0.0 for the rest; −∞ is no entry.

    Their number is rounded up, and at least 1; of equal ones the earlier is taken.
    """
    flat = torch.cat([part.flatten() for part in excess])
    count = max(1, math.ceil(round(share * int((flat > -math.inf).sum()), 6)))
    weights = torch.zeros_like(flat)
    weights[flat.argsort(descending=True, stable=True)[:count]] = 1
    parts = weights.split([part.numel() for part in excess])
    return [part.view_as(like) for part, like in zip(parts, excess, strict=True)]
