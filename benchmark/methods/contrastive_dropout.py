"""Contrastive dropout: tokens are kept if a large model attends to them more than a small one does."""

from typing import ClassVar, Literal

from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout


class ContrastiveDropout(RankedDropout):
    """Equation 1 on the large minus the small model's scores: the method of Gao et al., AAAI 2025 (Figure 4).

    Tokens that the large model attends to and the small model overlooks (the paper's "elusive clues") are rarely
    dropped. Of equal differences the earlier ranks first.
    """

    name: ClassVar[str] = "contrastive_dropout"
    needs: ClassVar[Literal["difference"]] = "difference"

    beta: Beta = 0.03
