"""Dropout by Equation 1 on ranks drawn at random: what ranking by attention has to beat."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Beta
from benchmark.methods.dropout import AtRate, RankedDropout


class RandomRankDropout(AtRate, RankedDropout):
    """Contrastive dropout whose scores say nothing: as many tokens are dropped as there, but any of them.

    A control of this project's. Random dropout at the same α is none, since it drops more: Equation 1 nears α at high
    ranks alone. The order of a text's tokens is drawn once, and all its copies share it, as they share scores. With
    `rate: as contrastive_dropout` exactly as many tokens are dropped, also where "," and "." rank otherwise there.
    """

    name: ClassVar[str] = "random_rank_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    beta: Beta = 0.03

    def ranked(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens in an order that depends on the text alone."""
        places = list(range(len(tokens.score)))
        random.Random(f"ranks:{text.id}:{text.text}").shuffle(places)
        return replace(tokens, score=[float(place) for place in places])

    @property
    def matched_beta(self) -> float:
        """β of contrastive dropout is this method's own."""
        return self.beta

    def chances(self, scores: Sequence[float]) -> list[float]:
        """Equation 1 at random ranks, at the rate asked for."""
        return self.scaled(super().chances(scores))
