"""Random token dropout, as the paper describes it."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from benchmark.methods.base import Beta
from benchmark.methods.dropout import AtRate


class RandomDropout(AtRate):
    """Drop each token independently with probability α: the random baseline of Gao et al., AAAI 2025.

    The deletion is that of EDA (Wei & Zou, EMNLP 2019), by token instead of by word. `beta` is for `rate` alone.
    """

    name: ClassVar[str] = "random_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    beta: Beta | None = None

    @model_validator(mode="after")
    def _beta_is_of_the_rate(self) -> Self:
        if self.beta is not None and self.rate is None:
            raise ValueError("beta goes with rate: as contrastive_dropout; leave it out")
        return self

    @property
    def matched_beta(self) -> float:
        """β of contrastive dropout, its default if none is given."""
        return 0.03 if self.beta is None else self.beta

    def chances(self, scores: Sequence[float]) -> list[float]:
        """α for every unit, or the one probability at which as much is dropped as asked for."""
        return self.scaled([self.alpha if self._factor is None else 1.0] * len(scores))
