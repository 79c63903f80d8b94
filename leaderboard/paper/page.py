"""The reproduction as Markdown, in a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.core.errors import clean
from leaderboard.board.assemble import Found
from leaderboard.board.labels import short_number
from leaderboard.paper.claims import CLAIM_RULE, Claim, comparisons, distance
from leaderboard.paper.published import Paper, PaperTable, lm_eval_task
from leaderboard.paper.reproduction import (
    PAPER_METRICS,
    RULE,
    Finding,
    Member,
    data_of,
    findings,
    members,
    parameters_text,
)
from leaderboard.stats.comparisons import BASELINE, PAPER_METHODS
from leaderboard.stats.intervals import DRAWS, Estimate
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import field_name, record_url, with_interval

HEAD = "Made from the records by `benchmark reproduce --out`; do not edit by hand."
STYLES = {"agrees": "green", "holds": "green", "disagrees": "red", "does not hold": "red"}


class Shown(str):
    """A cell of our own making, which Markdown takes as it is; every other cell may come from a record."""


@dataclass(frozen=True)
class Grid:
    """A table of plain text with notes of our own below; `files` has the records that each row is to lead to."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    files: list[tuple[Path, ...]] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """What is told of one of the paper's tables; `commands` run what is missing of it."""

    title: str
    notes: tuple[str, ...]
    grids: tuple[Grid, ...]
    commands: tuple[str, ...]


def reproduce(paper: Paper, tables: Sequence[str], records: Sequence[Found]) -> tuple[list[Section], dict[str, Any]]:
    """Set the named tables of the paper beside the records; for people and, as JSON, for machines."""
    ours = members(records)
    sections, told = [], {}
    for name in tables:
        table = paper.tables[name]
        found = findings(paper, table, ours)
        by_field = [distance(paper, table, ours)] if "birth_date" in table.fields else []
        claims = by_field or comparisons(paper, table, ours)
        rows = [one for one in ours if one.records[0].task.name in table.tasks and _is_shown(one, bool(by_field))]
        sections.append(_section(paper, name, found, rows, claims))
        told[name] = {
            "rows": [finding.model_dump(mode="json") for finding in found],
            "claims": [
                {
                    **claim.model_dump(mode="json", exclude={"trials"}),
                    "trials": [{**t.model_dump(mode="json"), "verdict": t.verdict} for t in claim.trials],
                }
                for claim in claims
            ],
        }
    return sections, {"source": paper.source, "rule": RULE, "claim_rule": CLAIM_RULE, "tables": told}


def markdown(sections: Sequence[Section], paper: Paper, folder: Path) -> str:
    """The sections as a page that stands in `folder`; its links to records are relative to that."""
    parts = [f"# The paper's tables, reproduced or not\n\n{HEAD}\n\n{markdown_text(paper.source)}\n\n{_rules()}"]
    for section in sections:
        parts.append(f"## {markdown_text(section.title)}\n")
        parts += [f"{note}\n" for note in section.notes]
        for grid in section.grids:
            parts.append(f"### {markdown_text(grid.title)}\n")
            if grid.rows:
                parts.append(_markdown_grid(grid, folder) + "\n")
            parts += [f"{note}\n" for note in grid.notes]
        if section.commands:
            parts.append("What is not run, and then this page anew:\n")
            parts.append("```sh\n" + "\n".join(section.commands) + "\n```\n")
    return "\n".join(parts)


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print the sections in a terminal."""
    for section in sections:
        console.print(Text(f"\n{clean(section.title)}", style="bold"))
        for note in section.notes:
            console.print(Text(clean(note)))
        for grid in section.grids:
            console.print(Text(f"\n{clean(grid.title)}", style="bold"))
            if grid.rows:
                console.print(_rich_grid(grid))
            for note in grid.notes:
                console.print(Text(clean(note)))
        for line in section.commands:
            console.print(Text(f"not run: {line}", style="dim"))
    for rule in (RULE, CLAIM_RULE):
        console.print(Text(f"\n{rule}", style="dim"))


def _rules() -> str:
    return (
        f"**Verdicts on numbers.** {RULE}\n\n**Verdicts on claims.** {CLAIM_RULE}\n\nOur numbers are of the test half, "
        f"with 95% intervals of {DRAWS:,} bootstrap draws over seeds and subjects (people or paragraphs). "
        "Written mean [low, high]; pairs are exact match / F1.\n"
    )


def _is_shown(one: Member, plain_alone: bool) -> bool:
    return one.row.method in (("plain", BASELINE) if plain_alone else PAPER_METHODS)


def _section(paper: Paper, name: str, found: list[Finding], rows: Sequence[Member], claims: Sequence[Claim]) -> Section:
    table = paper.tables[name]
    counts = {verdict: sum(o.verdict == verdict for o in found) for verdict in ("agrees", "disagrees", "not run")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    notes = [f"{len(found)} numbers: {told}."]
    if table.note:
        notes.append(f"{table.note[0].upper()}{table.note[1:]}.")
    notes += [f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(o.note for o in found if o.note)]
    notes += _told_twice(paper, name)
    commands = list(dict.fromkeys(finding.command for finding in found if finding.verdict == "not run"))
    return Section(
        title=f"{name.replace('table', 'Table ')}: {table.title}",
        notes=tuple(notes),
        grids=(
            _numbers(found),
            _our_rows(paper, table, rows),
            _summary(claims),
            _trials(table, claims),
        ),
        commands=(*commands, "benchmark reproduce --out docs/reproduction.md") if commands else (),
    )


def _told_twice(paper: Paper, name: str) -> list[str]:
    """How far the paper's own two tables of plain fine-tuning lie apart: what its numbers can be trusted to."""
    notes = []
    for other, table in paper.tables.items():
        gaps = []
        for model, info in paper.models.items():
            here, there = (paper.tables[one].exact_match(model, "plain") for one in (name, other))
            for field in sorted(here.keys() & there.keys()) if other != name else ():
                gap = round(abs(here[field] - there[field]), 9)
                gaps.append((gap, f"{info.title}, {field_name(field)}", here[field], there[field]))
        if gaps and table.task == paper.tables[name].task:
            _, where, one, two = max(gaps)
            notes.append(
                f"The paper gives {len(gaps)} exact matches of plain fine-tuning both here and in "
                f"{other.replace('table', 'Table ')}; {sum(gap > 0 for gap, *_ in gaps)} of them differ, "
                f"most in {where}: "
                f"{short_number(one, 2)} here, {short_number(two, 2)} there."
            )
    return notes


