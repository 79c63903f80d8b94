"""The command `benchmark figures`. Heavy imports stand inside it, as in cli.py."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import one_of
from benchmark.core.errors import UserError

if TYPE_CHECKING:
    from benchmark.records.record import Record
    from benchmark.suite.schema import Suite

KNOWN = ("1", "2", "3")


def figures(
    which: Annotated[
        list[str] | None, typer.Argument(help="of 1, 2 and 3 [default: all that there is data for]")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="whose records, pairs and biographies [default: tiny]")] = None,
    large: Annotated[str | None, typer.Option(help="in place of a suite's pairs: the large model, for 2 and 3")] = None,
    small: Annotated[str | None, typer.Option(help="the small one")] = None,
    prefix: Annotated[str, typer.Option(help="with --large: put before every text; auto: docs/suite_file.md")] = "auto",
    dtype: Annotated[str, typer.Option(help="with --large: float32, bfloat16 or float16")] = "float32",
    records: Annotated[Path, typer.Option(help="folder of records, for 1")] = Path("leaderboard/results"),
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("docs/figures"),
) -> None:
    """Write the paper's Figures 1 to 3 as SVG and PNG, the numbers beside them as CSV.

    1: exact match by where a fact stands. 2: what the tokens most attended to at the word before a fact are. 3: the
    same for the large model minus the small one.
    """
    from benchmark.suite.schema import find_suite, load_suite

    for figure in which or []:
        one_of("figure", figure, KNOWN)
    chosen = which or (["2", "3"] if large else list(KNOWN))
    if large and (suite or "1" in chosen):
        raise UserError("--large: Figure 1 and --suite take their models from a suite; leave them or --large out")
    if small and not large:
        raise UserError("--small: name the large model, too, with --large")
    out.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before the models read
    loaded = None if large else load_suite(find_suite(suite or "tiny"))
    if "1" in chosen and loaded is not None:
        from leaderboard.figures.accuracy import accuracy_lines
        from leaderboard.figures.charts import accuracy_chart
        from leaderboard.figures.write import write_figure

        lines = accuracy_lines(records, loaded.name, lambda record: _distances(record, loaded))
        if not (shown := [line for line in lines if line["shown"]]):
            raise UserError(f"{records}: none of the paper's methods is among the records of suite {loaded.name!r}")
        _say_written(write_figure(out, f"fig1-{loaded.name}", lines, accuracy_chart(shown, loaded.name)))
    if {"2", "3"} & set(chosen):
        _attended(chosen, loaded, large, small, prefix, dtype, out)


def _distances(record: "Record", suite: "Suite") -> dict[str, int] | None:
    """Distances as a run would record them today, where the suite still has the record's very corpus and model."""
    from benchmark.runs.recording import distances

    spec = suite.models.get(record.model.name)
    if spec is None or spec.fingerprint() != record.model.fingerprint:
        return None
    for task in suite.tasks:
        corpus = task.load()
        if (task.name, corpus.data_hash) == (record.task.name, record.task.corpus_hash) and corpus.gaps:
            return {question: tokens for question, (_, tokens) in distances(corpus, spec).items()}
    return None


def _attended(
    chosen: list[str], suite: object, large: str | None, small: str | None, prefix: str, dtype: str, out: Path
) -> None:
    from benchmark.cli.show import file_name, named_pair
    from benchmark.inspection.attended import KINDS, Attended, attended, biographies
    from benchmark.inspection.token_view import pairs_of
    from benchmark.suite.schema import Suite
    from leaderboard.figures.attended import attended_lines
    from leaderboard.figures.charts import attended_chart
    from leaderboard.figures.write import write_figure

    def lines_of(seen: list[Attended]) -> list[dict[str, Any]]:
        return [line for one in seen for line in attended_lines(one.pair, one.of, one.kinds, KINDS)]

    suite_or_none = suite if isinstance(suite, Suite) else None
    pairs = pairs_of(suite_or_none) if suite_or_none else [named_pair(str(large), small, prefix, dtype, "auto")]
    people = biographies(suite_or_none)
    for pair in pairs:
        if "3" in chosen and pair.small is None:
            raise UserError("Figure 3 contrasts two models: name the other one with --small, or ask for 2 alone")
        seen = attended(people, pair, lambda line: print(line, file=sys.stderr, flush=True))
        second, third = map(lines_of, seen)
        if "2" in chosen:
            chart = attended_chart(second, "What is attended to most at the word before a fact", len(people))
            _say_written(write_figure(out, f"fig2-{file_name(pair.name)}", second, chart))
        if "3" in chosen:
            title = "What the large model attends to more than the small one at the word before a fact"
            _say_written(
                write_figure(out, f"fig3-{file_name(pair.name)}", third, attended_chart(third, title, len(people)))
            )


def _say_written(files: list[Path]) -> None:
    print(", ".join(str(file) for file in files))
