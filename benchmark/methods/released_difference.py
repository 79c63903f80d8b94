"""Contrastive dropout as the paper's released code does it."""

import random
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout, break_ties


class ReleasedDifference(RankedDropout):
    """Equation 1 on the large minus the small model's scores, both those of the released code (see ReleasedAttention).

    These scores depend on the position alone, so their difference is rounding noise and the ranks are practically
    random. As released (tsinghua-msiip/contrasting_attention, commit 283ad69), dropped tokens are blanked and the
    copies alone are trained on. Many differences are exactly equal, in bfloat16 often all of a text. The released code
    leaves their order to an unstable sort; here it is drawn at random, once per text.
    """

    name: ClassVar[str] = "released_difference"
    needs: ClassVar[Literal["difference"]] = "difference"
    reduction: ClassVar[str | None] = "released"
    originals: ClassVar[bool] = False
    version: ClassVar[int] = 2  # version 1 ranked the earlier of equal tokens first, which made it dropout by position

    beta: Beta = 0.03
    dropped: Literal["delete", "blank"] = "blank"

    def scores_to_rank(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens with equal scores in random order. All copies of `text` share it, as in the released code."""
        return break_ties(tokens, random.Random(f"ties:{text.id}:{text.text}"))
