"""Plain matched: the original texts, for as many optimizer steps as a method with copies."""

from typing import ClassVar

from benchmark.methods.plain import Plain


class PlainMatched(Plain):
    """The originals alone, repeated for the same number of optimizer steps as every other method.

    Not in the paper. An augmentation that beats this baseline does not win by more updates.
    """

    name: ClassVar[str] = "plain_matched"
    matched: ClassVar[bool] = True
