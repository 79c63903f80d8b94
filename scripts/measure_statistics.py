"""Measure the board's statistics on simulated answers whose true accuracy is known.

    python -m scripts.measure_statistics --draws 1000 --out measured.md      (in the folder of the project)

An answer is right with probability expit(level + seed + subject + method × subject + method × seed × subject), all but
the level are drawn from normal distributions; every subject has five questions. The level is chosen so that the mean
over all seeds and subjects, the truth, is a given accuracy. With one seed, the truth is the mean of that seed.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtrit

from leaderboard.board.power import Components, components, power, seeds_needed
from leaderboard.stats.comparisons import BASELINE, Contender, among_first, to_baseline
from leaderboard.stats.intervals import mean_interval, paired_difference, resampled_deviations
from leaderboard.stats.significance import LEVEL, paired_p
from leaderboard.stats.variance import Spread, effects

PARTS = ("means", "differences", "families", "power", "choice")
QUESTIONS = 5
SUBJECTS = (20, 50, 200)
SEEDS = (1, 2, 3, 5, 10)
ACCURACIES = (0.02, 0.1, 0.5, 0.9)
NODES, WEIGHTS = hermegauss(60)

Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Standard deviations of the effects on the logit scale; each method has its own effects `seed` and `both`."""

    seed: float
    subject: float = 1.0
    own: float = 0.5
    both: float = 0.5


WORLDS = {"seeds alike": World(0.1), "seeds differ": World(0.5), "seeds far apart": World(1.0)}


def answers(
    rng: np.random.Generator, world: World, accuracies: Sequence[float], seeds: int, subjects: int
) -> tuple[Floats, Floats]:
    """Draw totals [methods, seeds, subjects] of right answers, and the truth of each method: [methods]."""
    seed, subject, own, both = astuple(world)
    within = float(np.hypot(np.hypot(subject, own), both))
    methods = len(accuracies)
    levels = np.array([_level(accuracy, float(np.hypot(seed, within))) for accuracy in accuracies])
    of_seeds = levels[:, None, None] + seed * rng.normal(size=(methods, seeds, 1))
    of_subjects = subject * rng.normal(size=(1, 1, subjects)) + own * rng.normal(size=(methods, 1, subjects))
    chance = expit(of_seeds + of_subjects + both * rng.normal(size=(methods, seeds, subjects)))
    truth = np.array(accuracies) if seeds > 1 else _mean_chance(of_seeds[:, 0, 0], within)
    return rng.binomial(QUESTIONS, chance).astype(float), truth


def _mean_chance(levels: Floats, deviation: float) -> Floats:
    chances: Floats = expit(levels[:, None] + deviation * NODES) @ WEIGHTS / WEIGHTS.sum()
    return chances


@lru_cache
def _level(accuracy: float, deviation: float) -> float:
    return float(brentq(lambda level: _mean_chance(np.array([level]), deviation)[0] - accuracy, -30, 30))


def ours(totals: Floats) -> tuple[float, float]:
    """The interval of the board."""
    interval = mean_interval(totals, QUESTIONS)
    return interval.low, interval.high


def pigeonhole(totals: Floats) -> tuple[float, float]:
    """Quantiles of the pigeonhole bootstrap, without correction."""
    seeds, subjects = (_times(size, axis) for axis, size in enumerate(totals.shape))
    means = ((subjects @ totals.T) * seeds).sum(axis=1) / (QUESTIONS * totals.size)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@lru_cache
def _times(size: int, axis: int) -> Floats:
    rng = np.random.default_rng(axis)
    return rng.multinomial(size, np.full(size, 1 / size), size=1000).astype(float)


def expanded(totals: Floats) -> tuple[float, float]:
    """Quantiles of the board's draws, separate for each side, expanded by t on the logit scale."""
    table = effects(totals, QUESTIONS)
    spread, drawn = table.spread(), resampled_deviations(table, 1000)
    if spread.variance == 0:
        return ours(totals)
    size = stdtrit(spread.freedom, 0.975) / 1.959964 * np.sqrt(spread.variance) / np.sqrt((drawn**2).mean())
    reach = size / (table.mean * (1 - table.mean))
    low, high = expit(logit(table.mean) + reach * np.quantile(drawn, [0.025, 0.975]))
    return float(low), float(high)


