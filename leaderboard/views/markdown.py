"""The board as Markdown and as CSV.

Names come from records that anybody may hand in, so they are text to be shown and never markup to be obeyed.
"""

import csv
import html
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from tabulate import tabulate

from benchmark.core.errors import clean
from benchmark.records.comparable import canonical, fact_text
from benchmark.records.record import METRICS
from leaderboard.board.labels import short_number
from leaderboard.board.model import Board, BoardTable, Forgetting, Row
from leaderboard.stats.comparisons import BASELINE, RANDOM, Difference
from leaderboard.stats.intervals import DRAWS, Estimate

OTHER_METRICS = {"answered": "Answered", "acc": "Choice", "cloze": "Cloze"}
MARKS = {"above": " ▲", "below": " ▼", None: ""}

NOTES = f"""\
Every number is taken on the **test half** of the people or paragraphs; the development half is for choosing parameters.
A table holds what is alike in data, questions, trained model, budget, recipe and evaluation; a row is a method.

- **Exact match** and **F1** are means over all fields, with SQuAD normalisation; the columns of fields are exact match.
  Questions are asked with several numbers of examples before them (**shots**), and a row shows the one that is best on
  its development half; the table below has the others. **Answered** is the share of answers that are one, right or
  wrong (a date; a value that the field has for somebody), **of answered** the exact match among them. **Choice** is the
  share of questions where the true value is likelier than those of other people, **cloze** the share of facts that the
  model finishes its own text with.
- `untouched` is the model before training, `open_book` the same with the document in the prompt: a floor and a ceiling,
  and no rows of the ranking.
- **Kept** counts what a method's copies leave of the facts: the share of facts whose answer stands whole in a copy, the
  share whose answer and name do, and by how much copies are longer than their originals, in tokens.
- **Intervals** (95%) come from {DRAWS:,} bootstrap draws that resample the seeds and the subjects (people or
  paragraphs), each as a whole, and are widened for their small number by Student's t. With one seed they are over
  subjects only, as are the tests, and say nothing of other seeds. Where all answers are wrong (or right) they are the
  exact bound that so many subjects give. `docs/statistics.md` has formulas, and how often they were found to be right.
- **Δ** is the exact match minus that of `{BASELINE}`, which trains for the same number of steps on the originals alone,
  or minus that of `{RANDOM}` (with the same α where there is one, else the best on the development half), paired by
  seed and subject. ▲ and ▼: above or below with p < .05, adjusted by Holm's method for the number of rows compared with
  the same one. The interval is of the one difference, not adjusted.
- **Rank** is 1 + the number of rows with a higher exact match; ≈ marks the rows that are not told apart from the first
  (paired tests against it, p ≥ .05 adjusted by Holm's method).
- **Best of n**: a suite may give several values of a parameter; the one with the highest exact match on the development
  half (mean over seeds and fields) is shown, with its results on the test half. **Confirmed** rows show seeds that the
  point was not chosen with.
- **Bold** is the highest exact match of a table. **Training** is the mean seconds of a seed on the machine that did it,
  **steps** are optimizer steps, **tokens** those read in training, **texts** the training texts, originals and copies.
- **Seeds** lead to the records; beside each record lies a Parquet file with every single answer.
"""


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, table cell, link, image, code or emphasis comes of it.

    A backslash becomes an entity, since an escaped one at the end of a cell would still escape the bar after it.
    """
    text = html.escape(clean(text), quote=False).replace("\\", "&#92;")
    text = re.sub(r"([`*\[\]|~$@]|:(?=//)|(?<=www)\.)", r"\\\1", text)
    # Underscores inside a word are no emphasis; a whole run at the edge of one is escaped.
    return re.sub(r"\b_+|_+\b", lambda run: r"\_" * len(run[0]), text)


def with_interval(score: Estimate | None, digits: int = 3, sign: str = "") -> str:
    """A mean with its interval, such as ".392 [.351, .433]"; a dash where there is none."""
    if score is None:
        return "–"
    mean, low, high = (short_number(value, digits, sign) for value in (score.mean, score.low, score.high))
    return f"{mean} [{low}, {high}]"


def difference_text(row: Row, against: Difference | None, digits: int = 3) -> str:
    """A difference to another row with its mark, and its number of seeds where that is not the row's own."""
    if against is None:
        return "–"
    return with_interval(against.interval, digits, "+") + MARKS[against.verdict] + _fewer(row, against.seeds)


