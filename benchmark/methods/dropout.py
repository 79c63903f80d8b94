"""Token dropout, shared by the dropout methods: what a token is, how tokens are ranked, and how they leave the text.

Everything happens on characters. A *unit* is what is dropped or kept as one: a token, or several tokens that share
characters (a byte-level tokenizer spells an emoji or a Chinese character with more than one).
"""

import math
import random
from abc import abstractmethod
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from benchmark.core.errors import UserError
from benchmark.core.validation import not_a_bool
from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Beta, Method, Needs

PUNCTUATION = frozenset({",", "."})


@dataclass(frozen=True)
class Unit:
    """Characters [start, end) of a text that go together; `score` is the mean of their tokens' scores."""

    start: int
    end: int
    score: float


def units(text: Text, tokens: TokenScores) -> list[Unit]:
    """Group a text's tokens into units, in text order. Tokens of no character take part in nothing.

    A unit takes in the white space before it that no token covers, so that " was" is one unit whether or not the
    tokenizer counts the space as part of the token.

    Raises UserError if a score is not a finite number, ValueError if a token lies outside the text.
    """
    spans = sorted((s, e, score) for s, e, score in zip(tokens.start, tokens.end, tokens.score, strict=True) if s < e)
    if spans and (spans[0][0] < 0 or max(end for _, end, _ in spans) > len(text.text)):
        raise ValueError(f"text {text.id!r}: a token lies outside the text; these are the tokens of another text")
    if not all(math.isfinite(score) for _, _, score in spans):
        raise UserError(f"text {text.id!r}: a token score is not a finite number; score the model in float32")
    found: list[Unit] = []
    group: list[float] = []
    for start, end, score in spans:
        if found and start < found[-1].end:
            group.append(score)
            found[-1] = Unit(found[-1].start, max(end, found[-1].end), math.fsum(group) / len(group))
            continue
        group = [score]
        before = found[-1].end if found else 0
        found.append(Unit(before if text.text[before:start].isspace() else start, end, score))
    return found


def words(text: Text, every: Sequence[Unit]) -> list[Unit]:
    """The words of a text as units: those between which no white space stands, a "," or "." at either end by itself.

    A word's score is the mean of its units'.
    """
    found: list[list[Unit]] = []
    for unit in every:
        if found and not text.text[unit.start : unit.end][:1].isspace():
            found[-1].append(unit)
        else:
            found.append([unit])
    parts = (part for group in found for part in _without_marks(text, group))
    return [Unit(part[0].start, part[-1].end, math.fsum(unit.score for unit in part) / len(part)) for part in parts]


def _without_marks(text: Text, group: Sequence[Unit]) -> list[Sequence[Unit]]:
    """The units of a word, and each "," or "." at its ends apart."""
    is_mark = [text.text[unit.start : unit.end].strip() in PUNCTUATION for unit in group]
    if all(is_mark):
        return [[unit] for unit in group]
    first = is_mark.index(False)
    last = len(group) - is_mark[::-1].index(False)
    return [*([unit] for unit in group[:first]), group[first:last], *([unit] for unit in group[last:])]


def ranks(scores: Sequence[float], first_rank: int = 0) -> list[int]:
    """Rank of each score: the largest is `first_rank`, the next one more; of equal scores the earlier comes first."""
    order = sorted(range(len(scores)), key=lambda position: -scores[position])
    result = [0] * len(scores)
    for rank, position in enumerate(order, start=first_rank):
        result[position] = rank
    return result


def break_ties(tokens: TokenScores, rng: random.Random) -> TokenScores:
    """The same tokens with their places as scores, counted from the lowest; equal scores take places at random.

    Scores that are not finite numbers are left for `units` to refuse.
    """
    if not all(map(math.isfinite, tokens.score)):
        return tokens
    order = sorted(range(len(tokens.score)), key=lambda place: (tokens.score[place], rng.random()))
    score = [0.0] * len(order)
    for number, place in enumerate(order):
        score[place] = float(number)
    return replace(tokens, score=score)


def equation_1(rank: int, alpha: float, beta: float) -> float:
    """Probability of dropping the token of a rank, p(r) = α(1 − e^(−βr)): Equation 1 of Gao et al., AAAI 2025."""
    return -alpha * math.expm1(-beta * rank)


def taken_out(text: str, every: Sequence[Unit], dropped: Set[int]) -> Set[int]:
    """Those of the units numbered `dropped` that leave the text.

    They are all of them, unless nothing readable would be left: then the unit with the highest score among those that
    can be read stays, and a text with no readable unit stays whole.
    """
    if not dropped or _cut(text, every, dropped, "blank").strip():
        return dropped
    readable = [number for number in dropped if text[every[number].start : every[number].end].strip()]
    if not readable:
        return frozenset()
    return dropped - {min(readable, key=lambda number: (-every[number].score, number))}


def without(text: str, every: Sequence[Unit], dropped: Set[int], how: Literal["delete", "blank"]) -> str:
    """Take the units whose numbers are `dropped` out of the text: delete their characters, or make each a space.

    Deletion bares no white space at the ends of the text. Something readable is always left, see `taken_out`.
    """
    left = taken_out(text, every, dropped)
    if not left:
        return text
    result = _cut(text, every, left, how)
    return result.strip() if how == "delete" else result


