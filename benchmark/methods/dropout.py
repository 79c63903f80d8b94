"""Base classes of the dropout methods: with which probability each unit of a text is dropped."""

import math
import random
from abc import abstractmethod
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from benchmark.core.errors import UserError
from benchmark.core.validation import not_a_bool
from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Beta, Method, Needs
from benchmark.methods.units import PUNCTUATION, Unit, removable, remove_units, units, word_units

UnitProbability = tuple[Unit, float]


def ranks(scores: Sequence[float], first_rank: int = 0) -> list[int]:
    """The rank of each score, `first_rank` for the largest. Of equal scores the earlier ranks first."""
    order = sorted(range(len(scores)), key=lambda position: -scores[position])
    result = [0] * len(scores)
    for rank, position in enumerate(order, start=first_rank):
        result[position] = rank
    return result


def break_ties(tokens: TokenScores, rng: random.Random) -> TokenScores:
    """The same tokens with their ranks from the lowest as scores; equal scores are ranked at random.

    Tokens with a score that is not a finite number are returned as they are; `units` refuses them.
    """
    if not all(map(math.isfinite, tokens.score)):
        return tokens
    order = sorted(range(len(tokens.score)), key=lambda position: (tokens.score[position], rng.random()))
    score = [0.0] * len(order)
    for rank, position in enumerate(order):
        score[position] = float(rank)
    return replace(tokens, score=score)


def equation_1(rank: int, alpha: float, beta: float) -> float:
    """Probability of dropping the token of a rank, p(r) = α(1 − e^(−βr)): Equation 1 of Gao et al., AAAI 2025."""
    return -alpha * math.expm1(-beta * rank)


class TokenDropout(Method):
    """Base of the methods that drop each unit of a text at random, independently of the others.

    Fields: `alpha`, the (highest) probability; `keep_punctuation`, whether "," and "." are never dropped, as in the
    released code (they keep their rank all the same); `dropped`, whether dropped units are deleted or blanked; `unit`,
    whether tokens or whole words are dropped. Dropping tokens can leave pieces of words.
    """

    alpha: Alpha = 0.6
    keep_punctuation: bool = True
    dropped: Literal["delete", "blank"] = "delete"
    unit: Literal["token", "word"] = "token"

    # The last text with its tokens and probabilities: the copies of a text are made one after another, and share them.
    _last: tuple[Text, TokenScores | None, list[UnitProbability]] | None = PrivateAttr(None)

    @abstractmethod
    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """The probability of dropping each unit, from the units' scores in text order."""

    def unit_probabilities(self, text: Text, tokens: TokenScores | None) -> list[UnitProbability]:
        """The units of `text`, each with its probability of being dropped: 0 for units that are never dropped."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the tokens of text {text.id!r}")
        units_of_text = units(text, self.scores_to_rank(text, tokens))
        if self.unit == "word":
            units_of_text = word_units(text, units_of_text)
        probabilities = self.probabilities([unit.score for unit in units_of_text])
        kept = [self._is_kept(text.text[unit.start : unit.end]) for unit in units_of_text]
        return [
            (unit, 0.0 if keep else probability)
            for unit, keep, probability in zip(units_of_text, kept, probabilities, strict=True)
        ]

    def scores_to_rank(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens with the scores by which units are ranked; for most methods the scores that it was given."""
        return tokens

    def draw(self, unit_probabilities: Sequence[UnitProbability], rng: random.Random) -> set[int]:
        """Draw the numbers of the units to drop.

        Every unit takes one random number, whether or not it can be dropped, so that options do not shift the others'.
        """
        return {number for number, (_, probability) in enumerate(unit_probabilities) if rng.random() < probability}

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Drop units of `text`."""
        return remove_units(text.text, *self.drawn_units(text, tokens, rng), self.dropped)

    def drawn_units(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> tuple[list[Unit], Set[int]]:
        """The units of `text`, and the numbers of those that a copy loses; something readable is always left."""
        if self._last is None or self._last[0] is not text or self._last[1] is not tokens:
            self._last = text, tokens, self.unit_probabilities(text, tokens)
        units_of_text = [unit for unit, _ in self._last[2]]
        return units_of_text, removable(text.text, units_of_text, self.draw(self._last[2], rng))

    def _is_kept(self, surface: str) -> bool:
        return self.keep_punctuation and surface.strip() in PUNCTUATION


class RankedDropout(TokenDropout):
    """Dropout by Equation 1: units with a higher score are dropped less often.

    Fields beside those of TokenDropout: `beta`, how fast the probability approaches alpha; `first_rank`, the rank of
    the highest score. With 0, as in the released code, that unit is never dropped.
    """

    beta: Beta = 0.05
    first_rank: Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, le=1)] = 0

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """Equation 1 at the rank of each unit."""
        return [equation_1(rank, self.alpha, self.beta) for rank in ranks(scores, self.first_rank)]


class RateMatchedDropout(TokenDropout):
    """Dropout that can be set to drop as many tokens of a corpus as contrastive dropout, for a fair comparison.

    At the same α Equation 1 drops fewer tokens than a constant probability, and fewer still where "," and "." rank low.

    Fields beside those of TokenDropout: `rate`. With "as contrastive_dropout", `alpha` and `beta` are those of
    contrastive dropout. The number of tokens that it is expected to drop is counted over the whole corpus, with the
    scores of the suite's pair, and this method's probabilities are scaled to drop as many.
    """

    rate: Literal["as contrastive_dropout"] | None = None

    _factor: float | None = PrivateAttr(None)

    @property
    def reads(self) -> Needs:
        """The difference of the pair's scores where the rate is that of contrastive dropout."""
        return self.needs if self.rate is None else "difference"

    def fitted(self, texts: Sequence[Text], tokens: Sequence[TokenScores] | None) -> Self:
        """The method with its probabilities scaled to the rate for these texts.

        Raises:
            UserError: If a probability would have to be above 1.
        """
        if self.rate is None or tokens is None:
            return self
        from benchmark.methods.contrastive_dropout import ContrastiveDropout

        shared = ("keep_punctuation", "dropped", "unit", "first_rank")
        options = {name: getattr(self, name) for name in shared if name in type(self).model_fields}
        model = ContrastiveDropout(alpha=self.alpha, beta=self.matched_beta, **options)
        pairs = list(zip(texts, tokens, strict=True))
        wanted = math.fsum(probability for pair in pairs for _, probability in model.unit_probabilities(*pair))
        matched = self.model_copy()
        matched._factor = 1.0
        unscaled = [probability for pair in pairs for _, probability in matched.unit_probabilities(*pair)]
        total = math.fsum(unscaled)
        matched._factor = wanted / total if total else 0.0
        highest = max((p for pair in pairs for _, p in matched.unit_probabilities(*pair)), default=0.0)
        if highest > 1:
            raise UserError(
                f"{self.label}: rate: cannot drop as many tokens as contrastive_dropout, since a probability would be "
                f"{highest:.2f}; lower alpha"
            )
        return matched

    @property
    def matched_beta(self) -> float:
        """β of the contrastive dropout whose rate is matched."""
        raise NotImplementedError

    def scaled(self, probabilities: Sequence[float]) -> list[float]:
        """The probabilities scaled to the rate; as they are without `rate` or before `fitted`."""
        return list(probabilities) if self._factor is None else [self._factor * p for p in probabilities]