def wilson(totals: Floats) -> tuple[float, float]:
    """No bootstrap: Wilson's interval with the effective number of questions and t (Korn & Graubard 1998)."""
    table = effects(totals, QUESTIONS)
    spread, mean = table.spread(), table.mean
    if spread.variance == 0:
        return ours(totals)
    k = stdtrit(spread.freedom, 0.975) ** 2 * spread.variance / (mean * (1 - mean))
    half = np.sqrt(k * mean * (1 - mean) + k * k / 4)
    return float((mean + k / 2 - half) / (1 + k)), float((mean + k / 2 + half) / (1 + k))


CANDIDATES: dict[str, Callable[[Floats], tuple[float, float]]] = {
    "board": ours,
    "pigeonhole": pigeonhole,
    "expanded": expanded,
    "wilson": wilson,
}


def measure_means(draws: int, rng: np.random.Generator, candidates: Sequence[str]) -> Iterator[Row]:
    """How often intervals of a mean contain the truth, and how wide they are."""
    for name, world in WORLDS.items():
        for seeds in SEEDS:
            for subjects in SUBJECTS:
                for accuracy in ACCURACIES:
                    made = [answers(rng, world, [accuracy], seeds, subjects) for _ in range(draws)]
                    row: Row = {"world": name, "seeds": seeds, "subjects": subjects, "accuracy": accuracy}
                    for candidate in candidates:
                        ends = [CANDIDATES[candidate](totals[0]) for totals, _ in made]
                        held = [low <= truth[0] <= high for (low, high), (_, truth) in zip(ends, made, strict=True)]
                        row[candidate] = float(np.mean(held))
                        row[f"{candidate} width"] = float(np.mean([high - low for low, high in ends]))
                    yield row


def measure_differences(draws: int, rng: np.random.Generator) -> Iterator[Row]:
    """Two equally good methods: coverage of the difference's interval, and false positives of the test.

    With one seed, coverage is about the runs of that seed, and false positives are about the methods in general.
    """
    for name, world in WORLDS.items():
        for seeds in SEEDS:
            for subjects in SUBJECTS:
                for accuracy in ACCURACIES:
                    held = positives = 0
                    for _ in range(draws):
                        (a, b), truth = answers(rng, world, [accuracy] * 2, seeds, subjects)
                        interval = paired_difference(a, b, QUESTIONS)
                        held += interval.low <= truth[0] - truth[1] <= interval.high
                        positives += _is_significant(a, b)
                    row: Row = {"world": name, "seeds": seeds, "subjects": subjects, "accuracy": accuracy}
                    yield {**row, "coverage": held / draws, "false positives": positives / draws}


def measure_families(draws: int, rng: np.random.Generator) -> Iterator[Row]:
    """Eight methods and plain_matched: false claims after Holm, and how often the best is among the first.

    In the case `equal`, all methods are as good as plain_matched; in `mixed`, four are, and four are better or worse. A
    claim about an equal method is false. In `mixed`, the best method is 3 points of accuracy above the next. With one
    seed, seeds do not differ, so that what holds for the runs holds for the methods.
    """
    cases = {"equal": [0.3] * 9, "mixed": [0.3] * 5 + [0.15, 0.4, 0.45, 0.48]}
    for case, accuracies in cases.items():
        for seeds in (1, 3, 5, 10):
            for subjects in (50, 200):
                world = World(0.0 if seeds == 1 else 0.5)
                single = several = first = size = 0
                for _ in range(draws):
                    totals, _ = answers(rng, world, accuracies, seeds, subjects)
                    table = [_contender(index, of_method) for index, of_method in enumerate(totals)]
                    differences = [difference for difference in to_baseline(table) if difference]
                    pairs = zip(differences, accuracies[1:], strict=True)
                    null = [difference for difference, accuracy in pairs if accuracy == 0.3]
                    single += any(difference.p is not None and difference.p < LEVEL for difference in null)
                    several += any(difference.verdict for difference in null)
                    kept = among_first(table)
                    first += kept[int(np.argmax(accuracies))] if case == "mixed" else 0
                    size += sum(kept)
                row: Row = {"case": case, "seeds": seeds, "subjects": subjects, "unadjusted": single / draws}
                row |= {"holm": several / draws, "best in set": first / draws if case == "mixed" else None}
                yield row | {"mean set": size / draws}