def _cut(text: str, every: Sequence[Unit], dropped: Set[int], how: Literal["delete", "blank"]) -> str:
    result, position = "", 0
    for number in sorted(dropped):
        unit = every[number]
        result += text[position : unit.start] + (" " * (unit.end - unit.start) if how == "blank" else "")
        position = unit.end
    return result + text[position:]


class TokenDropout(Method):
    """A method that drops each unit by chance, independently of the others.

    Fields: `alpha`, the (highest) probability; `keep_punctuation`, whether "," and "." are never dropped, as in the
    released code (they hold their rank all the same); `dropped`, whether what is dropped is deleted or blanked; `unit`,
    whether tokens or whole words are dropped: of a word whose tokens are dropped one by one, pieces stay.
    """

    alpha: Alpha = 0.6
    keep_punctuation: bool = True
    dropped: Literal["delete", "blank"] = "delete"
    unit: Literal["token", "word"] = "token"

    # The fates of the text that was last seen: copies of one text are made one after another, and share them.
    _last: tuple[Text, TokenScores | None, list[tuple[Unit, float]]] | None = PrivateAttr(None)

    @abstractmethod
    def chances(self, scores: Sequence[float]) -> list[float]:
        """Probability of being dropped for every unit, from the units' scores in text order."""

    def fates(self, text: Text, tokens: TokenScores | None) -> list[tuple[Unit, float]]:
        """The units of `text`, each with its probability of being dropped: 0 for what this method never drops."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the tokens of text {text.id!r}")
        every = units(text, self.ranked(text, tokens))
        if self.unit == "word":
            every = words(text, every)
        chances = self.chances([unit.score for unit in every])
        kept = [self._keeps(text.text[unit.start : unit.end]) for unit in every]
        return [(unit, 0.0 if keep else chance) for unit, keep, chance in zip(every, kept, chances, strict=True)]

    def ranked(self, text: Text, tokens: TokenScores) -> TokenScores:
        """The tokens with the scores that count; those that it was given, if a method does not say otherwise."""
        return tokens

    def drawn(self, fates: Sequence[tuple[Unit, float]], rng: random.Random) -> set[int]:
        """Draw which units are dropped. One number per unit, kept or not, so that options do not shift the stream."""
        return {number for number, (_, chance) in enumerate(fates) if rng.random() < chance}

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Drop units of `text`."""
        if self._last is None or self._last[0] is not text or self._last[1] is not tokens:
            self._last = text, tokens, self.fates(text, tokens)
        fates = self._last[2]
        return without(text.text, [unit for unit, _ in fates], self.drawn(fates, rng), self.dropped)

    def _keeps(self, surface: str) -> bool:
        return self.keep_punctuation and surface.strip() in PUNCTUATION


class RankedDropout(TokenDropout):
    """Dropout by Equation 1: the higher a unit's score, the likelier it stays.

    Fields beside those of TokenDropout: `beta`, how fast the probability nears alpha; `first_rank`, the rank of the
    highest score: with 0, as in the released code, that unit is never dropped.
    """

    beta: Beta = 0.05
    first_rank: Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, le=1)] = 0

    def chances(self, scores: Sequence[float]) -> list[float]:
        """Equation 1 at each unit's rank."""
        return [equation_1(rank, self.alpha, self.beta) for rank in ranks(scores, self.first_rank)]


class AtRate(TokenDropout):
    """A dropout that can be told to drop as many tokens of a corpus as contrastive dropout does.

    Fields beside those of TokenDropout: `rate`, "as contrastive_dropout" if `alpha` and `beta` are those of contrastive
    dropout and say how much is dropped, not this method's own probability. What that method is expected to drop is
    counted over the whole corpus, on the scores of the suite's pair. So two methods can be compared at equal damage:
    at one α Equation 1 drops fewer tokens than a constant probability, and fewer where "," and "." rank low.
    """

    rate: Literal["as contrastive_dropout"] | None = None

    _factor: float | None = PrivateAttr(None)

    @property
    def reads(self) -> Needs:
        """The pair's difference, where the rate is that of contrastive dropout."""
        return self.needs if self.rate is None else "difference"

    def fitted(self, texts: Sequence[Text], tokens: Sequence[TokenScores] | None) -> Self:
        """With the probabilities multiplied so that as much is dropped of these texts.

        Raises UserError if not even dropping everything that may be dropped is as much.
        """
        if self.rate is None or tokens is None:
            return self
        from benchmark.methods.contrastive_dropout import ContrastiveDropout

        options = {name: getattr(self, name) for name in ("keep_punctuation", "dropped", "unit")}
        model = ContrastiveDropout(alpha=self.alpha, beta=self.matched_beta, **options)
        pairs = list(zip(texts, tokens, strict=True))
        wanted = math.fsum(chance for pair in pairs for _, chance in model.fates(*pair))
        ready = self.model_copy()
        ready._factor = 1.0
        drops = math.fsum(chance for pair in pairs for _, chance in ready.fates(*pair))
        ready._factor = wanted / drops if drops else 0.0
        highest = max((chance for pair in pairs for _, chance in ready.fates(*pair)), default=0.0)
        if highest > 1:
            raise UserError(f"{self.label}: cannot drop as much, since some probability would be {highest:.2f}")
        return ready

    @property
    def matched_beta(self) -> float:
        """β of the contrastive dropout whose rate is meant."""
        raise NotImplementedError

    def scaled(self, chances: Sequence[float]) -> list[float]:
        """Probabilities at the rate asked for; without a corpus, or without `rate`, as they are."""
        return list(chances) if self._factor is None else [self._factor * chance for chance in chances]
