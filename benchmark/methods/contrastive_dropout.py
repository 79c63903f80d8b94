"""Token dropout by how much more attention a large model pays than a small one."""

from typing import ClassVar, Literal

from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout


class ContrastiveDropout(RankedDropout):
    """Equation 1 on the large minus the small model's scores: the method of Gao et al., AAAI 2025 (Figure 4).

    Tokens that the large model attends to and the small one overlooks, the elusive clues, stay; the rest is thinned
    out. Equal differences rank by position, the earlier first.
    """

    name: ClassVar[str] = "contrastive_dropout"
    needs: ClassVar[Literal["difference"]] = "difference"

    beta: Beta = 0.03
