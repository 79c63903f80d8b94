"""Figures 2 and 3: shares of the kinds of token that models attend to at the word before a fact."""

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.stats.intervals import mean_interval

Line = dict[str, Any]


def attended_lines(
    pair: str, of: str, kinds: Mapping[tuple[str, int], Sequence[str]], order: Sequence[str]
) -> list[Line]:
    """A line per fact, rank and kind of token.

    It has the share of people at whom the token of that rank is of that kind, with its 95% interval over people, and
    the number of people with a token of that rank.

    Args:
        pair: The pair's name.
        of: The model, or the difference of two.
        kinds: By fact and rank, the kind of token at each person.
        order: The kinds in the order of the lines.
    """
    lines = []
    for (field, rank), found in kinds.items():
        for kind in order:
            if kind in found:
                share = mean_interval([[float(one == kind) for one in found]])
                numbers = {"share": share.mean, "ci_low": share.low, "ci_high": share.high, "people": len(found)}
                lines.append({"pair": pair, "of": of, "fact": field, "rank": rank, "kind": kind, **numbers})
    return lines
