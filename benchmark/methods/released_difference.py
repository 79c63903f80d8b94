"""Dropout by the difference in attention as the paper's released code does it."""

import random
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout, break_ties


class ReleasedDifference(RankedDropout):
    """Equation 1 on the large minus the small model's scores, both those of the released code (see ReleasedAttention).

    These scores depend on the position alone, so their difference is rounding noise and the ranks are as good as
    random. As released (tsinghua-msiip/contrasting_attention, commit 283ad69), what is dropped is blanked and the
    training texts are the copies alone. Many differences are exactly equal, in bfloat16 often all of a text; the
    released order is then whatever an unstable sort leaves. Here it is drawn at random, once per text.
    """

    name: ClassVar[str] = "released_difference"
    needs: ClassVar[Literal["difference"]] = "difference"
    reduction: ClassVar[str | None] = "released"
    originals: ClassVar[bool] = False
    version: ClassVar[int] = 2  # 1 put the earlier of equal tokens first, which made it dropout by position

    beta: Beta = 0.03
    dropped: Literal["delete", "blank"] = "blank"

    def ranked(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The order of equal scores is drawn; all copies of `text` share it, as they share one sort as released."""
        return break_ties(tokens, random.Random(f"ties:{text.id}:{text.text}"))
