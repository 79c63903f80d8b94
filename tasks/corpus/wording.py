"""Comparing the words of an answer with those of its document, for the corpus task.

Two texts that look alike may differ in their characters: é is one character or two, quotation marks are curly or
straight, a soft hyphen is not seen. `fold` makes such texts equal.
"""

import re
import unicodedata
from collections.abc import Callable

_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\u0060", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    }
)
_SPACED = 0x590  # below it are Latin, Greek, Cyrillic and Armenian letters, whose words have spaces between them


def _without_invisible(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


_STEPS: dict[str, Callable[[str], str]] = {
    "accents composed in one and apart in the other (NFC, NFD)": lambda text: unicodedata.normalize("NFC", text),
    "the kind of quotation mark or dash": lambda text: text.translate(_ALIKE),
    "soft hyphens or other invisible characters": _without_invisible,
    "full-width or other compatibility characters": lambda text: unicodedata.normalize("NFKC", text),
}


def fold(text: str) -> str:
    """The text with characters that look alike made equal: composed accents, straight quotes, plain hyphens and digits.

    Invisible characters go. Unicode's NFKC, after quotation marks and dashes, which it leaves as they are.
    """
    for step in _STEPS.values():
        text = step(text)
    return text


def difference(answer: str, text: str, holds: Callable[[str, str], bool]) -> str:
    """How the characters of an answer differ from those of a text that holds it once both are folded.

    `holds` tells whether a text holds an answer. Returns "" if it does not when folded.
    """
    if not holds(fold(answer), fold(text)):
        return ""
    alone = [name for name, step in _STEPS.items() if holds(step(answer), step(text))]
    return alone[0] if alone else "; ".join(_STEPS)


def longer_word(answer: str, text: str) -> str:
    """The word of the text that an answer is only a part of; "" if somewhere it stands by itself, or nowhere.

    Both are normalised. Scripts without spaces between words have no such parts.
    """
    found = ""
    for match in re.finditer(re.escape(answer), text):
        start, end = match.span()
        if not (inside_word(text, start) or inside_word(text, end)):
            return ""
        found = found or text[text.rfind(" ", 0, start) + 1 : (text + " ").find(" ", end)]
    return found


def inside_word(text: str, place: int) -> bool:
    """Whether a place lies between two letters, or two digits, of one word."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before.isdigit() and after.isdigit():
        return True
    return before.isalpha() and after.isalpha() and max(ord(before), ord(after)) < _SPACED