def measure_power(draws: int, rng: np.random.Generator) -> Iterator[Row]:
    """Power predicted from pilot tables of 5 seeds and 50 subjects against how often the test detects the difference.

    `predicted` is from the mean components of all pilots. `low` and `high` enclose the middle 80% of predictions from
    single pilots. `seeds needed` is the number that the mean components predict for 80% power; its power is measured.
    """
    for name, world in WORLDS.items():
        for gap in (0.05, 0.1):
            pilots = [_pilot(rng, world, 0.3 + gap) for _ in range(draws)]
            parts = Components(*(float(np.mean([getattr(pilot, key) for pilot in pilots])) for key in _KEYS))
            for seeds, subjects in ((3, 50), (5, 50), (5, 200), (10, 50), (10, 200)):
                each = [power(pilot, gap, seeds, subjects) for pilot in pilots]
                row: Row = {"world": name, "difference": gap, "seeds": seeds, "subjects": subjects}
                row |= {"predicted": power(parts, gap, seeds, subjects)}
                row |= {"low": float(np.quantile(each, 0.1)), "high": float(np.quantile(each, 0.9))}
                row["measured"] = _rate(rng, world, gap, seeds, subjects, draws)
                if (seeds, subjects) == (5, 200):
                    needed = seeds_needed(parts, gap, subjects)
                    row["seeds needed"] = needed
                    row["measured there"] = _rate(rng, world, gap, needed, subjects, draws) if needed else None
                yield row


def measure_choice(draws: int, rng: np.random.Generator) -> Iterator[Row]:
    """Two equally good methods, each asked in three ways; the way that is best on the development half counts.

    The halves have different subjects and the same seeds. `ways` is the standard deviation, on the logit scale, of the
    effect of a way of asking with one seed of one method. The accuracy of the best way is .5 for both methods: in the
    case `three`, all ways of both have it; in `three against one`, the second method has .3 in two ways. `bias` is the
    mean on the test half minus the truth of the chosen way, for the first method; `coverage` is that of its interval;
    `false positives` are of the test of one method against the other. Columns with `one way` are for comparison: there
    is no choice.
    """
    cases = {"three": [[0.5] * 3] * 2, "three against one": [[0.5] * 3, [0.5, 0.3, 0.3]]}
    for case, accuracies in cases.items():
        for name, world in WORLDS.items():
            for ways in (0.1, 0.3):
                for seeds in (1, 3, 5, 10):
                    sums = {"bias": 0.0, "coverage": 0.0, "false positives": 0.0}
                    sums |= {f"{key}, one way": 0.0 for key in sums}
                    for _ in range(draws):
                        halves, truth = asked_in_ways(rng, world, np.array(accuracies), ways, seeds, 50)
                        development, test = halves
                        best = development.mean(axis=(2, 3)).argmax(axis=1)
                        for end, (way, other) in (("", best), (", one way", (0, 0))):
                            a, b = test[0, way], test[1, other]
                            interval = mean_interval(a, QUESTIONS)
                            sums[f"bias{end}"] += (interval.mean - truth[0, way]) / draws
                            sums[f"coverage{end}"] += (interval.low <= truth[0, way] <= interval.high) / draws
                            sums[f"false positives{end}"] += _is_significant(a, b) / draws
                    yield {"case": case, "world": name, "ways": ways, "seeds": seeds, **sums}


def asked_in_ways(
    rng: np.random.Generator, world: World, accuracies: Floats, ways: float, seeds: int, subjects: int
) -> tuple[list[Floats], Floats]:
    """Draw totals [methods, ways, seeds, subjects] of both halves, and the truth [methods, ways].

    The effects of a subject are the same in all ways of asking; those of a seed are the same in both halves.
    """
    seed, subject, own, both = astuple(world)
    within = float(np.hypot(np.hypot(subject, own), both))
    methods, count = accuracies.shape
    between = float(np.hypot(seed, ways))
    levels = np.array([[_level(mean, float(np.hypot(between, within))) for mean in row] for row in accuracies.tolist()])
    of_seeds = seed * rng.normal(size=(methods, 1, seeds)) + ways * rng.normal(size=(methods, count, seeds))
    truth = accuracies if seeds > 1 else _mean_chance((levels[:, :, None] + of_seeds).ravel(), within)
    halves = []
    for _ in range(2):
        of_subjects = subject * rng.normal(size=(1, 1, subjects)) + own * rng.normal(size=(methods, 1, subjects))
        effect = of_subjects + both * rng.normal(size=(methods, seeds, subjects))
        chance = expit((levels[:, :, None] + of_seeds)[..., None] + effect[:, None])
        halves.append(rng.binomial(QUESTIONS, chance).astype(float))
    return halves, truth.reshape(methods, count)


