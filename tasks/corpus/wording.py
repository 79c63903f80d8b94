"""Comparing the words of an answer with those of its document, for the corpus task.

Two texts that look alike may differ in their characters: é is one character or two, quotation marks are curly or
straight, a soft hyphen is not seen. `fold` makes such texts equal.
"""

import string
import unicodedata
from collections.abc import Callable

_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\u0060", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    }
)


def _plain_marks(text: str) -> str:
    """The text with the punctuation of other scripts as full stops, which metrics take away, as those of ASCII."""
    return "".join(
        "." if unicodedata.category(letter)[0] == "P" and letter not in string.punctuation else letter
        for letter in text
    )


def _without_invisible(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


_STEPS: dict[str, Callable[[str], str]] = {
    "accents composed in one and apart in the other (NFC, NFD)": lambda text: unicodedata.normalize("NFC", text),
    "the kind of quotation mark or dash": lambda text: text.translate(_ALIKE),
    "soft hyphens or other invisible characters": _without_invisible,
    "full-width or other compatibility characters": lambda text: unicodedata.normalize("NFKC", text),
    "the punctuation marks of its script": _plain_marks,
}


def fold(text: str) -> str:
    """The text with characters that look alike made equal: composed accents, straight quotes, plain hyphens and digits.

    Invisible characters go. Unicode's NFKC, after quotation marks and dashes, which it leaves as they are. Punctuation
    marks of other scripts become full stops.
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
