"""The command `benchmark reproduce`. Heavy imports stand inside it, as in cli.py."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import UserError, nearest

TABLES = ("table1", "table2", "table3")


def reproduce(
    tables: Annotated[list[str] | None, typer.Argument(help="table1, table2, table3 [default: all]")] = None,
    records: Annotated[Path, typer.Option(help="folder of records")] = Path("leaderboard/results"),
    out: Annotated[Path | None, typer.Option(help="Markdown file to write")] = None,
    check: Annotated[bool, typer.Option("--check", help="fail when --out is not what the records give")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for machines")] = False,
) -> None:
    """Put the paper's tables beside our records: every number with a verdict, and the paper's claims on our models."""
    from leaderboard.board.assemble import load_records
    from leaderboard.paper.page import markdown, print_sections
    from leaderboard.paper.page import reproduce as compare
    from leaderboard.paper.published import read_paper

    for name in tables or []:
        if name not in TABLES:
            raise UserError(f"table {name!r}: not one of the paper's; {nearest(name, TABLES)}")
    if check and not out:
        raise UserError("--check: name the file to check with --out")
    paper = read_paper()
    sections, told = compare(paper, tables or TABLES, load_records(records))
    if out:
        _write_or_check(out, markdown(sections, paper, out.parent), check)
    if as_json:
        print(json.dumps(told))
    elif not out:
        from rich.console import Console

        # Into a file or a pipe, wide enough that no name is cut.
        print_sections(sections, Console(width=None if sys.stdout.isatty() else 160))


def _write_or_check(out: Path, page: str, check: bool) -> None:
    from benchmark.core.files import write_atomically

    if not check:
        try:
            write_atomically(out, page)
        except OSError as error:
            raise UserError(f"{out}: cannot be written ({error.strerror}); give a file in another folder") from None
        print(f"{out}: written", file=sys.stderr)
    elif not out.is_file() or out.read_text(encoding="utf-8", errors="replace") != page:
        raise UserError(f"{out}: not what the records give; run benchmark reproduce --out {out}")
    else:
        print(f"{out}: what the records give", file=sys.stderr)
