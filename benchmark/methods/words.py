"""Words of a text, shared by the methods that move, change or drop them."""

import re
import unicodedata
from collections.abc import Iterable

Span = tuple[int, int]


def words(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Find the words between two offsets: runs without white space, less the punctuation at either end.

    A run of nothing but punctuation is no word. Symbols count as letters, so that an emoji, also one joined from
    several, is a word; where a script puts no spaces, a whole run of it is one.
    """
    found: list[Span] = []
    for run in re.compile(r"\S+").finditer(text, start, len(text) if end is None else end):
        first, last = run.span()
        while first < last and is_punctuation(text[first]):
            first += 1
        while first < last and is_punctuation(text[last - 1]):
            last -= 1
        if first < last:
            found.append((first, last))
    return found


def is_punctuation(character: str) -> bool:
    """Whether Unicode calls a character punctuation."""
    return unicodedata.category(character).startswith("P")


def overlaps(span: Span, others: Iterable[Span]) -> bool:
    """Whether a span shares a character with any of the others."""
    return any(start < span[1] and span[0] < end for start, end in others)
