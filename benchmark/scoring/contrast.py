"""The contrast of two models: the large model's scores minus the small model's, aligned by characters."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from benchmark.core.errors import UserError
from benchmark.data.texts import TokenScores


def contrast(large: Sequence[TokenScores], small: Sequence[TokenScores]) -> list[TokenScores]:
    """The large model's scores minus the small model's, on the large model's tokens.

    If the two tokenizers split a text differently, the small model's score on a token of the large model is the mean of
    the small model's tokens there, weighted by the number of characters they share with it. Some tokenizers leave
    spaces out of their offsets: a token of white space alone that shares no character with any token of the small model
    is compared with the small model's next token, or with its last.

    Args:
        large: The large model's scores.
        small: The small model's scores of the same texts.

    Raises:
        UserError: If the two are not about the same texts in the same order, or a token has no counterpart.
    """
    if [scores.id for scores in large] != [scores.id for scores in small]:
        raise UserError(
            "the two models' scores are not of the same texts in the same order; score one corpus with both"
        )
    return [_difference(of_large, of_small) for of_large, of_small in zip(large, small, strict=True)]


def _difference(large: TokenScores, small: TokenScores) -> TokenScores:
    """The difference on a single text."""
    if (large.start, large.end) == (small.start, small.end):
        subtracted = small.score
    else:
        subtracted = [_score_at(small, large, number) for number in range(len(large.token))]
    score = [of_large - of_small for of_large, of_small in zip(large.score, subtracted, strict=True)]
    return TokenScores(large.id, large.token, large.start, large.end, score)


def _score_at(small: TokenScores, large: TokenScores, number: int) -> float:
    """The small model's score on the characters of a token of the large model."""
    start, end = large.start[number], large.end[number]
    first, shared = shared_characters(small.start, small.end, start, end)
    if shared:
        # Divided before the sum, so that a single counterpart gives its score without rounding.
        return sum(count / sum(shared) * small.score[first + k] for k, count in enumerate(shared))
    if large.token[number].isspace() and small.score:
        return small.score[min(first, len(small.score) - 1)]
    raise UserError(
        f"the two models' tokens cannot be aligned on text {large.id!r} at characters {start} to {end}: the small "
        "model has no token there; score the same corpus with both models"
    )


def shared_characters(starts: Sequence[int], ends: Sequence[int], start: int, end: int) -> tuple[int, list[int]]:
    """The spans that share characters with [start, end).

    Args:
        starts: First characters of the spans, in text order; spans do not overlap.
        ends: The characters after their last.
        start: First character.
        end: The character after the last.

    Returns:
        The number of the first such span, and how many characters each of them shares.
    """
    first, last = bisect_right(ends, start), bisect_left(starts, end)
    return first, [min(end, ends[k]) - max(start, starts[k]) for k in range(first, last)]
