"""Contrastive loss: tokens weigh more if a large model attends to them more than a small one does."""

import math
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Beta, Training
from benchmark.methods.dropout import equation_1, ranks
from benchmark.methods.plain_matched import PlainMatched
from benchmark.methods.units import units


class ContrastiveLoss(PlainMatched):
    """Contrastive dropout's ranks as weights of the loss (ours, from no paper).

    The token of rank r has weight 1 − p(r), with p(r) from Equation 1 of Gao et al., AAAI 2025: the probability that
    contrastive dropout keeps it. The weights of a text are divided by their mean. Only ranks count, so the scale of the
    scores does not matter. With alpha 0 all weights are equal, as in plain_matched; with alpha .6 no weight is below .4
    times the first.
    """

    name: ClassVar[str] = "contrastive_loss"
    needs: ClassVar[Literal["difference"]] = "difference"

    alpha: Alpha = 0.6
    beta: Beta = 0.03

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """Weights with mean 1."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the tokens of text {text.id!r}")
        units_of_text = units(text, tokens)
        scores = [unit.score for unit in units_of_text]
        weights = [1 - equation_1(rank, self.alpha, self.beta) for rank in ranks(scores)]
        mean = math.fsum(weights) / max(1, len(weights))
        return tuple((unit.start, unit.end, weight / mean) for unit, weight in zip(units_of_text, weights, strict=True))

    def training(self) -> Training:
        """The weighted mean loss."""
        return Training(loss="weighted")
