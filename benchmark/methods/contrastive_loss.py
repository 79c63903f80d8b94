"""Loss weighted by how much more attention a large model pays than a small one; nothing is dropped."""

import math
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Beta, Training
from benchmark.methods.dropout import equation_1, ranks, units
from benchmark.methods.plain_matched import PlainMatched


class ContrastiveLoss(PlainMatched):
    """Contrastive dropout's ranks as weights of the loss (ours, from no paper).

    The token of rank r weighs 1 − p(r), with p(r) from Equation 1 of Gao et al., AAAI 2025: the chance that contrastive
    dropout would keep it. A text's weights are then divided by their mean over its tokens. Ranks alone count, so the
    scale of the scores does not matter. With alpha 0 all tokens weigh alike, as in plain_matched; with
    alpha .6 none weighs less than .4 times the first.
    """

    name: ClassVar[str] = "contrastive_loss"
    needs: ClassVar[Literal["difference"]] = "difference"

    alpha: Alpha = 0.6
    beta: Beta = 0.03

    def values(self, text: Text, tokens: TokenScores | None) -> tuple[tuple[int, int, float], ...]:
        """Weights with mean 1."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the tokens of text {text.id!r}")
        every = units(text, tokens)
        weights = [1 - equation_1(rank, self.alpha, self.beta) for rank in ranks([unit.score for unit in every])]
        mean = math.fsum(weights) / max(1, len(weights))
        return tuple((unit.start, unit.end, weight / mean) for unit, weight in zip(every, weights, strict=True))

    def training(self) -> Training:
        """The mean loss, weighted."""
        return Training(loss="weighted")
