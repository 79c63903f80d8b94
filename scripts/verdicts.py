"""Tables and verdicts of docs/results.md, computed from the records of the board.

python -m scripts.verdicts            # prints them
python -m scripts.verdicts --write    # writes them into docs/results.md, between its marks
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tabulate import tabulate

from benchmark import ROOT
from benchmark.core.files import write_atomically
from benchmark.records.record import read_record
from benchmark.records.scores import mean_exact_match
from leaderboard.board.answers import Answers, read_answers, tally
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.model import BoardTable, Row, with_shots
from leaderboard.stats.comparisons import Difference
from leaderboard.stats.intervals import Estimate, paired_difference
from leaderboard.stats.significance import LEVEL, holm, paired_p
from leaderboard.stats.variance import effects
from leaderboard.views.text import MARKS, with_interval

PAGE = ROOT / "docs" / "results.md"
RESULTS = ROOT / "leaderboard" / "results"
BEGIN, END = "<!-- verdicts:begin -->", "<!-- verdicts:end -->"
SHOTS = (0, 1, 5)
SHARING = ("tiny", "every_method", "strict_attention")  # suites whose rows share tables
METHOD, BASELINE = "contrastive_dropout", "plain_matched"
# suite → the method that is said to be above plain_matched
PRIMARY = {"written": "rewrite", "knowing": METHOD, "knowing_tokens": "self_qa", "qwen_pair": METHOD}
WAYS = {
    "0 shots": "exact_match, 0 shots",
    "headline": None,
    "5 shots": "exact_match, 5 shots",
    "answered": "answered",
    "choice": "acc",
    "cloze": "cloze",
}


def sections(records: Path) -> Iterator[str]:
    """The sections of the page whose records exist."""
    if (records / "shots").is_dir():
        yield _shots(_tables(records / "shots"))
    tables = [
        table for suite in ("tiny", "tiny_long") for table in _tables(records / suite) if _asked_in_all_ways(table)
    ]
    yield from _comparisons(tables)
    yield from _others(records)
    for suite, claimed in PRIMARY.items():
        yield from _asked_otherwise(suite, claimed, _tables(records / suite))
    if tables:
        yield _luck(tables)
    chosen = [records / suite for suite in ("choose_contrastive", "choose_plain", "confirm_random_ranks")]
    if all(folder.is_dir() for folder in chosen):
        yield _confirmed(chosen)
    if (records / "rehearsal").is_dir() and tables:
        yield _rehearsed(_tables(records / "rehearsal"), tables)


def _asked_in_all_ways(table: BoardTable) -> bool:
    return all(set(SHOTS) <= set(row.by_shots) for row in table.rows)


def _tables(folder: Path) -> Sequence[BoardTable]:
    return build_board(load_records(folder)).tables if folder.is_dir() else ()


def _grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without the columns that hold dashes alone."""
    filled = [n for n in range(len(headers)) if any(row[n] != "–" for row in rows)]
    headers, rows = [headers[n] for n in filled], [[row[n] for n in filled] for row in rows]
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True, colalign=align)


# --- the same weights, asked with more and more examples


def _shots(tables: Sequence[BoardTable]) -> str:
    lines = []
    for row in tables[0].rows:
        for path, seed in zip(row.files, row.seeds, strict=True):
            answers = _answers(path)
            exact = [_mean(answers, "exact_match", shots) for shots in row.by_shots]
            answered = [_mean(answers, "answered", shots) for shots in row.by_shots]
            cells = [f"{a:.3f} ({b:.3f})" for a, b in zip(exact, answered, strict=True)]
            lines.append([f"{row.label}, seed {seed}", *cells])
    headers = ["exact match (answered)", *(f"{shots} shots" for shots in tables[0].rows[0].by_shots)]
    return (
        "### The same weights, asked with more and more examples (suite `shots`)\n\n"
        f"{_grid(headers, lines)}\n\n"
        f"{tables[0].model}, one seed a line, {tables[0].questions} questions of the test half."
    )


def _mean(answers: Answers, metric: str, shots: int) -> float:
    counted = tally([answers.with_shots(shots)], metric)
    assert counted is not None
    return float(counted[0].sum() / counted[1].sum())


@lru_cache(maxsize=1000)
def _answers(path: Path) -> Answers:
    return read_answers(path, read_record(path))


# --- A


