"""Units of a text: what token dropout drops or keeps as a whole, and how units are removed from the text.

Everything is counted in characters. A unit is a token, or several tokens that share characters: a byte-level tokenizer
spells an emoji or a Chinese character with more than one token.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores

PUNCTUATION = frozenset({",", "."})


@dataclass(frozen=True)
class Unit:
    """Characters [start, end) of a text that stay or go together; `score` is the mean of their tokens' scores."""

    start: int
    end: int
    score: float


def units(text: Text, tokens: TokenScores) -> list[Unit]:
    """Group the tokens of a text into units, in text order. Tokens without characters belong to no unit.

    A unit includes the white space before it that no token covers: " was" is one unit, whether or not the tokenizer
    counts the space as part of the token.

    Raises:
        UserError: If a score is not a finite number.
        ValueError: If a token lies outside the text.
    """
    spans = sorted((s, e, score) for s, e, score in zip(tokens.start, tokens.end, tokens.score, strict=True) if s < e)
    if spans and (spans[0][0] < 0 or max(end for _, end, _ in spans) > len(text.text)):
        raise ValueError(f"text {text.id!r}: a token lies outside the text; these are the tokens of another text")
    if not all(math.isfinite(score) for _, _, score in spans):
        raise UserError(f"text {text.id!r}: a token score is not a finite number; score the model in float32")
    result: list[Unit] = []
    scores: list[float] = []
    for start, end, score in spans:
        if result and start < result[-1].end:
            scores.append(score)
            result[-1] = Unit(result[-1].start, max(end, result[-1].end), math.fsum(scores) / len(scores))
            continue
        scores = [score]
        previous_end = result[-1].end if result else 0
        result.append(Unit(previous_end if text.text[previous_end:start].isspace() else start, end, score))
    return result


def word_units(text: Text, units_of_text: Sequence[Unit]) -> list[Unit]:
    """Join units into words: units without white space between them, but for "," and "." at either end of a word.

    The score of a word is the mean of its units' scores.
    """
    groups: list[list[Unit]] = []
    for unit in units_of_text:
        last = text.text[groups[-1][-1].start : groups[-1][-1].end] if groups else ""
        # ".\n" is a token in the vocabularies of Qwen: it ends a word. White space that is a token begins one.
        ended = last[-1:].isspace() and not last.isspace()
        if groups and not text.text[unit.start].isspace() and not ended:
            groups[-1].append(unit)
        else:
            groups.append([unit])
    parts = (part for group in groups for part in _without_punctuation(text, group))
    return [Unit(part[0].start, part[-1].end, math.fsum(unit.score for unit in part) / len(part)) for part in parts]


def _without_punctuation(text: Text, group: Sequence[Unit]) -> list[Sequence[Unit]]:
    """The units of a word together, and each "," or "." at its ends by itself."""
    is_mark = [text.text[unit.start : unit.end].strip() in PUNCTUATION for unit in group]
    if all(is_mark):
        return [[unit] for unit in group]
    first = is_mark.index(False)
    last = len(group) - is_mark[::-1].index(False)
    return [*([unit] for unit in group[:first]), group[first:last], *([unit] for unit in group[last:])]


def elusive_words(text: Text, tokens: TokenScores, count: int) -> list[tuple[int, int]]:
    """The [start, end) offsets of the `count` words with the highest scores, in text order, without "," and ".".

    With the difference of a pair's scores these are the paper's elusive clues: words that the large model attends to
    and the small one overlooks (Gao et al., AAAI 2025). Of equal scores the earlier word counts.
    """
    words = [
        word
        for word in word_units(text, units(text, tokens))
        if any(letter.isalnum() for letter in text.text[word.start : word.end])
    ]
    highest = sorted(sorted(words, key=lambda word: (-word.score, word.start))[:count], key=lambda word: word.start)
    spans = []
    for word in highest:
        surface = text.text[word.start : word.end]
        start = word.start + len(surface) - len(surface.lstrip())
        spans.append((start, start + len(surface.strip())))
    return spans


def removable(text: str, units_of_text: Sequence[Unit], dropped: Set[int]) -> Set[int]:
    """Those of the units numbered `dropped` that can be removed so that something readable is left.

    These are all, unless nothing readable would be left. Then the readable unit with the highest score stays; a text
    without a readable unit stays whole.
    """
    if not dropped or _cut(text, units_of_text, dropped, "blank").strip():
        return dropped
    readable = [number for number in dropped if text[units_of_text[number].start : units_of_text[number].end].strip()]
    if not readable:
        return frozenset()
    return dropped - {min(readable, key=lambda number: (-units_of_text[number].score, number))}


def remove_units(text: str, units_of_text: Sequence[Unit], dropped: Set[int], how: Literal["delete", "blank"]) -> str:
    """Remove the units numbered `dropped`: delete their characters, or replace each character by a space.

    Deleting also strips the white space that it leaves at the ends of the text. Something readable is always left
    (`removable`).
    """
    numbers = removable(text, units_of_text, dropped)
    if not numbers:
        return text
    result = _cut(text, units_of_text, numbers, how)
    return result.strip() if how == "delete" else result


def _cut(text: str, units_of_text: Sequence[Unit], numbers: Set[int], how: Literal["delete", "blank"]) -> str:
    result, position = "", 0
    for number in sorted(numbers):
        unit = units_of_text[number]
        result += text[position : unit.start] + (" " * (unit.end - unit.start) if how == "blank" else "")
        position = unit.end
    return result + text[position:]
