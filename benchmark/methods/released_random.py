"""Random dropout as the paper's released code does it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from benchmark.methods.dropout import TokenDropout


class ReleasedRandom(TokenDropout):
    """KEEP each token with probability α: `augment_type=random` of tsinghua-msiip/contrasting_attention, 283ad69.

    The paper says that α is the probability of dropping. As released, what is dropped is blanked, the training texts
    are the copies without the originals, and "," and "." stay. Other than there, a text is never blanked as a whole.
    """

    name: ClassVar[str] = "released_random"
    needs: ClassVar[Literal["tokens"]] = "tokens"
    originals: ClassVar[bool] = False

    dropped: Literal["delete", "blank"] = "blank"

    def chances(self, scores: Sequence[float]) -> list[float]:
        """1 − α for every unit."""
        return [1 - self.alpha] * len(scores)