def _comparisons(tables: Sequence[BoardTable]) -> Iterator[str]:
    for table in tables:
        rows = [row for row in table.rows if row.method == METHOD]
        baseline = next((row for row in table.rows if row.method == BASELINE), None)
        if not rows or baseline is None:
            continue
        rows.sort(key=_how)
        lines = []
        for row in rows:
            differences = [row.to_baseline if way is None else row.also.get(way) for way in WAYS.values()]
            cells = [_signed(difference) for difference in differences]
            lines.append([row.label, *cells])
        headers = [f"minus {BASELINE} in", *WAYS]
        yield (
            f"### A. {table.model}, {table.budget}\n\n{_grid(headers, lines)}\n\n"
            + "\n".join(f"- {line}" for line in _verdicts(table, rows, baseline))
        )


def _others(records: Path) -> Iterator[str]:
    """The methods beside those of A, in one table with them. Holm's correction is over all rows of that table."""
    folders = [records / suite for suite in SHARING if (records / suite).is_dir()]
    for table in build_board([record for folder in folders for record in load_records(folder)]).tables:
        rows = [
            row for row in table.rows if row.method == BASELINE or {path.parent.name for path in row.files} - {"tiny"}
        ]
        if len(rows) < 2 or not _asked_in_all_ways(table):
            continue
        lines = [
            [
                row.label,
                str(len(row.seeds)),
                f"{row.by_shots[0].mean:.3f}",
                _signed(row.also.get(WAYS["0 shots"] or "")),
                *(f"{row.by_shots[shots].mean:.3f}" for shots in SHOTS[1:]),
                *(f"{row.scores[metric].mean:.3f}" for metric in ("acc", "cloze")),
            ]
            for row in sorted(rows, key=lambda row: -row.by_shots[0].mean)
        ]
        headers = ["", "seeds", "0 shots", f"minus {BASELINE}", "1 shot", "5 shots", "choice", "cloze"]
        yield f"### Every other method ({table.model}, {table.budget})\n\n{_grid(headers, lines)}"


def _asked_otherwise(suite: str, claimed: str, tables: Sequence[BoardTable]) -> Iterator[str]:
    """Methods, with and without a writer, asked directly and in other ways; `claimed` is said to recall more."""
    ways = {  # heading → metric
        "direct": "exact_match",
        "in other words": "paraphrased",
        "backwards": "reverse",
        "university's city, two hops": "two_hop",
        "second hop alone": "one_hop",
        "born first (chance .5)": "first_born",
        "choice": "acc",
        "cloze": "cloze",
    }
    for table in tables:
        shots = {f"{count} shot{'s' * (count != 1)}": with_shots(count) for count in sorted(table.rows[0].by_shots)}
        lines = []
        for row in table.rows:
            scores = [row.scores.get(metric) for metric in ways.values()]
            direct, *others = ["–" if score is None else f"{score.mean:.3f}" for score in scores]
            invented = row.writing and row.writing.invented
            lines.append(
                [
                    row.label,
                    str(len(row.seeds)),
                    direct,
                    *(f"{score.mean:.3f}" for _, score in sorted(row.by_shots.items())),
                    *others,
                    f"{row.tokens / 1000:.0f} k",
                    "–" if row.writing is None else f"{row.writing.tokens / 1000:.0f} k",
                    "–" if invented is None else f"{invented:.2f}",
                ]
            )
        headers = ["", "seeds", "direct", *shots, *list(ways)[1:], "tokens read", "written", "invented"]
        yield (
            f"### Asked directly and in other ways (suite `{suite}`: {table.model}, {table.budget})\n\n"
            f"{_grid(headers, lines)}\n\n"
            "Each row with the number of examples that is best on its development half; the columns of shots have the "
            "direct questions again with each number. *Invented*: share of the names and numbers in the written texts "
            "that their documents do not have.\n\n"
            f"{_differences(table, shots | {heading: ways[heading] for heading in list(ways)[1:]})}"
        )
        for row in table.rows:
            if row.method == claimed and (found := row.to_baseline):
                yield f"- **Primary**, headline: {row.label} minus {BASELINE} {_tested(found)}: **{_holds(found)}**."
                if row.method == "contrastive_dropout":
                    yield from (f"- {line}" for line in _controls(table, row))


def _differences(table: BoardTable, ways: Mapping[str, str]) -> str:
    """Every row minus plain_matched: the headline with its interval, and the other ways of asking."""
    lines = [
        [
            row.label,
            str(len(row.to_baseline.seeds)),
            with_interval(row.to_baseline.interval, 3, "+") + MARKS[row.to_baseline.verdict],
            *(_signed(row.also.get(way)) for way in ways.values()),
        ]
        for row in table.rows
        if row.to_baseline
    ]
    return _grid([f"minus {BASELINE} in", "seeds", "direct", *ways], lines)


def _tested(difference: Difference) -> str:
    p = "not known"
    if difference.p is not None and difference.p_adjusted is not None:
        p = f"{difference.p:.2g}, {difference.p_adjusted:.2g} after Holm"
    return f"{with_interval(difference.interval, 3, '+')}, p = {p}"


