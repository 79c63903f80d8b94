"""Attention masking: tokens that receive little attention are hidden more often; the loss is on the whole text."""

from typing import ClassVar

from benchmark.methods.attention_dropout import AttentionDropout
from benchmark.methods.masking import Masking


class AttentionMasking(Masking, AttentionDropout):
    """Attention dropout as input noise (ours): a mask token replaces what attention_dropout would remove; labels stay.

    The ranks and Equation 1 are those of the attention baseline of Gao et al., AAAI 2025.
    """

    name: ClassVar[str] = "attention_masking"
