"""`benchmark leaderboard`: the board, built from records alone."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import BOARD, BoardRecordsOption, JsonOption
from benchmark.core.errors import clean

leaderboard_app = typer.Typer(no_args_is_help=True, help="The board, built from records alone.", rich_markup_mode=None)


@leaderboard_app.command("build")
def build(
    records: BoardRecordsOption = BOARD / "results",
    out: Annotated[Path, typer.Option(help="Folder to write the board to.")] = BOARD,
    readme: Annotated[Path | None, typer.Option(help="Markdown file whose board section is written as well.")] = None,
) -> None:
    """Build the board from records: Markdown, CSV and a web page, and the table of the README."""
    import benchmark

    benchmark.board(records, out, readme or _readme(out))
    print(f"{out}: board written")


@leaderboard_app.command("check")
def check(
    records: BoardRecordsOption = BOARD / "results",
    out: Annotated[Path, typer.Option(help="Folder of the board.")] = BOARD,
    readme: Annotated[Path | None, typer.Option(help="Markdown file with a board section.")] = None,
) -> None:
    """Fail if a record does not match its answers, or if the board differs from what the records give."""
    from benchmark.evaluation.shipped import SHIPPED
    from leaderboard.build import check as check_board
    from leaderboard.submission.submit import check_folder

    refused, checked, unchecked = check_folder(records, SHIPPED)
    problems = refused or check_board(records, out, readme or _readme(out))
    _print_errors(problems)
    if problems:
        raise typer.Exit(1)
    _print_unchecked(unchecked, len(checked))
    print(f"{out}: {len(checked)} records match their answers, and the board matches the records")


@leaderboard_app.command("submit")
def submit(
    files: Annotated[
        list[Path], typer.Argument(help="Records (.json files with their answers beside them), or folders of them.")
    ],
    records: BoardRecordsOption = BOARD / "results",
) -> None:
    """Check records and add them to those of the board: all of them, or none if one is refused."""
    from benchmark.evaluation.shipped import SHIPPED
    from leaderboard.submission.submit import submit as add_records

    outcome = add_records(files, records, SHIPPED)
    _print_errors([f"error: {line}" for line in outcome.refused])
    if outcome.refused:
        raise typer.Exit(2)
    _print_unchecked(outcome.unchecked, len(outcome.added))
    for path in outcome.added:
        print(path)
    for path in outcome.known:
        print(f"{path}: the board has this record of the untrained model already")
    print(f"{len(outcome.added)} added; next: benchmark leaderboard build, then commit both")


@leaderboard_app.command("serve")
def serve(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the board [default: leaderboard, or board beside RECORDS].")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            help="Folder of records to build the board from first [default: serve what `leaderboard build` wrote]."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8000,
) -> None:
    """Serve the page of the board and its records, to this machine alone unless --host says otherwise."""
    import benchmark
    from leaderboard.web.serve import serve as serve_page

    folder = folder or (records.parent / "board" if records else BOARD)
    if records is None:
        records = folder
    elif any(records.rglob("*.json")):
        benchmark.board(records, folder)
        print(f"{folder}: board written", flush=True)
    else:
        print(f"{records}: has no records yet; serving the board that ships with the project", flush=True)
        folder = records = benchmark.ROOT / "leaderboard"
    serve_page(folder, records, host, port, lambda address: print(f"{address} (Ctrl-C ends it)", flush=True))


@leaderboard_app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(help="A record, NAME.json.")],
    second: Annotated[Path, typer.Argument(help="The record to compare it with.")],
) -> None:
    """Print how two records differ, and fail if their conditions are too different to compare them."""
    from leaderboard.board.record_comparison import compare_records

    for line in compare_records(first, second):
        print(clean(line))


@leaderboard_app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    as_format: Annotated[str, typer.Option("--format", help="csv, parquet, json or lm-eval.")] = "csv",
    records: BoardRecordsOption = BOARD / "results",
) -> None:
    """Write records and board as tables for other programs, or in the layout of lm-eval's results."""
    from leaderboard.views.export import export as write_tables

    paths = write_tables(records, out, as_format)
    print(f"{out}: {len(paths)} files")


@leaderboard_app.command("schema")
def schema(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = BOARD / "schema",
) -> None:
    """Write the JSON Schemas of a record and of the JSON export."""
    from leaderboard.views.export import write_schemas

    for path in write_schemas(out):
        print(path)


@leaderboard_app.command("power")
def power(
    records: BoardRecordsOption = BOARD / "results",
    difference: Annotated[
        float, typer.Option(help="Difference in exact match that should be detected.", min=1e-6, max=1)
    ] = 0.05,
    alpha: Annotated[float, typer.Option(help="Two-sided level of a single test.", min=1e-6, max=0.5)] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Print which differences to plain_matched the board can detect, and how many seeds or subjects it takes."""
    from leaderboard.board.assemble import build_board, load_records
    from leaderboard.board.power import power_lines, power_tables

    board = build_board(load_records(records))
    if as_json:
        print(json.dumps(power_lines(board, difference, alpha)))
    else:
        print(power_tables(board, difference, alpha))


def _print_errors(lines: list[str]) -> None:
    """Print lines that hold names from records, without terminal control characters."""
    for line in lines:
        print(clean(" ".join(line.split())), file=sys.stderr)


def _print_unchecked(notes: Mapping[str, int], records: int) -> None:
    _print_errors([f"not checked, of {count} of {records} records: {note}" for note, count in notes.items()])


def _readme(out: Path) -> Path | None:
    """The project's README, if `out` is the project's own board."""
    readme = out.resolve().parent / "README.md"
    return readme if out.name == "leaderboard" and readme.is_file() else None
