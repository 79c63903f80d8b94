"""The loss of a training: examples as the columns of a batch, and Trainers for each kind of loss."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import SequentialSampler
from transformers import Trainer

from benchmark.training.examples import Example
from benchmark.training.packing import IGNORE


def collate(
    batch: Sequence[Example], padding: int, arrange: Callable[..., dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """The inputs as `arrange` (`pack` or `pad_rows`) arranges them, with the labels of the examples.

    Where examples have values there is also `values`: float32, of the shape of the labels, 0 where a label is ignored.
    Where they have a teacher's probabilities there are `soft_tokens` (int64) and `probabilities` (float32), both of
    shape (rows, tokens, top), 0 where a label is ignored.
    """
    starts = [0, *accumulate(len(example.inputs) for example in batch)]
    # The tokens' numbers in the batch are arranged as if they were ids; padding is the number after the last.
    rows = arrange([range(start, end) for start, end in pairwise(starts)], starts[-1])
    number, predicted = rows["input_ids"], rows["labels"] != IGNORE
    rows["input_ids"] = torch.tensor([*chain.from_iterable(example.inputs for example in batch), padding])[number]
    labels = torch.tensor([*chain.from_iterable(example.labels for example in batch), IGNORE])
    rows["labels"] = torch.where(predicted, labels[number], IGNORE)
    if batch[0].values:
        values = torch.tensor([*chain.from_iterable(example.values for example in batch), 0.0])
        rows["values"] = torch.where(predicted, values[number], 0.0)
    if soft := [example.soft for example in batch if example.soft]:
        for name, parts in (
            ("soft_tokens", [s.tokens for s in soft]),
            ("probabilities", [s.probabilities for s in soft]),
        ):
            column = torch.cat([*parts, torch.zeros_like(parts[0][:1])])[number]
            rows[name] = torch.where(predicted.unsqueeze(-1), column, 0)
    return rows


def token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every label from the logits one position before it; 0 where a label is ignored.

    Args:
        logits: Shape (rows, tokens, vocabulary).
        labels: int64, shape (rows, tokens).

    Returns:
        float32, shape (rows, tokens).
    """
    predicted = logits[:, :-1].float().transpose(1, 2)
    return pad(cross_entropy(predicted, labels[:, 1:], ignore_index=IGNORE, reduction="none"), (1, 0))


def soft_losses(logits: torch.Tensor, tokens: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Cross-entropy −Σ p(t) ln q(t) of every label's probabilities p, with q from the logits one position before it.

    Args:
        logits: Shape (rows, tokens, vocabulary).
        tokens: Token ids t, int64 (rows, tokens, top).
        probabilities: p(t), of the same shape; they add up to 1, or to 0 where a label is ignored.

    Returns:
        float32, shape (rows, tokens); 0 where a label is ignored.
    """
    predicted, p = logits[:, :-1].float(), probabilities[:, 1:]
    expected = (p * predicted.gather(2, tokens[:, 1:])).sum(dim=2)
    return pad(p.sum(dim=2) * predicted.logsumexp(dim=2) - expected, (1, 0))


class SequentialTrainer(Trainer):
    """A Trainer that reads its examples in the order they are given."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


class WeightedTrainer(SequentialTrainer):
    """The loss is Σ weight × token loss / Σ weight, both sums over the effective batch, however it is split.

    The weights are the batch's `values`. With `selected` they are 1 for that share of the effective batch's tokens
    whose loss exceeds their value most, and 0 for all others; tokens with the value −∞ are not counted, and have the
    weight 1. These losses come from an additional forward pass before the step, without dropout or noise, so that the
    micro-batch has no influence.
    """

    loss_is_scaled_for_ga = True
    selected: float | None = None

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The micro-batches of a step, and the sum of their weights."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        samples = [{name: column.to(device) for name, column in sample.items()} for sample in samples]
        if self.selected is not None:
            chosen = select([self._excess(sample) for sample in samples], self.selected)
            samples = [{**sample, "values": weights} for sample, weights in zip(samples, chosen, strict=True)]
        return samples, torch.stack([sample["values"].sum() for sample in samples]).sum()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's part of the loss; `num_items_in_batch` is the sum of weights over the effective batch."""
        outputs = model(**_model_inputs(inputs))
        loss = (self.losses(outputs.logits, inputs) * inputs["values"]).sum() / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def losses(self, logits: torch.Tensor, inputs: Any) -> torch.Tensor:
        """The loss of each token, float32 (rows, tokens)."""
        return token_losses(logits, inputs["labels"])

    def _excess(self, sample: dict[str, torch.Tensor]) -> torch.Tensor:
        """By how much the loss of each token exceeds its value: shape (rows, tokens), −∞ where a label is ignored."""
        model: Any = self.model
        model.eval()  # training_step switches back
        with torch.no_grad(), self.compute_loss_context_manager():
            excess = token_losses(model(**_model_inputs(sample)).logits, sample["labels"]) - sample["values"]
        return torch.where(sample["labels"] != IGNORE, excess, -math.inf)


class DistillationTrainer(WeightedTrainer):
    """The mean over the tokens of the effective batch of the cross-entropy with a teacher's probabilities.

    It is the Kullback-Leibler divergence from these probabilities, but for their entropy, which no weight changes.
    """

    def losses(self, logits: torch.Tensor, inputs: Any) -> torch.Tensor:
        """The loss of each token, float32 (rows, tokens)."""
        return soft_losses(logits, inputs["soft_tokens"], inputs["probabilities"])


def _model_inputs(columns: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The columns that the model reads."""
    of_the_loss = ("labels", "values", "soft_tokens", "probabilities")
    return {name: column for name, column in columns.items() if name not in of_the_loss}


def select(excess: Sequence[torch.Tensor], share: float) -> list[torch.Tensor]:
    """1.0 for the `share` of all entries that are highest, 0.0 for the rest, in tensors of the same shapes.

    Entries of −∞ do not count. Those of +∞ do not either, and all get 1.0. The number is rounded up, and at least 1
    if there are any; of equal entries the earlier ones are taken.
    """
    flat = torch.cat([part.flatten() for part in excess])
    finite = flat.isfinite()
    counted = int(finite.sum())
    count = min(counted, max(1, math.ceil(round(share * counted, 6))))
    weights = (flat == math.inf).to(flat.dtype)
    weights[flat.where(finite, -math.inf).argsort(descending=True, stable=True)[:count]] = 1
    parts = weights.split([part.numel() for part in excess])
    return [part.view_as(like) for part, like in zip(parts, excess, strict=True)]
