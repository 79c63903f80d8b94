"""Dropout by attention as the paper's released code does it."""

from typing import ClassVar, Literal

from benchmark.methods.dropout import RankedDropout


class ReleasedAttention(RankedDropout):
    """Equation 1 on the scores of the released code: `augment_type=attention` of tsinghua-msiip/contrasting_attention.

    Its scores (commit 283ad69) average each token's attention over the tokens it looks at, which falls with the
    position whatever the model and the text: this is dropout by position. As released, what is dropped is blanked and
    the training texts are the copies alone.

    Two things differ. The released ranking leaves the order of equal scores to an unstable sort; here the earlier comes
    first. It counts the special token at the beginning, where a tokenizer adds one; ranks here begin with the first
    token of the text, and `first_rank: 1` makes up for it.
    """

    name: ClassVar[str] = "released_attention"
    needs: ClassVar[Literal["trained"]] = "trained"
    reduction: ClassVar[str | None] = "released"
    originals: ClassVar[bool] = False

    dropped: Literal["delete", "blank"] = "blank"
