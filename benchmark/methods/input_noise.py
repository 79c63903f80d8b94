"""Random tokens in the input while training; what is to be predicted stays."""

from typing import ClassVar

from benchmark.methods.base import Alpha, Training
from benchmark.methods.plain_matched import PlainMatched


class InputNoise(PlainMatched):
    """The input noise of D-AR (Saito et al., 2025): random tokens stand for a share of a text's, drawn at each reading.

    The model has to predict the text's own tokens all the same, from a context that it cannot repeat word for word.
    """

    name: ClassVar[str] = "input_noise"

    share: Alpha = 0.2

    def training(self) -> Training:
        """The share, always the same, of random tokens."""
        return Training(replaced=(self.share, self.share), replacement="random")
