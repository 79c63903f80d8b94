"""Token dropout by the attention a token receives."""

from typing import ClassVar, Literal

from benchmark.methods.dropout import RankedDropout


class AttentionDropout(RankedDropout):
    """Equation 1 on the trained model's own scores: the attention baseline of Gao et al., AAAI 2025.

    A token's score is the attention it receives from the tokens that follow, averaged over layers and heads. Equal
    scores rank by position, the earlier first.
    """

    name: ClassVar[str] = "attention_dropout"
    needs: ClassVar[Literal["trained"]] = "trained"
