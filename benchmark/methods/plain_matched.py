"""The original texts, repeated until training has taken as many steps as with copies."""

from typing import ClassVar

from benchmark.methods.plain import Plain


class PlainMatched(Plain):
    """The originals alone, repeated by training to the same number of optimizer steps as every other method.

    Not in the paper: what an augmentation gains over this, it does not gain by more updates.
    """

    name: ClassVar[str] = "plain_matched"
    matched: ClassVar[bool] = True
