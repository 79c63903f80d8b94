"""Random token dropout, as the paper describes it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from benchmark.methods.dropout import TokenDropout


class RandomDropout(TokenDropout):
    """Drop each token independently with probability α: the random baseline of Gao et al., AAAI 2025.

    The deletion is that of EDA (Wei & Zou, EMNLP 2019), by token instead of by word.
    """

    name: ClassVar[str] = "random_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    def chances(self, scores: Sequence[float]) -> list[float]:
        """α for every unit."""
        return [self.alpha] * len(scores)