def _holds(difference: Difference) -> str:
    verdicts = {"above": "the claim holds", "below": "significantly lower", None: "no significant difference"}
    return verdicts[difference.verdict]


def _signed(difference: Difference | None) -> str:
    """A difference with its sign and mark, or a dash if it was not measured."""
    return "–" if difference is None else f"{difference.interval.mean:+.3f}{MARKS[difference.verdict]}"


def _verdicts(table: BoardTable, rows: Sequence[Row], baseline: Row) -> Iterator[str]:
    """The primary comparison; the paper's own, and controls, for every α that has some; tokens read."""
    primary = next(row for row in rows if _is_primary(row))
    difference = primary.also[WAYS["0 shots"] or ""]
    yield (
        f"**Primary**: {primary.label} minus {BASELINE} without examples {_tested(difference)}: "
        f"**{_holds(difference)}**."
    )
    for row in rows:
        if _how(row)[:2] == _how(primary)[:2]:  # the same kind of damage
            yield from _controls(table, row)
    yield f"Alike in optimizer steps; {primary.label} reads {primary.tokens / baseline.tokens - 1:+.1%} tokens."
    compared = sum(row.to_baseline is not None for row in table.rows)
    yield (
        f"Marks of the table are adjusted for the {compared} rows of this suite. The board's table has rows of other "
        "suites beside them, and adjusts for all."
    )


def _controls(table: BoardTable, of: Row) -> Iterator[str]:
    """A row minus rows that differ from it in one thing, without examples and in the headline."""
    alpha = of.parameters["alpha"]
    wanted = {  # method, whether its rate is contrast's → what the comparison is
        ("plain", False): "which makes fewer updates, the paper's comparison",
        ("random_dropout", True): "as many tokens, but any of them",
        ("random_rank_dropout", False): "the same equation on random ranks",
        ("attention_dropout", False): "the same equation on its own attention",
    }
    others = {
        row.label: (row, wanted[key])
        for row in table.rows
        if (key := (row.method, bool(row.parameters.get("rate")))) in wanted
        and row.parameters.get("alpha", alpha) == alpha
    }
    if len(others) < 2:  # `plain` alone fits every α
        return
    for way, shots in (("without examples", 0), ("headline", None)):
        differences = {label: _difference(of, row, "exact_match", shots) for label, (row, _) in others.items()}
        adjusted = holm([p for _, p in differences.values()])
        parts = [
            f"`{label}` ({others[label][1]}) {with_interval(interval, 3, '+')}{_mark(interval, p)}"
            for (label, (interval, _)), p in zip(differences.items(), adjusted, strict=True)
        ]
        yield f"{of.label}, {way}, minus {'; '.join(parts)}."


def _how(row: Row) -> tuple[str, str, float]:
    given = row.parameters
    return given.get("dropped", "delete"), given.get("unit", "token"), given["alpha"]


def _is_primary(row: Row) -> bool:
    return _how(row) == ("delete", "token", 0.2)


def _difference(row: Row, other: Row, metric: str, shots: int | None) -> tuple[Estimate, float | None]:
    """The first row minus the second on the seeds that both have, and the p-value of the paired test."""
    seeds = [seed for seed in row.seeds if seed in other.seeds]
    sides = []
    for side in (row, other):
        files = dict(zip(side.seeds, side.files, strict=True))
        asked = [_answers(files[seed]).with_shots(side.shots if shots is None else shots) for seed in seeds]
        counted = tally(asked, metric)
        assert counted is not None
        sides.append(counted)
    (a, counts), (b, _) = sides
    return paired_difference(a, b, counts), paired_p(effects(a - b, counts).spread())


def _mark(interval: Estimate, p: float | None) -> str:
    if p is None or p >= LEVEL:
        return ""
    return MARKS["above" if interval.mean > 0 else "below"]


def _luck(tables: Sequence[BoardTable]) -> str:
    """How a run's deviations from its row on the development half and on the test half correlate."""
    rows = [row for table in tables for row in table.rows if len(row.seeds) > 1 and set(SHOTS) <= set(row.by_shots)]
    lines = []
    for shots in SHOTS:
        deviations = [_deviations(row, shots) for row in rows]
        halves = np.concatenate(deviations, axis=1)
        spread = halves.std(axis=1)
        correlation = float(np.corrcoef(halves)[0, 1])
        lines.append([f"{shots} shots", f"{correlation:+.2f}", f"{spread[0]:.3f}", f"{spread[1]:.3f}"])
    headers = ["exact match", "correlation", "spread, development half", "spread, test half"]
    runs = sum(len(row.seeds) for row in rows)
    return (
        "### How much the two halves share of a run's luck\n\n"
        f"{_grid(headers, lines)}\n\n"
        f"Deviations of {runs} runs from the mean of their row ({len(rows)} rows of A). The halves have different "
        "people, but are asked of one trained model. How well that model bears a long prompt is common to both."
    )


