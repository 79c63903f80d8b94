"""Contrastive masking: tokens are hidden if a large model attends to them no more than a small one does."""

from typing import ClassVar

from benchmark.methods.contrastive_dropout import ContrastiveDropout
from benchmark.methods.masking import Masking


class ContrastiveMasking(Masking, ContrastiveDropout):
    """Contrastive dropout as input noise (ours): a mask token replaces what it would remove; the labels stay.

    The ranks and Equation 1 are those of Gao et al., AAAI 2025. There a copy lacks the dropped tokens, so the model
    also learns to write texts without them. Here it learns to write the whole text from the tokens that stay visible.
    """

    name: ClassVar[str] = "contrastive_masking"
