"""The numbers of Figures 2 and 3: kinds of the tokens that models attend to from the last word before a fact."""

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.stats.intervals import mean_interval

Line = dict[str, Any]


def attended_lines(
    pair: str, of: str, kinds: Mapping[tuple[str, int], Sequence[str]], order: Sequence[str]
) -> list[Line]:
    """Shares of the kinds of token as lines of a CSV file: one for each fact, rank and kind.

    `share` is the share of people whose token of that rank is of that kind, `ci_low` and `ci_high` its 95% interval
    over people, `people` the number of people with a token of that rank.

    Args:
        pair: Name of the pair.
        of: Name of the model, or of the difference of two models.
        kinds: The kind of token for each person, by fact and rank.
        order: The kinds in the order of the lines.
    """
    lines = []
    for (field, rank), people_kinds in kinds.items():
        for kind in order:
            if kind in people_kinds:
                share = mean_interval([[float(other == kind) for other in people_kinds]])
                numbers = {"share": share.mean, "ci_low": share.low, "ci_high": share.high, "people": len(people_kinds)}
                lines.append({"pair": pair, "of": of, "fact": field, "rank": rank, "kind": kind, **numbers})
    return lines
