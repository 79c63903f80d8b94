"""Input noise: a share of the input tokens is replaced by random tokens in training."""

from typing import ClassVar

from benchmark.methods.base import Alpha, Training
from benchmark.methods.plain_matched import PlainMatched


class InputNoise(PlainMatched):
    """The input noise of D-AR (Saito et al., 2025): at each reading, random tokens replace a share of a text's.

    The labels stay: the model has to predict the text's own tokens, from a context that it cannot repeat word for word.
    """

    name: ClassVar[str] = "input_noise"

    share: Alpha = 0.2

    def training(self) -> Training:
        """Replace the share by random tokens."""
        return Training(replaced=(self.share, self.share), replacement="random")
