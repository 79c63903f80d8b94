"""A tokenizer for tests, small enough to check by eye."""

import re
from collections.abc import Callable

import pytest

from benchmark.data.texts import Text, TokenScores

Tokenize = Callable[[Text], TokenScores]


def _tokenize(text: Text) -> TokenScores:
    """Words and punctuation, a word with the space before it; a character beyond U+2FFF is two tokens, as in bytes.

    Scores fall with the position and then rise again, so that ranks are not positions.
    """
    spans: list[tuple[int, int]] = []
    for match in re.finditer(r"\s?[^\W\u3000-\U0010FFFF]+|\s?[^\s]|\s", text.text):
        spans += [match.span()] * (2 if ord(match.group()[-1]) > 0x2FFF else 1)
    return TokenScores(
        text.id,
        [text.text[start:end] for start, end in spans],
        [start for start, _ in spans],
        [end for _, end in spans],
        [float((start * 7) % 11) for start, _ in spans],
    )


@pytest.fixture(scope="session")
def tokenize() -> Tokenize:
    return _tokenize
