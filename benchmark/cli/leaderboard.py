"""The commands under `benchmark leaderboard`. Heavy imports stand inside them, as in cli.py."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import clean

board_commands = typer.Typer(no_args_is_help=True, help="The board: built from records alone.", rich_markup_mode=None)

BOARD = Path("leaderboard")
RecordsFolder = Annotated[Path, typer.Option("--records", help="folder of records")]


@board_commands.command("build")
def board_build(
    records: RecordsFolder = BOARD / "results",
    out: Annotated[Path, typer.Option(help="folder the board is written to")] = BOARD,
    readme: Annotated[Path | None, typer.Option(help="file whose board section is written as well")] = None,
) -> None:
    """Build the board from records: Markdown, CSV and a web page, and the README's table."""
    from leaderboard.build import build

    build(records, out, readme or _readme(out))
    print(f"{out}: board written")


@board_commands.command("check")
def board_check(
    records: RecordsFolder = BOARD / "results",
    out: Annotated[Path, typer.Option(help="folder of the board")] = BOARD,
    readme: Annotated[Path | None, typer.Option(help="file with a board section")] = None,
) -> None:
    """Fail when a committed record does not hold what it says, or the committed board is not what the records give."""
    from benchmark.evaluation.shipped import SHIPPED
    from leaderboard.build import check
    from leaderboard.submission.submit import check_folder

    refused, found, unchecked = check_folder(records, SHIPPED)
    problems = refused or check(records, out, readme or _readme(out))
    _tell(problems)
    if problems:
        raise typer.Exit(1)
    _tell_unchecked(unchecked, len(found))
    print(f"{out}: {len(found)} records hold what they say, and the board is what they give")


@board_commands.command("submit")
def board_submit(
    files: Annotated[list[Path], typer.Argument(help="records (.json, answers beside them) or folders of them")],
    records: RecordsFolder = BOARD / "results",
) -> None:
    """Check records and add them to the board's: all of them, or none where one is refused."""
    from benchmark.evaluation.shipped import SHIPPED
    from leaderboard.submission.submit import submit

    outcome = submit(files, records, SHIPPED)
    _tell([f"error: {line}" for line in outcome.refused])
    if outcome.refused:
        raise typer.Exit(2)
    _tell_unchecked(outcome.unchecked, len(outcome.added))
    for path in outcome.added:
        print(path)
    print(f"{len(outcome.added)} added; next: benchmark leaderboard build, then commit both")


@board_commands.command("serve")
def board_serve(
    folder: Annotated[
        Path | None, typer.Option(help="folder of the board [default: leaderboard, or board beside the RECORDS]")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="build the board of these records first; without any, serve the shipped one")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free")] = 8000,
) -> None:
    """Serve the board's page and its records, to this machine alone unless --host says otherwise."""
    from benchmark import ROOT
    from leaderboard.build import build
    from leaderboard.web.serve import serve

    folder = folder or (records.parent / "board" if records else BOARD)
    if records is None:
        records = folder
    elif any(records.rglob("*.json")):
        build(records, folder)
        print(f"{folder}: board written", flush=True)
    else:
        print(f"{records}: no record there yet; this is the board that ships with the project", flush=True)
        folder = records = ROOT / "leaderboard"
    serve(folder, records, host, port, lambda address: print(f"{address} (Ctrl-C ends it)", flush=True))


@board_commands.command("compare")
def board_compare(
    first: Annotated[Path, typer.Argument(help="a record, NAME.json")],
    second: Annotated[Path, typer.Argument(help="the record that it is compared with")],
) -> None:
    """Say what differs between two records, and refuse if they may not stand side by side."""
    from leaderboard.board.record_comparison import compare_files

    for line in compare_files(first, second):
        print(clean(line))


@board_commands.command("export")
def board_export(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    as_format: Annotated[str, typer.Option("--format", help="csv, parquet, json or lm-eval")] = "csv",
    records: RecordsFolder = BOARD / "results",
) -> None:
    """Write records and board as tables for other programs, or as lm-eval's own results."""
    from leaderboard.views.export import export

    paths = export(records, out, as_format)
    print(f"{out}: {len(paths)} files")


@board_commands.command("schema")
def board_schema(
    out: Annotated[Path, typer.Argument(help="folder to write")] = BOARD / "schema",
) -> None:
    """Write the JSON Schemas of a record and of the export as JSON."""
    from leaderboard.views.export import write_schemas

    for path in write_schemas(out):
        print(path)


def _tell(lines: list[str]) -> None:
    """Print lines that hold names from records, without what would steer the terminal."""
    for line in lines:
        print(clean(" ".join(line.split())), file=sys.stderr)


def _tell_unchecked(notes: Mapping[str, int], records: int) -> None:
    _tell([f"not checked, of {count} of {records} records: {note}" for note, count in notes.items()])


@board_commands.command("power")
def board_power(
    records: RecordsFolder = BOARD / "results",
    difference: Annotated[float, typer.Option(help="in exact match, that should be told", min=1e-6, max=1)] = 0.05,
    alpha: Annotated[float, typer.Option(help="two-sided level of one test", min=1e-6, max=0.5)] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what differences to plain_matched the board can tell, and what number of seeds or subjects would tell one."""
    from leaderboard.board.assemble import build_board, load_records
    from leaderboard.board.power import power_lines, power_tables

    board = build_board(load_records(records))
    if as_json:
        print(json.dumps(power_lines(board, difference, alpha)))
    else:
        print(power_tables(board, difference, alpha))


def _readme(out: Path) -> Path | None:
    """The project's README, where the board built is the project's own."""
    beside = out.resolve().parent / "README.md"
    return beside if out.name == "leaderboard" and beside.is_file() else None
