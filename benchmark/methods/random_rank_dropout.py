"""Random rank dropout: Equation 1 on random ranks, the control for ranking by attention."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout, RateMatchedDropout


class RandomRankDropout(RateMatchedDropout, RankedDropout):
    """Contrastive dropout with random ranks: it drops as many tokens, but any of them (ours, from no paper).

    Random dropout at the same α is no fair control, since it drops more tokens: Equation 1 approaches α at high ranks
    only. The ranks of a text are drawn once and shared by its copies, as scores are. With `rate: as
    contrastive_dropout` it drops exactly as many tokens, whatever the ranks of "," and "." in contrastive dropout.
    """

    name: ClassVar[str] = "random_rank_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    beta: Beta = 0.03

    def scores_to_rank(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens with random ranks as scores, drawn from the text alone."""
        numbers = list(range(len(tokens.score)))
        random.Random(f"ranks:{text.id}:{text.text}").shuffle(numbers)
        return replace(tokens, score=[float(number) for number in numbers])

    @property
    def matched_beta(self) -> float:
        """β of contrastive dropout: the method's own."""
        return self.beta

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """Equation 1 at random ranks, scaled to `rate`."""
        return self.scaled(super().probabilities(scores))
