"""Dropout by the difference in attention as the paper's released code does it."""

from typing import ClassVar, Literal

from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout


class ReleasedDifference(RankedDropout):
    """Equation 1 on the large minus the small model's scores, both those of the released code (see ReleasedAttention).

    These scores depend on the position alone, so their difference is rounding noise and the ranks are as good as
    random. As released (tsinghua-msiip/contrasting_attention, commit 283ad69), what is dropped is blanked and the
    training texts are the copies alone. Where the differences are exactly equal, the released order is that of an
    unstable sort; here the earlier token comes first.
    """

    name: ClassVar[str] = "released_difference"
    needs: ClassVar[Literal["difference"]] = "difference"
    reduction: ClassVar[str | None] = "released"
    originals: ClassVar[bool] = False

    beta: Beta = 0.03
    dropped: Literal["delete", "blank"] = "blank"
