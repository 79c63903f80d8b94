"""Forgetful causal masking: a random share of the input tokens is masked in training."""

from typing import ClassVar

from pydantic import model_validator

from benchmark.methods.base import Alpha, Training
from benchmark.methods.plain_matched import PlainMatched


class ForgetfulMasking(PlainMatched):
    """Forgetful causal masking (FCM, Liu et al., arXiv 2210.13432): past tokens are masked, the loss is on all tokens.

    Each time a text is read, the share of masked tokens is drawn between `low` and `high`. FCM hides these tokens from
    attention; here, as in MEAP (Zhuang et al., ICML 2025), a mask token replaces them. With `low` equal to `high` the
    share is fixed, as in MEAP's pre-training (in fine-tuning MEAP masks a second copy of each text instead).
    """

    name: ClassVar[str] = "forgetful_masking"

    low: Alpha = 0.0
    high: Alpha = 0.15

    @model_validator(mode="after")
    def _low_below_high(self) -> "ForgetfulMasking":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def training(self) -> Training:
        """Replace a share of tokens between `low` and `high` by the mask token."""
        return Training(replaced=(self.low, self.high), replacement="mask")
