"""Attention dropout as the paper's released code does it."""

from typing import ClassVar, Literal

from benchmark.methods.dropout import RankedDropout


class ReleasedAttention(RankedDropout):
    """Equation 1 on the scores of the released code: `augment_type=attention` of tsinghua-msiip/contrasting_attention.

    Its scores (commit 283ad69) average the attention that each token pays over the tokens it attends to. This falls
    with the position, whatever the model and the text, so it is dropout by position. As released, dropped tokens are
    blanked and the copies alone are trained on.

    It differs in two ways. The released code leaves the order of equal scores to an unstable sort; here the earlier
    ranks first. It also ranks the special token that a tokenizer may add at the beginning; here ranks begin with the
    first token of the text, and `first_rank: 1` corrects for that.
    """

    name: ClassVar[str] = "released_attention"
    needs: ClassVar[Literal["trained"]] = "trained"
    reduction: ClassVar[str | None] = "released"
    originals: ClassVar[bool] = False

    dropped: Literal["delete", "blank"] = "blank"
