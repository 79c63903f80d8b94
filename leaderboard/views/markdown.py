"""The board as a Markdown page."""

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from benchmark.core.errors import clean
from benchmark.records.comparable import fact_text
from leaderboard.board.labels import short_number
from leaderboard.board.model import Board, BoardTable, Reference, Row, with_shots
from leaderboard.stats.comparisons import BASELINE
from leaderboard.views.column import Column, Line, View
from leaderboard.views.columns import columns
from leaderboard.views.notes import markdown_notes
from leaderboard.views.text import (
    MARKS,
    field_name,
    number_text,
    rank_text,
    record_url,
    retention_text,
    tried_text,
    with_interval,
)


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: it becomes no HTML, table cell, link, image, code or emphasis.

    A backslash becomes an entity, since an escaped one at the end of a cell would still escape the bar after it.
    """
    text = html.escape(clean(text), quote=False).replace("\\", "&#92;")
    text = re.sub(r"([`*\[\]|~$@]|:(?=//)|(?<=www)\.)", r"\\\1", text)
    # Underscores inside a word are no emphasis; a whole run at the edge of a word is escaped.
    return re.sub(r"\b_+|_+\b", lambda run: r"\_" * len(run[0]), text)


def markdown_page(board: Board, folder: Path) -> str:
    """The whole board as a Markdown page in `folder`; its links to records are relative to that folder."""
    sections = [_section(table, folder) for table in board.tables]
    head = "# Leaderboard\n\nMade from the records by `benchmark leaderboard build`; do not edit by hand.\n"
    return "\n".join([head, markdown_notes(), *sections])


def markdown_grid(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are aligned to the left."""
    align = ["left"] * left + ["right"] * (len(headers) - left)
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def retention_note(table: BoardTable, name: Callable[[str], str] = str) -> str:
    """What the columns of retention hold: the metric of each, with the untouched model's value.

    `name` renders a label for the display.
    """
    measured = ", ".join(
        f"{name(held_out.label)} ({name(held_out.metric)}, untouched {short_number(held_out.before)})"
        for held_out in table.held_out
    )
    return f"Retention: the change for the worse against the untouched model; above 0 is a loss: {measured}."


def _section(table: BoardTable, folder: Path) -> str:
    facts = ", ".join(
        f"{key} {markdown_text(fact_text(value))}" for key, value in table.conditions.items() if value is not None
    )
    return (
        f"## {markdown_text(table.title)}\n\n{_main_grid(table, folder)}\n\n"
        f"{table.summary(markdown_text)} {table.alike_in()}\n\n"
        f"{_ways(table, folder)}{_copies(table)}{_writers(table)}{_fields(table)}{_retention(table)}{_curve(table)}"
        f"Test half: {table.questions:,} questions about {table.subjects:,} subjects. "
        f"Suites: {markdown_text(', '.join(table.suites))}.\n"
        f"<details><summary>Equal in this table</summary>\n\n{facts}\n\n</details>\n"
    )


def _main_grid(table: BoardTable, folder: Path) -> str:
    shown = columns(View.MARKDOWN, [table])
    rows = [[_cell(column, Line(table, row, folder)) for column in shown] for row in table.rows]
    return markdown_grid(_headings(shown), rows, left=2)


def _headings(shown: Sequence[Column]) -> list[str]:
    return [markdown_text(column.heading) for column in shown]


def _cell(column: Column, line: Line) -> str:
    """A row's cell in a column; ranks, labels and seeds are written for Markdown."""
    match column.key:
        case "rank":
            return rank_text(line.row)
        case "label":
            return _label(line.table, line.row)
        case "seeds":
            return _seed_links(line.row, line.folder)
    return column.format.text(column.of(line), line.row)


def _label(table: BoardTable, row: Row) -> str:
    label = markdown_text(row.label)
    return (f"**{label}**" if table.is_best(row) else label) + tried_text(row)


def _seed_links(row: Row, folder: Path) -> str:
    count = f"{len(row.seeds)} seed" + "s" * (len(row.seeds) > 1)
    links = " ".join(f"[{seed}]({record_url(path, folder)})" for seed, path in zip(row.seeds, row.files, strict=True))
    return f"{count}: {links}"


