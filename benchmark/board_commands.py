"""The commands under `benchmark leaderboard`. Heavy imports stand inside them, as in cli.py."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

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
    """Fail when the committed board differs from what its records give."""
    from leaderboard.build import check

    differences = check(records, out, readme or _readme(out))
    for line in differences:
        print(line, file=sys.stderr)
    if differences:
        raise typer.Exit(1)
    print(f"{out}: the board is what its records give")


@board_commands.command("serve")
def board_serve(
    folder: Annotated[Path, typer.Option(help="folder of the board")] = BOARD,
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

    if records is None:
        records = folder
    elif any(records.rglob("*.json")):
        build(records, folder)
        print(f"{folder}: board written", flush=True)
    else:
        folder = records = ROOT / "leaderboard"
        print("no record there yet: this is the board that ships with the project", flush=True)
    serve(folder, records, host, port, lambda address: print(f"{address} (Ctrl-C ends it)", flush=True))


@board_commands.command("compare")
def board_compare(first: Path, second: Path) -> None:
    """Say what differs between two records, and refuse if they may not stand side by side."""
    from leaderboard.compare import compare_files

    for line in compare_files(first, second):
        print(line)


@board_commands.command("power")
def board_power(
    records: RecordsFolder = BOARD / "results",
    difference: Annotated[float, typer.Option(help="in exact match, that should be told", min=1e-6, max=1)] = 0.05,
    alpha: Annotated[float, typer.Option(help="two-sided level of one test", min=1e-6, max=0.5)] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what differences to plain_matched the board can tell, and what number of seeds or subjects would tell one."""
    from leaderboard.board import build_board, load_records
    from leaderboard.power import power_lines, power_tables

    board = build_board(load_records(records))
    if as_json:
        print(json.dumps(power_lines(board, difference, alpha)))
    else:
        print(power_tables(board, difference, alpha))


def _readme(out: Path) -> Path | None:
    """The project's README, where the board built is the project's own."""
    beside = out.resolve().parent / "README.md"
    return beside if out.name == "leaderboard" and beside.is_file() else None
