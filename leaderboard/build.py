"""Write the board's files from the records, and compare the tracked files with the records."""

import itertools
from pathlib import Path

from benchmark.core.errors import UserError, clean
from benchmark.core.files import write_all
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.model import Board
from leaderboard.views.csv_file import board_csv
from leaderboard.views.markdown import markdown_page
from leaderboard.views.readme import small_board
from leaderboard.views.text import relative
from leaderboard.web.html import html_page

BEGIN, END = "<!-- board:begin -->", "<!-- board:end -->"


def build(records_folder: Path, out_folder: Path, readme: Path | None = None) -> Board:
    """Write README.md, board.csv and index.html into `out_folder`, and a small board between the marks of `readme`.

    Either all files are written or none.

    Returns:
        The board.

    Raises:
        UserError: A record is not valid or cannot be compared with another, the marks are not in `readme`, or a file
            cannot be written.
    """
    board, files = _render(records_folder, out_folder, readme)
    files = {out_folder / "index.html": html_page(board, out_folder), **files}
    try:
        write_all(files)
    except OSError as error:
        where = error.filename or out_folder
        raise UserError(f"{where}: cannot be written ({error.strerror}); make room or give another folder") from None
    return board


def check(records_folder: Path, out_folder: Path, readme: Path | None = None) -> list[str]:
    """Compare the files that git tracks (all files of `build` but the page) with what the records give.

    Returns:
        A line for each file that differs.

    Raises:
        UserError: As `build` does, so a record that was edited by hand is refused by name.
    """
    _, files = _render(records_folder, out_folder, readme)
    problems = []
    for path, text in files.items():
        if not path.is_file():
            problems.append(f"{path}: is missing; run benchmark leaderboard build")
        elif (current := path.read_bytes().decode("utf-8", errors="replace")) != text:
            problems.append(f"{path}:{_first_difference(current, text)}; run benchmark leaderboard build")
    return problems


def _render(records_folder: Path, out_folder: Path, readme: Path | None) -> tuple[Board, dict[Path, str]]:
    board = build_board(load_records(records_folder))
    files = {
        out_folder / "README.md": markdown_page(board, out_folder),
        out_folder / "board.csv": board_csv(board, out_folder),
    }
    if readme is not None:
        files[readme] = _between_marks(readme, small_board(board, relative(out_folder / "README.md", readme.parent)))
    return board, files


def _between_marks(readme: Path, text: str) -> str:
    try:
        whole = readme.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{readme}: cannot be read; give a UTF-8 text file with the marks of the board") from None
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise UserError(f"{readme}: the board goes between one line {BEGIN} and one line {END} after it; put them in")
    return f"{before}{BEGIN}\n{text}{END}{after}"


def _first_difference(current: str, expected: str) -> str:
    """Number and content of the first line that differs."""
    lines = itertools.zip_longest(current.split("\n"), expected.split("\n"), fillvalue="")
    number, (old, new) = next((n, pair) for n, pair in enumerate(lines, start=1) if pair[0] != pair[1])
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(first - 20, 0)
    old_part, new_part = (clean(line[start : start + 80]) for line in (old, new))
    return f"{number}: has {old_part!r} where the records give {new_part!r}"
