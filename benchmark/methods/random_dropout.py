"""Random dropout: every token is dropped with the same probability."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from benchmark.methods.base import Beta
from benchmark.methods.dropout import RateMatchedDropout


class RandomDropout(RateMatchedDropout):
    """Drop each token independently with probability α: the random baseline of Gao et al., AAAI 2025.

    It is the deletion of EDA (Wei & Zou, EMNLP 2019), by token instead of by word. `beta` is used by `rate` only.
    """

    name: ClassVar[str] = "random_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    beta: Beta | None = None

    @model_validator(mode="after")
    def _beta_only_with_rate(self) -> Self:
        if self.beta is not None and self.rate is None:
            raise ValueError("beta is used only with rate: as contrastive_dropout; remove it")
        return self

    @property
    def matched_beta(self) -> float:
        """β of contrastive dropout: `beta`, or its default."""
        return 0.03 if self.beta is None else self.beta

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """α for every unit; with `rate`, the same probability for every unit that gives the rate."""
        return self.scaled([self.alpha if self._factor is None else 1.0] * len(scores))