def _ways(table: BoardTable, folder: Path) -> str:
    """The table of the other ways of asking, with the references below the rows."""
    label, *ways = columns(View.MARKDOWN_WAYS, [table])
    shown = [column for column in ways if any(column.of(Line(table, row)) is not None for row in table.rows)]
    rows = [[_label(table, row), *(_marked(column, Line(table, row)) for column in shown)] for row in table.rows]
    rows += [
        [_reference_link(reference, folder), *(_reference_cell(column, reference) for column in shown)]
        for reference in table.references
    ]
    note = f"Asked in other ways (▲▼: above or below {BASELINE}, asked in the same way):"
    return f"{note}\n\n{markdown_grid(_headings([label, *shown]), rows)}\n\n"


def _marked(column: Column, line: Line) -> str:
    """A cell with a mark, if the row is above or below the baseline in this way of asking."""
    text = column.format.text(column.of(line), line.row)
    return text + MARKS[line.row.also[column.key].verdict] if column.key in line.row.also else text


def _reference_link(reference: Reference, folder: Path) -> str:
    return f"*[{markdown_text(reference.label)}]({record_url(reference.file, folder)})*"


def _reference_cell(column: Column, reference: Reference) -> str:
    scores = {with_shots(shots): score for shots, score in reference.by_shots.items()} | reference.scores
    return with_interval(scores.get(column.key))


def _copies(table: BoardTable) -> str:
    """The table of what copies keep of the facts; empty if no method of the table makes copies."""
    rows = [row for row in table.rows if row.facts]
    has_writer = any(row.writing for row in rows)
    shown = [column for column in columns(View.MARKDOWN_COPIES, [table]) if has_writer or column.key != "invented"]
    return f"Kept of the facts in the copies:\n\n{_grid_of(table, shown, rows)}\n\n" if rows else ""


def _writers(table: BoardTable) -> str:
    """The table of what writers wrote and cost; empty if no method of the table has a writer."""
    rows = [row for row in table.rows if row.writing]
    grid = _grid_of(table, columns(View.MARKDOWN_WRITERS, [table]), rows)
    return f"Texts by a writer:\n\n{grid}\n\n" if rows else ""


def _grid_of(table: BoardTable, shown: Sequence[Column], rows: Sequence[Row]) -> str:
    """A Markdown table of some rows, whose first column is the label."""
    label, *others = shown
    lines = [
        [
            _label(table, row),
            *(markdown_text(column.format.text(column.of(Line(table, row)), row)) for column in others),
        ]
        for row in rows
    ]
    return markdown_grid(_headings([label, *others]), lines)


def _fields(table: BoardTable) -> str:
    """The table of exact match by field; empty for a task without fields."""
    if not table.fields:
        return ""
    headers = ["Method", *(markdown_text(field_name(field)) for field in table.fields)]
    rows = [
        [_label(table, row), *(with_interval(row.fields.get(field)) for field in table.fields)] for row in table.rows
    ]
    return f"Exact match per field with its interval:\n\n{markdown_grid(headers, rows)}\n\n"


def _retention(table: BoardTable) -> str:
    """The table of how much the models forgot; empty if nothing was measured."""
    if not table.held_out:
        return ""
    labels = [held_out.label for held_out in table.held_out]
    rows = [
        [_label(table, row), *(retention_text(row, row.retention.get(label)) for label in labels)] for row in table.rows
    ]
    grid = markdown_grid(["Method", *map(markdown_text, labels)], rows)
    return (
        f"{retention_note(table, markdown_text)} Intervals are over seeds; with one seed there is none.\n\n{grid}\n\n"
    )


def _curve(table: BoardTable) -> str:
    """The table of exact match by steps; empty if no run has checkpoints."""
    steps = sorted({step for row in table.rows for step in row.curve})
    if not steps:
        return ""
    rows = [[_label(table, row), *(number_text(row.curve.get(step)) for step in steps)] for row in table.rows]
    grid = markdown_grid(["Method", *(f"{step:,}" for step in steps)], rows)
    return f"Exact match after so many steps of the same run, whose schedule is set for the last step:\n\n{grid}\n\n"