def _numbers(found: Sequence[Finding]) -> Grid:
    headers = ["Model", "Method", "α, β", "Field", "Paper", "Ours, exact match", "Ours, F1", "Verdict", "Why"]
    rows = []
    for one in found:
        scores = one.ours.scores if one.ours else {}
        paper = " / ".join(short_number(one.paper[metric], 2 if one.field != "all" else 3) for metric in PAPER_METRICS)
        rows.append(
            [
                *(one.model, one.method, parameters_text(one.parameters), field_name(one.field), paper),
                *(Shown(with_interval(scores.get(metric))) for metric in PAPER_METRICS),
                *(one.verdict, one.why),
            ]
        )
    return Grid("The paper's numbers", headers, rows, [one.ours.files if one.ours else () for one in found])


def _our_rows(paper: Paper, table: PaperTable, rows: Sequence[Member]) -> Grid:
    hubs = {model.hub.lower() for model in paper.models.values()}
    headers = ["Model and budget", "Method", "Data", *(field_name(field) for field in table.fields), "Seeds"]
    lines, files = [], []
    for one in rows:
        if str(one.records[0].model.spec.get("model", "")).lower() in hubs:
            continue
        pairs = []
        for field in table.fields:
            task = lm_eval_task(one.records[0].task.name, field)
            pairs.append(Shown(" / ".join(with_interval(one.score(metric, task), 2) for metric in PAPER_METRICS)))
        lines.append([one.table.title, one.row.label, data_of(paper, one.records[0]), *pairs, str(len(one.row.seeds))])
        files.append(one.row.files)
    notes = () if lines else ("No record.",)
    return Grid("Our rows: other models than the paper's", headers, lines, files, notes)


def _summary(claims: Sequence[Claim]) -> Grid:
    headers = ["Claim", "In the paper's numbers", "Holds", "Does not hold", "Cannot be told"]
    rows = []
    for claim in claims:
        back = claim.backing
        paper = f"{back.holds} of {back.cells}, mean {short_number(back.mean, 3, '+')}" if back else "not in the paper"
        counts = [str(claim.count(verdict)) for verdict in ("holds", "does not hold", "cannot be told")]
        rows.append([claim.text, paper, *counts])
    return Grid("Claims, and how many of our rows they hold for", headers, rows)


def _trials(table: PaperTable, claims: Sequence[Claim]) -> Grid:
    by_field = any(not trial.other for claim in claims for trial in claim.trials)
    several = len(table.fields) > 1
    fields = [field_name(field) for field in table.fields] if several else []
    headers = ["Model and budget", "Method", *([] if by_field else ["Against"])]
    headers += fields if by_field else [f"Δ {name}" for name in fields]
    headers += ["Fall per place" if by_field else "Δ" if not several else "Δ together", "Seeds", "Verdict"]
    rows = []
    for claim in claims:
        for trial in claim.trials:
            parts = [_part(trial.parts.get(field), by_field) for field in table.fields] if several else []
            named = [trial.table, trial.label, *([] if by_field else [trial.other])]
            rows.append(
                [*named, *parts, Shown(with_interval(trial.whole, 3, "+")), str(len(trial.seeds)), trial.verdict]
            )
    notes = () if rows else ("No record.",)
    if by_field:
        notes = (
            *notes,
            "The fields always stand in this order here, so place and kind of fact cannot be told apart: a fall may as "
            "well be that universities are harder to learn than cities. The paper moves the fields around in its "
            "Figure 1; `benchmark people --order shuffled` makes people whose facts stand in an order of their own.",
        )
    return Grid("Every trial of a claim", headers, rows, notes=notes)


def _part(score: Estimate | None, by_field: bool) -> str:
    return Shown(short_number(score.mean, 2) if by_field and score else with_interval(score, 2, "+"))


def _markdown_grid(grid: Grid, folder: Path) -> str:
    rows = [[cell if isinstance(cell, Shown) else markdown_text(cell) for cell in row] for row in grid.rows]
    headers = [markdown_text(header) for header in grid.headers]
    if grid.files and any(grid.files):
        rows = [[*row, _links(files, folder)] for row, files in zip(rows, grid.files, strict=True)]
        headers = [*headers, "Records"]
    return markdown_grid(headers, rows, left=len(headers))


def _links(files: Sequence[Path], folder: Path) -> str:
    return " ".join(f"[{n}]({record_url(path, folder)})" for n, path in enumerate(files, start=1)) or "–"


def _rich_grid(grid: Grid) -> Table:
    """The table without columns that hold nothing, and without telling the first column's text again."""
    told = [n for n in range(len(grid.headers)) if any(row[n] != "–" for row in grid.rows)]
    view = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for n in told:
        view.add_column(Text(clean(grid.headers[n])), overflow="fold")
    last = None
    for row in grid.rows:
        cells = [clean(row[n]) for n in told]
        shown = ["" if cells[0] == last else cells[0], *cells[1:]]
        view.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in shown))
        last = cells[0]
    return view
