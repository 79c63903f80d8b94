"""What difference a paired comparison can tell, and how many seeds or subjects would tell a given one.

The test is that of significance.py. Its power follows from how a difference varies between seeds, between subjects and
in what is particular to both, as estimated from the answers there are, by the noncentral t distribution (Westfall,
Kenny and Judd 2014, "Statistical power and optimal design in experiments in which samples of participants respond to
samples of stimuli", Journal of Experimental Psychology: General 143(5)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scipy.special import nctdtr, stdtrit
from tabulate import tabulate

from benchmark.core.errors import clean
from leaderboard.board.labels import short_fact, short_number
from leaderboard.board.model import Board
from leaderboard.stats.comparisons import BASELINE
from leaderboard.stats.significance import LEVEL, least_p
from leaderboard.stats.variance import Spread

GOAL = 0.8
MOST = 100_000  # seeds or subjects; more are as good as none


@dataclass(frozen=True)
class Components:
    """Variances of a difference: between seeds, between subjects, and of what is particular to a seed and a subject.

    `of_seeds` is None where one seed says nothing of it; `of_subjects` then holds what is particular to both, too.
    """

    of_seeds: float | None
    of_subjects: float
    of_both: float


def components(found: Spread) -> Components:
    """Estimate the components from mean squares, by setting these equal to what they expect; none is below 0."""
    if found.seeds == 1:
        return Components(None, found.of_subjects, 0.0)
    return Components(
        of_seeds=max(0.0, found.of_seeds - found.of_both) / found.subjects,
        of_subjects=max(0.0, found.of_subjects - found.of_both) / found.seeds,
        of_both=found.of_both,
    )


def power(parts: Components, difference: float, seeds: int, subjects: int, alpha: float = LEVEL) -> float:
    """The chance that the paired test tells a true difference with so many seeds and subjects.

    Of the two readings of the error the one with less power counts, which is a little more than both together have.
    With one seed it is about that seed's difference. Raises ValueError for several seeds where `parts` comes from one,
    or if there is no spread at all.
    """
    if parts.of_seeds is None and seeds > 1:
        raise ValueError("one seed does not say how seeds differ, and so nothing of the power of several")
    expected = Spread(
        mean=difference,
        seeds=seeds,
        subjects=subjects,
        of_seeds=parts.of_both + subjects * (parts.of_seeds or 0.0) if seeds > 1 else 0.0,
        of_subjects=parts.of_both + seeds * parts.of_subjects if subjects > 1 else 0.0,
        of_both=parts.of_both if min(seeds, subjects) > 1 else 0.0,
    )
    if expected.variance == 0:
        raise ValueError("all differences are equal: there is no spread that power could be worked out from")
    if least_p(seeds, subjects) >= alpha:
        return 0.0
    return min(
        _chance(abs(difference) / math.sqrt(variance), freedom, alpha) for variance, freedom in expected.readings
    )


def smallest_difference(parts: Components, seeds: int, subjects: int, alpha: float = LEVEL) -> float | None:
    """The least difference that is told with 80% power; None where not even a difference of 1 is."""
    low, high = 0.0, 1.0
    if power(parts, high, seeds, subjects, alpha) < GOAL:
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(parts, middle, seeds, subjects, alpha) >= GOAL else (middle, high)
    return high


def seeds_needed(parts: Components, difference: float, subjects: int, alpha: float = LEVEL) -> int | None:
    """How many seeds, two at least, tell a difference with 80% power on so many subjects; None if no number does.

    None also where `parts` comes from one seed, which does not say how seeds differ.
    """
    if parts.of_seeds is None:
        return None
    return _least(lambda seeds: power(parts, difference, seeds, subjects, alpha))


def subjects_needed(parts: Components, difference: float, seeds: int, alpha: float = LEVEL) -> int | None:
    """How many subjects tell a difference with 80% power under so many seeds; None if no number does."""
    return _least(lambda subjects: power(parts, difference, seeds, subjects, alpha))


def power_lines(board: Board, difference: float, alpha: float = LEVEL) -> list[dict[str, Any]]:
    """For each row of a board that is compared with plain_matched: what it tells now, and what would tell `difference`.

    `told` is None where not even a difference of 1 would be, `seeds_needed` and `subjects_needed` where no number of
    them alone is enough; all three where the differences are all equal, or where there is too little to see a spread.
    """
    lines = []
    for table in board.tables:
        for row in table.rows:
            if (against := row.to_baseline) is None or (found := against.spread) is None:
                continue
            line: dict[str, Any] = {"table": table.title, "label": row.label, "difference": found.mean}
            line |= {"seeds": found.seeds, "subjects": found.subjects, "spread": found.variance > 0}
            parts = components(found)
            if found.variance > 0:
                line["told"] = smallest_difference(parts, found.seeds, found.subjects, alpha)
                line["seeds_needed"] = seeds_needed(parts, difference, found.subjects, alpha)
                line["subjects_needed"] = subjects_needed(parts, difference, found.seeds, alpha)
            else:
                line |= dict.fromkeys(("told", "seeds_needed", "subjects_needed"))
            lines.append(line)
    return lines


def power_tables(board: Board, difference: float, alpha: float = LEVEL) -> str:
    """The lines of `power_lines` as text, a table for each table of the board."""
    lines, parts = power_lines(board, difference, alpha), []
    wanted = short_fact(difference)
    headers = ["method", "Δ now", "seeds", "subjects", "tells now", f"seeds for {wanted}", f"subjects for {wanted}"]
    for table in board.tables:
        grid = [_cells(line) for line in lines if line["table"] == table.title]
        text = tabulate(grid, headers, disable_numparse=True, colalign=["left", *["right"] * 6])
        parts.append(f"{clean(table.title)}\n{text if grid else f'nothing here to compare with {BASELINE}'}\n")
    parts.append(
        f"Tells: a paired test at level {alpha:g} finds the difference in {GOAL:.0%} of cases; the other number stays "
        f"as it is.\nWith Holm's correction over n rows the hardest is tested at level {alpha:g}/n: give that with "
        "--alpha.\n–: no number is enough, or, of seeds, one seed does not say how seeds differ."
    )
    return "\n".join(parts)


def _cells(line: dict[str, Any]) -> list[str]:
    now = [clean(line["label"]), short_number(line["difference"], sign="+"), str(line["seeds"]), str(line["subjects"])]
    if not line["spread"]:
        return [*now, "no spread", "–", "–"]
    told = "> 1" if line["told"] is None else short_number(line["told"])
    counts = ("–" if line[name] is None else f"{line[name]:,}" for name in ("seeds_needed", "subjects_needed"))
    return [*now, told, *counts]


def _chance(shift: float, freedom: float, alpha: float) -> float:
    """The chance that a noncentral t lies beyond the ends of Student's at level `alpha`."""
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    upper, lower = (float(nctdtr(freedom, shift, end)) for end in (critical, -critical))
    return 1 - upper + (0.0 if math.isnan(lower) else lower)  # so little lies below that it underflows


def _least(chance: Callable[[int], float]) -> int | None:
    """The least number from 2 on that reaches the goal, where more is never worse."""
    low, high = 1, 2
    while chance(high) < GOAL:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= GOAL else (middle, high)
    return high
