"""`benchmark reproduce`: published tables beside this project's records."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import BOARD, JsonOption
from benchmark.core.errors import UserError, check_known

TABLES = ("table1", "table2", "table3", "seal")


def reproduce(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Which of table1, table2, table3 and seal [default: all].")
    ] = None,
    records: Annotated[Path, typer.Option(help="Folder of records.")] = BOARD / "results",
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Fail if the file of --out differs from what the records give.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare published tables with this project's records: a verdict on every number and on the paper's claims.

    `seal` is SEAL's ladder of ways to learn 200 passages, beside our rows and without verdicts.
    """
    from leaderboard.board.assemble import load_records
    from leaderboard.paper.page import markdown, print_sections
    from leaderboard.paper.page import reproduce as compare
    from leaderboard.paper.published import read_paper

    for name in tables or []:
        check_known("table", name, TABLES)
    if check and not out:
        raise UserError("--check: name the file to check with --out")
    paper = read_paper()
    sections, summary = compare(paper, tables or TABLES, load_records(records))
    if out:
        _write_or_check(out, markdown(sections, paper, out.parent), check)
    if as_json:
        print(json.dumps(summary))
    elif not out:
        from leaderboard.views.terminal import terminal

        print_sections(sections, terminal(160))  # at which no name is cut


def _write_or_check(out: Path, page: str, check: bool) -> None:
    from benchmark.core.files import write_atomically

    if not check:
        try:
            write_atomically(out, page)
        except OSError as error:
            raise UserError(f"{out}: cannot be written ({error.strerror}); give a file in another folder") from None
        print(f"{out}: written", file=sys.stderr)
    elif not out.is_file() or out.read_text(encoding="utf-8", errors="replace") != page:
        raise UserError(f"{out}: differs from what the records give; run benchmark reproduce --out {out}")
    else:
        print(f"{out}: equals what the records give", file=sys.stderr)
