"""Random masking: every token is hidden in the input with the same probability; the loss is on the whole text."""

from typing import ClassVar

from benchmark.methods.masking import Masking
from benchmark.methods.random_dropout import RandomDropout


class RandomMasking(Masking, RandomDropout):
    """Random dropout as input noise (ours): a mask token replaces what random_dropout would remove; labels stay.

    The control of contrastive_masking. It separates two effects of Gao et al., AAAI 2025: a dropped token is missing
    both from what the model reads and from what it learns to write; here it is missing only from what the model reads.
    With a fixed rate it is MEAP's masking (Zhuang et al., ICML 2025), with the masks of a copy drawn once.
    """

    name: ClassVar[str] = "random_masking"
