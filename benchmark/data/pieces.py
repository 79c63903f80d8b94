"""Cut a text that is too long for a model into pieces."""

from collections.abc import Callable

import regex

from benchmark.core.errors import UserError

# Ends of sentences that need no white space after them, with closing quotes and brackets.
_CLOSING = "[”’」』）】》〉»)\\]]*"
_WIDE_END = regex.compile(f"[。！？｡؟।॥]+{_CLOSING}")
_LOOSE_END = regex.compile(f"[.!?…;；]+{_CLOSING}")
_CHARACTER = regex.compile(r"\X")  # a character as readers count: a letter with its accents, a whole flag


def cut_into_pieces(text: str, fits: Callable[[str], bool], name: str) -> list[str]:
    """Halve a text, and the halves, until all pieces fit; only white space at the cuts is lost.

    A cut is at the sentence end nearest to the middle if there is a central one, else at white space or anywhere.

    Args:
        text: The text.
        fits: Says whether a piece fits.
        name: What the error message calls the text.

    Raises:
        UserError: A single character does not fit.
    """
    if fits(text):
        return [text]
    if text != text.strip():
        return cut_into_pieces(text.strip(), fits, name)
    middle = len(text) // 2
    ends = [i + 1 for i in range(len(text) - 1) if text[i] in ".!?\n" and text[i + 1].isspace()]
    ends += [match.end() for match in _WIDE_END.finditer(text)]
    spaces = [i for i in range(1, len(text) - 1) if text[i].isspace()]
    cuts = _central(ends, text) or spaces
    if not cuts:
        cuts = _central([match.end() for match in _LOOSE_END.finditer(text)], text)
    if not cuts:
        cuts = [match.start() for match in _CHARACTER.finditer(text)][1:]
    if not cuts:
        raise UserError(f"text {name!r}: a model's context has no room for its character {text!r}; remove it")
    cut = min(cuts, key=lambda i: abs(i - middle))
    return cut_into_pieces(text[:cut].rstrip(), fits, name) + cut_into_pieces(text[cut:].lstrip(), fits, name)


def _central(cuts: list[int], text: str) -> list[int]:
    """The cuts in the middle half of the text; others would make pieces of very unequal length."""
    return [cut for cut in cuts if len(text) // 4 < cut < 3 * len(text) // 4]
