"""Dropout by Equation 1 on ranks drawn at random: what ranking by attention has to beat."""

import random
from dataclasses import replace
from typing import ClassVar, Literal

from benchmark.methods.base import Beta
from benchmark.methods.dropout import RankedDropout
from benchmark.texts import Text, TokenScores


class RandomRankDropout(RankedDropout):
    """Contrastive dropout whose scores say nothing: as many tokens are dropped as there, but any of them.

    A control of this project's. Random dropout at the same α is none, since it drops more: Equation 1 nears α at high
    ranks alone. The order of a text's tokens is drawn once, and all its copies share it, as they share scores.
    """

    name: ClassVar[str] = "random_rank_dropout"
    needs: ClassVar[Literal["tokens"]] = "tokens"

    beta: Beta = 0.03

    def ranked(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens in an order that depends on the text alone."""
        places = list(range(len(tokens.score)))
        random.Random(f"ranks:{text.id}:{text.text}").shuffle(places)
        return replace(tokens, score=[float(place) for place in places])
