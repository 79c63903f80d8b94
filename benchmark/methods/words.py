"""Words of a text, for the methods that move, change or drop words."""

import re
import unicodedata
from collections.abc import Iterable

Span = tuple[int, int]


def words(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Character offsets of the words between two offsets: runs without white space, without punctuation at either end.

    A run of punctuation only is not a word. Symbols count as letters, so an emoji is a word, also if it is joined from
    several. In a script without spaces a whole run is a word.
    """
    spans: list[Span] = []
    for run in re.compile(r"\S+").finditer(text, start, len(text) if end is None else end):
        first, last = run.span()
        while first < last and is_punctuation(text[first]):
            first += 1
        while first < last and is_punctuation(text[last - 1]):
            last -= 1
        if first < last:
            spans.append((first, last))
    return spans


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation in Unicode."""
    return unicodedata.category(character).startswith("P")


def overlaps(span: Span, others: Iterable[Span]) -> bool:
    """Whether a span shares a character with one of the others."""
    return any(start < span[1] and span[0] < end for start, end in others)
