"""Attention dropout: tokens that receive little attention are dropped more often."""

from typing import ClassVar, Literal

from benchmark.methods.dropout import RankedDropout


class AttentionDropout(RankedDropout):
    """Equation 1 on the trained model's own scores: the attention baseline of Gao et al., AAAI 2025.

    A token's score is the attention that it receives from the tokens after it, averaged over layers and heads. Of equal
    scores the earlier ranks first.
    """

    name: ClassVar[str] = "attention_dropout"
    needs: ClassVar[Literal["trained"]] = "trained"