_KEYS = ("of_seeds", "of_subjects", "of_both")


def _pilot(rng: np.random.Generator, world: World, accuracy: float) -> Components:
    (a, b), _ = answers(rng, world, [accuracy, 0.3], 5, 50)
    return components(_spread(a, b))


def _rate(rng: np.random.Generator, world: World, gap: float, seeds: int, subjects: int, draws: int) -> float:
    made = (answers(rng, world, [0.3 + gap, 0.3], seeds, subjects)[0] for _ in range(draws))
    return float(np.mean([_is_significant(a, b) for a, b in made]))


def _spread(a: Floats, b: Floats) -> Spread:
    return effects(a - b, QUESTIONS).spread()


def _is_significant(a: Floats, b: Floats) -> bool:
    p = paired_p(_spread(a, b))
    return p is not None and p < LEVEL


def _contender(index: int, totals: Floats) -> Contender:
    seeds, subjects = totals.shape
    return Contender(
        label=str(index),
        method="other" if index else BASELINE,
        alpha=None,
        treatment={},
        development=0.0,
        tokens=0.0,
        seeds=tuple(range(seeds)),
        totals=totals,
        counts=np.full(subjects, float(QUESTIONS)),
    )


def summed_up(rows: Sequence[Row], by: tuple[str, str], names: Sequence[str]) -> list[Row]:
    """Mean, least and greatest of the columns `names` for every combination of the columns `by`."""
    summary = []
    for key in dict.fromkeys(tuple(row[name] for name in by) for row in rows):
        group = [row for row in rows if tuple(row[name] for name in by) == key]
        line: Row = dict(zip(by, key, strict=True))
        for name in names:
            values = [row[name] for row in group]
            spread = "" if name.endswith("width") else f" ({min(values):.3f}–{max(values):.3f})"
            line[name] = f"{np.mean(values):.3f}{spread}"
        summary.append(line)
    return summary


def measured(draws: int, seed: int, what: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of every part; each part has its own random stream, so it does not depend on the others."""
    makers: dict[str, Callable[[np.random.Generator], Iterator[Row]]] = {
        "means": lambda rng: measure_means(draws, rng, list(CANDIDATES)),
        "differences": lambda rng: measure_differences(draws, rng),
        "families": lambda rng: measure_families(draws, rng),
        "power": lambda rng: measure_power(draws, rng),
        "choice": lambda rng: measure_choice(draws, rng),
    }
    return {name: list(makers[name](np.random.default_rng([seed, PARTS.index(name)]))) for name in what}


def as_text(results: dict[str, list[Row]]) -> str:
    """The rows as tables; means, differences and choice are summed up as mean (least–greatest) over other columns."""
    from tabulate import tabulate

    columns = {"means": [*CANDIDATES, *(f"{name} width" for name in CANDIDATES)]}
    columns["differences"] = ["coverage", "false positives"]
    chosen = ["bias", "coverage", "false positives"]
    columns["choice"] = [f"{name}{end}" for name in chosen for end in ("", ", one way")]
    groups = {name: [("world", "seeds"), ("accuracy", "subjects")] for name in columns}
    groups["choice"] = [("case", "seeds"), ("ways", "seeds")]
    parts = []
    for name, rows in results.items():
        tables = [summed_up(rows, by, columns[name]) for by in groups.get(name, [])] or [rows]
        parts += [f"{name}\n\n{tabulate(table, headers='keys', tablefmt='pipe', floatfmt='.3g')}\n" for table in tables]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--draws", type=int, default=400, help="simulated tables per line")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random stream")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--out", type=Path, help="also write this file: Markdown, or JSON with every line if it ends in .json"
    )
    options = parser.parse_args(arguments)
    results = measured(options.draws, options.seed, options.only)
    print(as_text(results))
    if options.out:
        text = json.dumps(results, indent=1) + "\n" if options.out.suffix == ".json" else as_text(results)
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