def _fewer(row: Row, seeds: tuple[int, ...]) -> str:
    return f" ({len(seeds)} of {len(row.seeds)} seeds)" if seeds != row.seeds else ""


def rank_text(row: Row) -> str:
    """A row's rank, with ≈ where it is not told apart from the first."""
    return f"{row.rank} ≈" if row.among_first else f"{row.rank}"


def tried_text(row: Row) -> str:
    """How many points a row is the best of, or nothing where there was one, and whether other seeds confirmed it."""
    if row.tried == 1:
        return " (confirmed)" if row.confirmed else ""
    return f" (best of {row.tried}{', confirmed' if row.confirmed else ''})"


def forgetting_text(row: Row, label: str, digits: int = 3) -> str:
    """What a row forgot of a held-out text or task: above 0 is worse; a dash where it was not measured."""
    change = row.forgetting.get(label)
    if change is None:
        return "–"
    fewer = _fewer(row, change.seeds)
    if change.low is None or change.high is None:
        return short_number(change.mean, digits, "+") + fewer
    return with_interval(Estimate(change.mean, change.low, change.high), digits, "+") + fewer


def forgetting_note(table: BoardTable, name: Callable[[str], str] = str) -> str:
    """What the columns of forgetting are: metric and value of the untouched model for each; `name` renders a label."""
    told = ", ".join(
        f"{name(one.label)} ({name(one.metric)}, untouched {short_number(one.before)})" for one in table.held_out
    )
    return f"Forgetting: the change for the worse against the untouched model, above 0 being a loss: {told}."


def page(board: Board, folder: Path) -> str:
    """The whole board as a Markdown page that stands in `folder`; its links to records are relative to that."""
    sections = [_section(table, folder) for table in board.tables]
    head = f"# Leaderboard\n\nMade from the records by `benchmark leaderboard build`; do not edit by hand.\n\n{NOTES}"
    return "\n".join([head, *sections])


