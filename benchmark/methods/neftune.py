"""NEFTune: noise on the embeddings in training."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from benchmark.core.validation import not_a_bool
from benchmark.methods.base import Training
from benchmark.methods.plain_matched import PlainMatched


class Neftune(PlainMatched):
    """NEFTune (Jain et al., arXiv 2310.05914; ICLR 2024): the originals alone, with uniform noise on their embeddings.

    The noise is that of transformers: up to noise_alpha / √(tokens × width), with the tokens of the row that holds the
    text.
    """

    name: ClassVar[str] = "neftune"

    noise_alpha: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)] = 5.0

    def training(self) -> Training:
        """Add noise to the embeddings."""
        return Training(embedding_noise=self.noise_alpha)
