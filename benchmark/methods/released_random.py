"""Random dropout as the paper's released code does it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from benchmark.methods.dropout import TokenDropout


class ReleasedRandom(TokenDropout):
    """KEEP each token with probability α: `augment_type=random` of tsinghua-msiip/contrasting_attention, 283ad69.

    In the paper α is the probability of dropping. As released, dropped tokens are blanked, the copies alone are trained
    on, and "," and "." stay. Unlike the released code, this method never blanks a whole text.
    """

    name: ClassVar[str] = "released_random"
    needs: ClassVar[Literal["tokens"]] = "tokens"
    originals: ClassVar[bool] = False

    dropped: Literal["delete", "blank"] = "blank"

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """1 − α for every unit."""
        return [1 - self.alpha] * len(scores)