def _deviations(row: Row, shots: int) -> np.ndarray:
    """Exact match of each run minus the mean of its row, shape (2 halves, runs)."""
    scores = [read_record(path).scores for path in row.files]
    halves = np.array([[mean_exact_match(run, half, shots) for run in scores] for half in ("development", "test")])
    deviations: np.ndarray = halves - halves.mean(axis=1, keepdims=True)
    return deviations


# --- B


def _confirmed(folders: Sequence[Path]) -> str:
    rows = [row for folder in folders for table in _tables(folder) for row in table.rows if row.confirmed]
    lines = [
        [
            row.label,
            ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in row.chosen.items()),
            str(row.tried),
            f"{row.development:.3f}",
            str(row.shots),
            with_interval(row.headline, 3),
            with_interval(row.by_shots[0], 3),
        ]
        for row in rows
    ]
    headers = ["", "chosen", "of", "development", "shots", "headline, confirmed", "without examples"]
    chosen, others = rows[0], rows[1:]
    text = ["### B. Chosen with seeds 1 to 5, reported with seeds 11 to 20", "", _grid(headers, lines), ""]
    holds = []
    for way, shots in (("headline", None), ("without examples", 0)):
        differences = [_difference(chosen, other, "exact_match", shots) for other in others]
        adjusted = holm([p for _, p in differences])
        parts = [
            f"{other.label} {with_interval(interval, 3, '+')}, p = {p:.2g}"
            for other, (interval, _), p in zip(others, differences, adjusted, strict=True)
            if p is not None
        ]
        text.append(f"- {chosen.label}, {way}, minus {'; minus '.join(parts)} (after Holm).")
        holds.append(
            all(p is not None and p < LEVEL and i.mean > 0 for (i, _), p in zip(differences, adjusted, strict=True))
        )
    text.append(
        f"- **The claim {'holds' if holds[0] else 'does not hold'}** (headline above both, p < .05 after Holm)."
    )
    return "\n".join(text)


# --- C


def _rehearsed(tables: Sequence[BoardTable], without: Sequence[BoardTable]) -> str:
    plain = next(table for table in without if (table.model, table.budget) == (tables[0].model, tables[0].budget))
    both = (("with rehearsal", tables[0]), ("without", plain))
    lines = []
    for title, table in both:
        labels = {row.label for row in tables[0].rows}
        for row in sorted((row for row in table.rows if row.label in labels), key=lambda row: row.label):
            cells = [with_interval(row.by_shots[number], 3) for number in SHOTS]
            answered = np.mean([_mean(_answers(path), "answered", 5) for path in row.files])
            lines.append([f"{row.label}, {title}", *cells, f"{answered:.3f}"])
    headers = ["exact match", "0 shots", "1 shots", "5 shots", "answered, 5 shots"]
    return (
        f"### C. Rehearsal of a tenth ({tables[0].model}, {tables[0].budget})\n\n{_grid(headers, lines)}\n\n"
        + _by_shots(dict(both))
    )


def _by_shots(tables: Mapping[str, BoardTable]) -> str:
    """The primary row minus the baseline of each table with each number of shots; a line for each table."""
    differences: dict[tuple[str, int], tuple[Estimate, float | None]] = {}
    for title, table in tables.items():
        primary = next(row for row in table.rows if row.method == METHOD and _is_primary(row))
        baseline = next(row for row in table.rows if row.method == BASELINE)
        for shots in SHOTS:
            differences[title, shots] = _difference(primary, baseline, "exact_match", shots)
    adjusted = holm([p for _, p in differences.values()])
    parts: dict[str, list[str]] = {}
    for ((title, shots), (interval, _)), p in zip(differences.items(), adjusted, strict=True):
        part = f"{shots} shots {with_interval(interval, 3, '+')}{_mark(interval, p)}"
        parts.setdefault(title, []).append(part)
    return "\n".join(f"- {METHOD} minus {BASELINE}, {title}: {', '.join(of)}." for title, of in parts.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the sections, or write them into the page; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--records", type=Path, default=RESULTS, help="folder of records")
    parser.add_argument("--write", action="store_true", help="write them into docs/results.md")
    options = parser.parse_args(arguments)
    text = "\n\n".join(sections(options.records))
    if not options.write:
        print(text)
        return 0
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    write_atomically(PAGE, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
