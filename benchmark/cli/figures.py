"""`benchmark figures`: the paper's Figures 1 to 3, of any suite or pair of models."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import BOARD, DTYPES
from benchmark.core.errors import UserError, check_known

if TYPE_CHECKING:
    from benchmark.suite.schema import Suite

KNOWN = ("1", "2", "3")


def figures(
    which: Annotated[
        list[str] | None, typer.Argument(help="Which of 1, 2 and 3 [default: all that the options allow].")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Suite whose records, pairs and biographies are used [default: tiny].")
    ] = None,
    large: Annotated[
        str | None, typer.Option(help="For 2 and 3: large model, in place of the pairs of a suite.")
    ] = None,
    small: Annotated[str | None, typer.Option(help="With --large: the small model.")] = None,
    prefix: Annotated[
        str, typer.Option(help="With --large: put before every text and not scored; auto: docs/suite_file.md.")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help=f"With --large: {DTYPES}.")] = "float32",
    records: Annotated[Path, typer.Option(help="For 1: folder of records.")] = BOARD / "results",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("docs/figures"),
) -> None:
    """Draw the paper's Figures 1 to 3 as SVG and PNG, with their numbers as CSV.

    1: exact match by the position of a fact. 2: the kinds of token that get the most attention at the word before a
    fact. 3: the same for the attention of the large model minus that of the small one.
    """
    from benchmark.suite.schema import find_suite, load_suite

    for figure in which or []:
        check_known("figure", figure, KNOWN)
    chosen = which or (["2", "3"] if large else list(KNOWN))
    if large and (suite or "1" in chosen):
        raise UserError("--large: Figure 1 and --suite take their models from a suite; leave them or --large out")
    if small and not large:
        raise UserError("--small: name the large model as well, with --large")
    out.mkdir(parents=True, exist_ok=True)  # before the models read, so that a wrong folder costs no time
    loaded = None if large else load_suite(find_suite(suite or "tiny"))
    if "1" in chosen and loaded is not None:
        _draw_accuracy(loaded, records, out)
    if {"2", "3"} & set(chosen):
        _draw_attention(chosen, loaded, large, small, prefix, dtype, out)


def _draw_accuracy(suite: "Suite", records: Path, out: Path) -> None:
    from benchmark.runs.distances import distances_of_record
    from leaderboard.figures.accuracy import accuracy_lines
    from leaderboard.figures.charts import accuracy_chart
    from leaderboard.figures.write import write_figure

    lines = accuracy_lines(records, suite.name, lambda record: distances_of_record(record, suite))
    if not (shown := [line for line in lines if line["shown"]]):
        raise UserError(f"{records}: none of the paper's methods is among the records of suite {suite.name!r}")
    _print_files(write_figure(out, f"fig1-{suite.name}", lines, accuracy_chart(shown, suite.name)))


def _draw_attention(
    chosen: list[str], suite: "Suite | None", large: str | None, small: str | None, prefix: str, dtype: str, out: Path
) -> None:
    from benchmark.inspection.attended import KINDS, AttendedKinds, attended_kinds, biographies
    from benchmark.inspection.choices import file_name, pair_of_models
    from benchmark.inspection.token_view import pairs_of
    from leaderboard.figures.attended import attended_lines
    from leaderboard.figures.charts import attended_chart
    from leaderboard.figures.write import write_figure

    def lines_of(results: list[AttendedKinds]) -> list[dict[str, Any]]:
        return [line for result in results for line in attended_lines(result.pair, result.of, result.kinds, KINDS)]

    pairs = pairs_of(suite) if suite else [pair_of_models(str(large), small, prefix, dtype, "auto")]
    people = biographies(suite)
    for pair in pairs:
        if "3" in chosen and pair.small is None:
            raise UserError("Figure 3 contrasts two models: name the other one with --small, or ask for 2 alone")
        results = attended_kinds(people, pair, lambda line: print(line, file=sys.stderr, flush=True))
        second, third = map(lines_of, results)
        if "2" in chosen:
            chart = attended_chart(second, "What is attended to most at the word before a fact", len(people))
            _print_files(write_figure(out, f"fig2-{file_name(pair.name)}", second, chart))
        if "3" in chosen:
            title = "What the large model attends to more than the small one at the word before a fact"
            chart = attended_chart(third, title, len(people))
            _print_files(write_figure(out, f"fig3-{file_name(pair.name)}", third, chart))


def _print_files(files: list[Path]) -> None:
    print(", ".join(str(file) for file in files))
