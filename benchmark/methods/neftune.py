"""Noise on the embeddings while training."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from benchmark.core.validation import not_a_bool
from benchmark.methods.base import Training
from benchmark.methods.plain_matched import PlainMatched


class Neftune(PlainMatched):
    """NEFTune (Jain et al., arXiv 2310.05914; ICLR 2024): the originals, read with uniform noise on their embeddings.

    The noise is that of transformers, of up to noise_alpha / √(tokens × width), where the tokens are those of the row
    that a text stands in.
    """

    name: ClassVar[str] = "neftune"

    noise_alpha: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)] = 5.0

    def training(self) -> Training:
        """Noise on the embeddings."""
        return Training(embedding_noise=self.noise_alpha)
