"""Masked reconstruction: a text with masked words as the prompt, and the whole text as the target."""

import math
import random
from typing import ClassVar

from pydantic import model_validator

from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.methods.base import Alpha, Method, Training
from benchmark.methods.words import Span, words

MASK = "[MASK]"


class MaskedReconstruction(Method):
    """Masked fine-tuning (Pan et al., arXiv 2510.09885): the model rewrites a text from a version with masked words.

    A copy is an instruction and the text with a share of its words masked, which are the prompt, and then the whole
    original, which alone is in the loss. Each copy draws its share between `low` and `high`, and its words. As in the
    paper the model is trained on nothing else, so the originals by themselves are left out. The instruction and the
    defaults are ours; we mask words, so that no tokenizer has a say. A copy is more than twice as long as its text: at
    equal steps training reads more tokens, but about as many are in the loss.
    """

    name: ClassVar[str] = "masked_reconstruction"
    originals: ClassVar[bool] = False

    low: Alpha = 0.05
    high: Alpha = 0.95

    @model_validator(mode="after")
    def _low_below_high(self) -> "MaskedReconstruction":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The prompt with a share of the words masked, and the original."""
        every = words(text.text)
        # Rounded up with the probability of the fraction, so that short texts keep the share on average, too.
        count = math.floor(rng.uniform(self.low, self.high) * len(every) + rng.random())
        return _with_prompt(text.text, sorted(rng.sample(every, count)))

    def training_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> AugmentedText:
        """The copy with weight 0 on the prompt."""
        content = self.make_copy(text, tokens, rng, number)
        target = len(content) - len(text.text)
        return AugmentedText(text.id, number, content, ((0, target, 0.0), (target, len(content), 1.0)))

    def longest_copies(self, text: str) -> tuple[str, ...]:
        """Copies with all words masked and with none."""
        return _with_prompt(text, words(text)), _with_prompt(text, [])

    def training(self) -> Training:
        """The mean loss over the tokens of the original."""
        return Training(loss="weighted")


def _with_prompt(text: str, masked: list[Span]) -> str:
    kept, position = "", 0
    for start, end in masked:
        kept += text[position:start] + MASK
        position = end
    return f"Fill in every {MASK} and write the complete text.\n\n{kept}{text[position:]}\n\nComplete text:\n{text}"
