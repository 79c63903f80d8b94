"""Power: which differences a paired comparison can detect, and how many seeds or subjects a given difference needs.

The test is that of `significance.py`. Its power follows from the noncentral t distribution and from the variances of a
difference between seeds, between subjects and of their interaction, estimated from the answers (Westfall, Kenny and
Judd 2014, "Statistical power and optimal design in experiments in which samples of participants respond to samples of
stimuli", Journal of Experimental Psychology: General 143(5)).
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

GOAL = 0.8  # power
MOST = 100_000  # seeds or subjects; greater numbers are reported as unreachable


@dataclass(frozen=True)
class Components:
    """The variance components of a difference.

    Attributes:
        of_seeds: between seeds; None if it comes from one seed, which does not show how seeds differ.
        of_subjects: between subjects; with one seed it includes the interaction.
        of_both: the interaction of seeds and subjects.
    """

    of_seeds: float | None
    of_subjects: float
    of_both: float


def components(spread: Spread) -> Components:
    """Estimate the components by equating the mean squares with their expectations; none is below 0."""
    if spread.seeds == 1:
        return Components(None, spread.of_subjects, 0.0)
    return Components(
        of_seeds=max(0.0, spread.of_seeds - spread.of_both) / spread.subjects,
        of_subjects=max(0.0, spread.of_subjects - spread.of_both) / spread.seeds,
        of_both=spread.of_both,
    )


def power(parts: Components, difference: float, seeds: int, subjects: int, alpha: float = LEVEL) -> float:
    """The probability that the paired test detects a true difference with so many seeds and subjects.

    Of the two estimates of the error (`Spread.readings`), the one with less power counts; that is slightly more than
    the power of requiring both. With one seed, it is the power for the difference of that seed.

    Raises:
        ValueError: several seeds are asked for but `parts` comes from one, or there is no spread at all.
    """
    if parts.of_seeds is None and seeds > 1:
        raise ValueError("one seed does not show how seeds differ, so the power of several cannot be computed")
    expected = Spread(
        mean=difference,
        seeds=seeds,
        subjects=subjects,
        of_seeds=parts.of_both + subjects * (parts.of_seeds or 0.0) if seeds > 1 else 0.0,
        of_subjects=parts.of_both + seeds * parts.of_subjects if subjects > 1 else 0.0,
        of_both=parts.of_both if min(seeds, subjects) > 1 else 0.0,
    )
    if expected.variance == 0:
        raise ValueError("power cannot be computed: all differences are equal, so there is no spread")
    if least_p(seeds, subjects) >= alpha:
        return 0.0
    return min(
        _chance(abs(difference) / math.sqrt(variance), freedom, alpha) for variance, freedom in expected.readings
    )


def smallest_difference(parts: Components, seeds: int, subjects: int, alpha: float = LEVEL) -> float | None:
    """The least difference that is detected with 80% power; None if not even a difference of 1 is."""
    low, high = 0.0, 1.0
    if power(parts, high, seeds, subjects, alpha) < GOAL:
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(parts, middle, seeds, subjects, alpha) >= GOAL else (middle, high)
    return high


def seeds_needed(parts: Components, difference: float, subjects: int, alpha: float = LEVEL) -> int | None:
    """How many seeds (at least two) detect a difference with 80% power on so many subjects; None if no number does.

    None also if `parts` comes from one seed, which does not show how seeds differ.
    """
    if parts.of_seeds is None:
        return None
    return _least(lambda seeds: power(parts, difference, seeds, subjects, alpha))


def subjects_needed(parts: Components, difference: float, seeds: int, alpha: float = LEVEL) -> int | None:
    """How many subjects detect a difference with 80% power under so many seeds; None if no number does."""
    return _least(lambda subjects: power(parts, difference, seeds, subjects, alpha))


def power_lines(board: Board, difference: float, alpha: float = LEVEL) -> list[dict[str, Any]]:
    """The power of every row of a board that is compared with plain_matched.

    Returns:
        A mapping per row. `told` is the least difference that the row detects now, None if not even a difference of 1
        is detected. `seeds_needed` and `subjects_needed` are the numbers that would detect `difference`, None if no
        number of them alone suffices. All three are None without spread.
    """
    lines = []
    for table in board.tables:
        for row in table.rows:
            if row.to_baseline is None or (spread := row.to_baseline.spread) is None:
                continue
            line: dict[str, Any] = {"table": table.title, "label": row.label, "difference": spread.mean}
            line |= {"seeds": spread.seeds, "subjects": spread.subjects, "spread": spread.variance > 0}
            parts = components(spread)
            if spread.variance > 0:
                line["told"] = smallest_difference(parts, spread.seeds, spread.subjects, alpha)
                line["seeds_needed"] = seeds_needed(parts, difference, spread.subjects, alpha)
                line["subjects_needed"] = subjects_needed(parts, difference, spread.seeds, alpha)
            else:
                line |= dict.fromkeys(("told", "seeds_needed", "subjects_needed"))
            lines.append(line)
    return lines


def power_tables(board: Board, difference: float, alpha: float = LEVEL) -> str:
    """The lines of `power_lines` as text, a table for each table of the board."""
    lines, parts = power_lines(board, difference, alpha), []
    wanted = short_fact(difference)
    headers = ["method", "Δ now", "seeds", "subjects", "detects now", f"seeds for {wanted}", f"subjects for {wanted}"]
    for table in board.tables:
        grid = [_cells(line) for line in lines if line["table"] == table.title]
        text = tabulate(grid, headers, disable_numparse=True, colalign=["left", *["right"] * 6])
        parts.append(f"{clean(table.title)}\n{text if grid else f'no row is compared with {BASELINE}'}\n")
    parts.append(
        f"Detects: a paired test at level {alpha:g} finds the difference in {GOAL:.0%} of cases. Seeds needed are for "
        "the row's subjects, subjects needed for its seeds.\nHolm's correction over n rows tests the strictest "
        f"comparison at level {alpha:g}/n: pass that level as --alpha.\n–: no number suffices, or the row has a single "
        "seed, which does not show how seeds differ."
    )
    return "\n".join(parts)


def _cells(line: dict[str, Any]) -> list[str]:
    now = [clean(line["label"]), short_number(line["difference"], sign="+"), str(line["seeds"]), str(line["subjects"])]
    if not line["spread"]:
        return [*now, "no spread", "–", "–"]
    detects = "> 1" if line["told"] is None else short_number(line["told"])
    counts = ("–" if line[name] is None else f"{line[name]:,}" for name in ("seeds_needed", "subjects_needed"))
    return [*now, detects, *counts]


def _chance(shift: float, freedom: float, alpha: float) -> float:
    """The probability that a noncentral t lies beyond the critical values of Student's t at level `alpha`."""
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    upper, lower = (float(nctdtr(freedom, shift, end)) for end in (critical, -critical))
    return 1 - upper + (0.0 if math.isnan(lower) else lower)  # it underflows if too little lies below


def _least(chance: Callable[[int], float]) -> int | None:
    """The least number, from 2, whose power reaches the goal; the power must not fall with the number."""
    low, high = 1, 2
    while chance(high) < GOAL:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= GOAL else (middle, high)
    return high