def table_csv(board: Board, folder: Path) -> str:
    """The board as CSV, a line per row of a table; numbers have six digits, paths are relative to `folder`."""
    fields = list(dict.fromkeys(field for table in board.tables for field in table.fields))
    held_out = list(dict.fromkeys((one.label, one.metric) for table in board.tables for one in table.held_out))
    lines = [_csv_line(table, row, fields, held_out, folder) for table in board.tables for row in table.rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else ["table"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def field_name(field: str) -> str:
    """A field as a column is headed: "birth_date" → "birth date"."""
    return clean(field.replace("_", " "))


def _section(table: BoardTable, folder: Path) -> str:
    field_names = [markdown_text(field_name(field)) for field in table.fields]
    headers = ["Rank", "Method", "Exact match", "Shots", "F1", *field_names]
    headers += [f"Δ to {BASELINE}", f"Δ to {RANDOM}", "Seeds", "Steps", "Tokens", "Texts", "Training"]
    rows = []
    for row in table.rows:
        cells = [rank_text(row), _name(table, row), with_interval(row.headline), str(row.shots)]
        cells.append(with_interval(row.scores.get("f1")))
        cells += [short_number(row.fields[field].mean) if field in row.fields else "–" for field in table.fields]
        cells += [*_differences(row), _seed_links(row, folder), _range(row.steps), f"{row.tokens:,.0f}"]
        rows.append([*cells, _range(row.texts), "–" if row.seconds is None else f"{row.seconds:,.0f} s"])
    fields = [
        [_name(table, row), *(with_interval(row.fields.get(field)) for field in table.fields)] for row in table.rows
    ]
    per_field = f"Exact match per field with its interval:\n\n{markdown_grid(['Method', *field_names], fields)}\n\n"
    facts = ", ".join(
        f"{key} {markdown_text(fact_text(value))}" for key, value in table.conditions.items() if value is not None
    )
    grid = markdown_grid(headers, rows, left=2)
    return (
        f"## {markdown_text(table.title)}\n\n{grid}\n\n{table.summary(markdown_text)} {table.alike_in()}\n\n"
        f"{_other_ways(table, folder)}{_kept(table)}{per_field if table.fields else ''}"
        f"{_forgetting(table)}{_curve(table)}"
        f"Test half: {table.questions:,} questions about {table.subjects:,} subjects. "
        f"Suites: {markdown_text(', '.join(table.suites))}.\n"
        f"<details><summary>Alike in this table</summary>\n\n{facts}\n\n</details>\n"
    )


def _other_ways(table: BoardTable, folder: Path) -> str:
    """The table of the other ways of asking, with the references below the rows."""
    shots = sorted({number for row in table.rows for number in row.by_shots})
    measured = [m for m in OTHER_METRICS if any(m in row.scores for row in table.rows)]
    headers = ["Method", *(f"{number} shots" for number in shots)]
    for metric in measured:
        headers += [OTHER_METRICS[metric]] + ["Of answered"] * (metric == "answered")
    lines = []
    for row in table.rows:
        ways = [f"exact_match, {number} shots" for number in shots]
        cells = [_marked(row.by_shots.get(number), row, way) for number, way in zip(shots, ways, strict=True)]
        for metric in measured:
            cells.append(_marked(row.scores.get(metric), row, metric))
            cells += [_plain(row.of_answered)] * (metric == "answered")
        lines.append([_name(table, row), *cells])
    for one in table.references:
        cells = [with_interval(one.by_shots.get(number)) for number in shots]
        for metric in measured:
            cells += [with_interval(one.scores.get(metric)), *(["–"] if metric == "answered" else [])]
        lines.append([f"*[{markdown_text(one.label)}]({record_url(one.file, folder)})*", *cells])
    note = f"Asked in other ways (▲▼: above or below {BASELINE}, asked in the same way):"
    return f"{note}\n\n{markdown_grid(headers, lines)}\n\n"


def _marked(score: Estimate | None, row: Row, way: str) -> str:
    return with_interval(score) + MARKS[row.also[way].verdict if way in row.also else None]


def _plain(number: float | None, sign: str = "") -> str:
    return "–" if number is None else short_number(number, sign=sign)


def _kept(table: BoardTable) -> str:
    """The table of what copies keep of the facts; nothing where no method of the table makes copies."""
    rows = [
        [
            _name(table, row),
            _plain(row.facts.answer),
            _plain(row.facts.answer_and_name),
            _plain(row.facts.tokens, "+"),
        ]
        for row in table.rows
        if row.facts
    ]
    if not rows:
        return ""
    headers = ["Method", "answer whole", "answer and name", "tokens against the original"]
    return f"Kept of the facts in the copies:\n\n{markdown_grid(headers, rows)}\n\n"


def _forgetting(table: BoardTable) -> str:
    """The table of what was forgotten; nothing where nothing was measured."""
    if not table.held_out:
        return ""
    labels = [one.label for one in table.held_out]
    rows = [[_name(table, row), *(forgetting_text(row, label) for label in labels)] for row in table.rows]
    headers = ["Method", *(markdown_text(label) for label in labels)]
    note = forgetting_note(table, markdown_text)
    return f"{note} Intervals are over seeds; with one seed there is none.\n\n{markdown_grid(headers, rows)}\n\n"


def _curve(table: BoardTable) -> str:
    """The table of exact match by steps; nothing where no run was asked at its checkpoints."""
    steps = sorted({step for row in table.rows for step in row.curve})
    if not steps:
        return ""
    rows = [
        [_name(table, row), *(short_number(row.curve[step]) if step in row.curve else "–" for step in steps)]
        for row in table.rows
    ]
    headers = ["Method", *(f"{step:,}" for step in steps)]
    note = "Exact match after so many steps of the same run, whose schedule is set for the last:"
    return f"{note}\n\n{markdown_grid(headers, rows)}\n\n"


def markdown_grid(headers: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are set to the left."""
    align = ["left"] * left + ["right"] * (len(headers) - left)
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def _differences(row: Row) -> list[str]:
    return [difference_text(row, row.to_baseline), difference_text(row, row.to_random)]


def _name(table: BoardTable, row: Row) -> str:
    label = markdown_text(row.label)
    return (f"**{label}**" if table.is_best(row) else label) + tried_text(row)


def _seed_count(row: Row) -> str:
    return f"{len(row.seeds)} seed" + "s" * (len(row.seeds) > 1)


def _seed_links(row: Row, folder: Path) -> str:
    links = " ".join(f"[{seed}]({record_url(path, folder)})" for seed, path in zip(row.seeds, row.files, strict=True))
    return f"{_seed_count(row)}: {links}"


def relative(path: Path, folder: Path) -> str:
    """A path as it is seen from a folder, with slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def record_url(path: Path, folder: Path) -> str:
    """The address of a file as a link from a page in `folder`: relative, and never one with a scheme or host."""
    return url(relative(path, folder))


def url(path: str) -> str:
    """A path as the address of a link."""
    return quote(path, errors="surrogateescape")


def _range(ends: tuple[int, int]) -> str:
    low, high = (f"{end:,}" for end in ends)
    return low if low == high else f"{low}–{high}"


def _csv_line(
    table: BoardTable, row: Row, fields: Sequence[str], held_out: Sequence[tuple[str, str]], folder: Path
) -> dict[str, str | float | int]:
    line: dict[str, str | float | int] = {
        "table": csv_cell(table.title),
        "task": csv_cell(table.task),
        "model": csv_cell(table.model),
        "budget": csv_cell(table.budget),
        "suites": csv_cell(" ".join(table.suites)),
        "method": csv_cell(row.method),
        "label": csv_cell(row.label),
        "parameters": csv_cell(canonical(row.parameters)),
        "tried": row.tried,
        "copies": row.copies,
        "pair": csv_cell(row.pair or ""),
        "rank": row.rank,
        "among_first": int(row.among_first),
        "shots": row.shots,
        "confirmed": int(row.confirmed),
        "seeds": " ".join(map(str, row.seeds)),
        "questions": table.questions,
        "subjects": table.subjects,
    }
    for metric in METRICS:
        line |= _ends(metric, row.scores.get(metric))
    line["of_answered"] = "" if row.of_answered is None else round(row.of_answered, 6)
    line["by_shots"] = canonical({shots: [s.mean, s.low, s.high] for shots, s in row.by_shots.items()})
    for name in ("answer", "answer_and_name", "tokens"):
        value = getattr(row.facts, name, None)
        line[f"kept_{name}"] = "" if value is None else round(value, 6)
    line |= _difference("difference", row.to_baseline) | _difference("to_random", row.to_random)
    for field in fields:
        line |= _ends(csv_cell(f"exact_match_{field}"), row.fields.get(field))
    measured = {(one.label, one.metric) for one in table.held_out}
    for label, metric in held_out:
        change = row.forgetting.get(label) if (label, metric) in measured else None
        name = csv_cell(f"forgetting_{label}_{metric}")
        line |= _ends(name, change)
        line[f"{name}_seeds"] = " ".join(map(str, change.seeds)) if change else ""
    line |= {"steps_least": row.steps[0], "steps_most": row.steps[1]}
    line |= {"texts_least": row.texts[0], "texts_most": row.texts[1]}
    line["curve"] = csv_cell(canonical(row.curve)) if row.curve else ""
    line |= {"tokens": round(row.tokens), "epochs": round(row.epochs, 4)}
    line["loss_tokens"] = "" if row.loss_tokens is None else round(row.loss_tokens)
    line["training_seconds"] = "" if row.seconds is None else round(row.seconds, 3)
    line["conditions"] = csv_cell(canonical(table.conditions))
    line["records"] = csv_cell(" ".join(record_url(path, folder) for path in row.files))
    return line


def _difference(name: str, against: Difference | None) -> dict[str, str | float]:
    parts = (against.p, against.p_adjusted) if against else (None, None)
    return {
        **_ends(name, against.interval if against else None),
        **{
            f"{name}_{part}": "" if p is None else f"{p:.6g}"
            for part, p in zip(("p", "p_adjusted"), parts, strict=True)
        },
        f"{name}_other": csv_cell(against.other) if against else "",
        f"{name}_seeds": " ".join(map(str, against.seeds)) if against else "",
    }


def _ends(name: str, score: Estimate | Forgetting | None) -> dict[str, str | float]:
    parts = {"": "mean", "_low": "low", "_high": "high"}
    values = {end: getattr(score, part, None) for end, part in parts.items()}
    return {name + end: "" if value is None else round(value, 6) for end, value in values.items()}


def csv_cell(text: str) -> str:
    """Text for a cell; what a spreadsheet would run as a formula gets a quote in front."""
    return f"'{clean(text)}" if text.startswith(("=", "+", "-", "@")) else clean(text)
