"""Shows the reproduction in a terminal, as Markdown (docs/reproduction.md) and as JSON."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.core.errors import clean
from leaderboard.board.choice import RecordFile
from leaderboard.board.labels import short_number
from leaderboard.paper import seal
from leaderboard.paper.claims import CLAIM_RULE, Claim, Verdict, comparisons, distance
from leaderboard.paper.parts import Grid, Markdown, Section
from leaderboard.paper.published import Paper, PaperTable, lm_eval_task
from leaderboard.paper.reproduction import (
    PAPER_METRICS,
    PAPER_SHOTS,
    RULE,
    BoardRow,
    Finding,
    board_rows,
    data_of,
    findings,
    parameters_text,
)
from leaderboard.stats.comparisons import BASELINE, PAPER_METHODS
from leaderboard.stats.intervals import DRAWS, Estimate
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import field_name, record_url, with_interval

HEAD = "Generated from the records by `benchmark reproduce --out`; do not edit by hand."
STYLES = {"agrees": "green", "holds": "green", "disagrees": "red", "does not hold": "red"}


def reproduce(
    paper: Paper, tables: Sequence[str], records: Sequence[RecordFile]
) -> tuple[list[Section], dict[str, Any]]:
    """Compare the named tables with the records: the paper's, and SEAL's ladder (`seal`).

    Returns:
        Sections for readers, and the same as JSON values.
    """
    ours = board_rows(records)
    bare = [row for with_examples in ours if (row := with_examples.asked_with(0))]
    sections, tables_json = [], {}
    for name in tables:
        if name == seal.NAME:
            section, tables_json[name] = seal.section(seal.read_ladder(), ours)
            sections.append(section)
            continue
        table = paper.tables[name]
        of_table = findings(paper, table, ours)
        by_field = "birth_date" in table.fields
        claims, bare_claims = (
            [distance(paper, table, rows)] if by_field else comparisons(paper, table, rows) for rows in (ours, bare)
        )
        rows = [row for row in ours if row.records[0].task.name in table.tasks and _is_shown(row, by_field)]
        sections.append(_section(paper, name, of_table, rows, claims, bare_claims))
        tables_json[name] = {
            "rows": [finding.model_dump(mode="json") for finding in of_table],
            "claims": [
                {
                    **claim.model_dump(mode="json", exclude={"trials"}),
                    "trials": [{**trial.model_dump(mode="json"), "verdict": trial.verdict} for trial in claim.trials],
                }
                for claim in claims
            ],
        }
    return sections, {"source": paper.source, "rule": RULE, "claim_rule": CLAIM_RULE, "tables": tables_json}


def markdown(sections: Sequence[Section], paper: Paper, folder: Path) -> str:
    """The sections as a Markdown page for `folder`; links to folders of records are relative to it."""
    judged = any(section.judged for section in sections)
    rules = f"{markdown_text(paper.source)}\n\n{_rules()}" if judged else ""
    parts = [f"# Reproduction of the paper's tables\n\n{HEAD}\n\n{rules}"]
    for section in sections:
        parts.append(f"## {markdown_text(section.title)}\n")
        parts += [f"{note}\n" for note in section.notes]
        for grid in section.grids:
            parts.append(f"### {markdown_text(grid.title)}\n")
            if grid.rows:
                parts.append(_markdown_grid(grid, folder) + "\n")
            parts += [f"{note}\n" for note in grid.notes]
        if section.commands:
            parts.append("To run what is missing and update this page:\n")
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
    for rule in (RULE, CLAIM_RULE) if any(section.judged for section in sections) else ():
        console.print(Text(f"\n{rule}", style="dim"))


def _rules() -> str:
    return (
        f"**Verdicts on numbers.** {RULE}\n\n**Verdicts on claims.** {CLAIM_RULE}\n\nOur numbers are measured on "
        f"the test half, with {PAPER_SHOTS} examples in the prompt as in the paper, or, where a row has no answers of "
        "that kind, with the number in its column *examples*. A second count of the claims is without examples. 95% "
        f"intervals are of {DRAWS:,} bootstrap draws over seeds and subjects (people or paragraphs), written as mean "
        "[low, high]. Pairs are exact match / F1.\n"
    )


def _is_shown(row: BoardRow, plain_alone: bool) -> bool:
    return row.row.method in (("plain", BASELINE) if plain_alone else PAPER_METHODS)


def _section(
    paper: Paper,
    name: str,
    of_table: list[Finding],
    rows: Sequence[BoardRow],
    claims: Sequence[Claim],
    bare_claims: Sequence[Claim],
) -> Section:
    table = paper.tables[name]
    counts = Counter(finding.verdict for finding in of_table)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("agrees", "disagrees", "not run"))
    notes = [f"{len(of_table)} numbers: {verdicts}."]
    if table.note:
        notes.append(f"{table.note[0].upper()}{table.note[1:]}.")
    notes += [
        f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(finding.note for finding in of_table if finding.note)
    ]
    notes += _contradictions(paper, name)
    commands = list(dict.fromkeys(finding.command for finding in of_table if finding.verdict == "not run"))
    return Section(
        title=f"{name.replace('table', 'Table ')}: {table.title}",
        notes=tuple(notes),
        grids=(
            _numbers(of_table),
            _our_rows(paper, table, rows),
            _summary(claims, bare_claims),
            _trials(table, claims),
        ),
        commands=(*commands, "benchmark reproduce --out docs/reproduction.md") if commands else (),
    )


def _contradictions(paper: Paper, name: str) -> list[str]:
    """How far the paper's two tables with plain fine-tuning differ, which shows how exact its numbers are."""
    notes = []
    for other, table in paper.tables.items():
        gaps = []
        for model, info in paper.models.items():
            scores, other_scores = (paper.tables[key].exact_match(model, "plain") for key in (name, other))
            for field in sorted(scores.keys() & other_scores.keys()) if other != name else ():
                gap = round(abs(scores[field] - other_scores[field]), 9)
                gaps.append((gap, f"{info.title}, {field_name(field)}", scores[field], other_scores[field]))
        if gaps and table.task == paper.tables[name].task:
            _, where, value, other_value = max(gaps)
            notes.append(
                f"The paper gives {len(gaps)} exact matches of plain fine-tuning both here and in "
                f"{other.replace('table', 'Table ')}; {sum(gap > 0 for gap, *_ in gaps)} of them differ, "
                f"most in {where}: "
                f"{short_number(value, 2)} here, {short_number(other_value, 2)} there."
            )
    return notes


def _numbers(of_table: Sequence[Finding]) -> Grid:
    headers = ["Model", "Method", "α, β", "Field", "Paper", "Ours, exact match", "Ours, F1", "Verdict", "Why"]
    rows = []
    for finding in of_table:
        scores = finding.ours.scores if finding.ours else {}
        digits = 2 if finding.field != "all" else 3
        paper = " / ".join(short_number(finding.paper[metric], digits) for metric in PAPER_METRICS)
        rows.append(
            [
                *(finding.model, finding.method, parameters_text(finding.parameters), field_name(finding.field), paper),
                *(Markdown(with_interval(scores.get(metric))) for metric in PAPER_METRICS),
                *(finding.verdict, finding.why),
            ]
        )
    files = [finding.ours.files if finding.ours else () for finding in of_table]
    return Grid("The paper's numbers", headers, rows, files)


def _our_rows(paper: Paper, table: PaperTable, rows: Sequence[BoardRow]) -> Grid:
    hubs = {model.hub.lower() for model in paper.models.values()}
    fields = [field_name(field) for field in table.fields]
    headers = ["Model and budget", "Method", "Data", "Examples", *fields, "Seeds"]
    lines, files = [], []
    for row in rows:
        if str(row.records[0].model.spec.get("model", "")).lower() in hubs:
            continue
        pairs = []
        for field in table.fields:
            task = lm_eval_task(row.records[0].task.name, field)
            pairs.append(Markdown(" / ".join(with_interval(row.score(metric, task), 2) for metric in PAPER_METRICS)))
        named = [row.table.title, row.row.label, data_of(paper, row.records[0]), str(row.shots)]
        lines.append([*named, *pairs, str(len(row.row.seeds))])
        files.append(row.row.files)
    notes = () if lines else ("No record.",)
    return Grid("Our rows with models that the paper does not use", headers, lines, files, notes)


def _summary(claims: Sequence[Claim], bare_claims: Sequence[Claim]) -> Grid:
    """How often each claim holds; `bare_claims` are the same claims on answers without examples."""
    verdicts: tuple[Verdict, ...] = ("holds", "does not hold", "undecided")
    headers = ["Claim", "In the paper's numbers", "Holds", "Does not hold", "Undecided"]
    headers += [f"{verdict.capitalize()}, without examples" for verdict in verdicts]
    rows = []
    for claim, bare in zip(claims, bare_claims, strict=True):
        evidence = claim.backing
        paper = "not in the paper"
        if evidence:
            paper = f"{evidence.holds} of {evidence.cells}, mean {short_number(evidence.mean, 3, '+')}"
        counts = [str(one.count(verdict)) for one in (claim, bare) for verdict in verdicts]
        rows.append([claim.text, paper, *counts])
    return Grid("Claims, and the number of our rows for which they hold", headers, rows)


def _trials(table: PaperTable, claims: Sequence[Claim]) -> Grid:
    by_field = any(not trial.other for claim in claims for trial in claim.trials)
    several = len(table.fields) > 1
    fields = [field_name(field) for field in table.fields] if several else []
    headers = ["Model and budget", "Method", *([] if by_field else ["Against"])]
    headers += fields if by_field else [f"Δ {name}" for name in fields]
    headers += ["Fall per position" if by_field else "Δ" if not several else "Δ over all fields", "Seeds", "Verdict"]
    rows = []
    for claim in claims:
        for trial in claim.trials:
            parts = [_part(trial.parts.get(field), by_field) for field in table.fields] if several else []
            named = [trial.table, trial.label, *([] if by_field else [trial.other])]
            rows.append(
                [*named, *parts, Markdown(with_interval(trial.whole, 3, "+")), str(len(trial.seeds)), trial.verdict]
            )
    notes = () if rows else ("No record.",)
    if by_field:
        notes = (
            *notes,
            "These texts always state the fields in this order, so the position of a fact is confounded with its kind: "
            "a fall can also mean that universities are harder to learn than cities. The paper permutes the fields in "
            "its Figure 1; `benchmark people --order shuffled` makes people whose facts stand in random order.",
        )
    return Grid("Every trial of a claim", headers, rows, notes=notes)


def _part(score: Estimate | None, by_field: bool) -> str:
    return Markdown(short_number(score.mean, 2) if by_field and score else with_interval(score, 2, "+"))


def _markdown_grid(grid: Grid, folder: Path) -> str:
    rows = [[cell if isinstance(cell, Markdown) else markdown_text(cell) for cell in row] for row in grid.rows]
    headers = [markdown_text(header) for header in grid.headers]
    if grid.files and any(grid.files):
        rows = [[*row, _links(files, folder)] for row, files in zip(rows, grid.files, strict=True)]
        headers = [*headers, "Records"]
    return markdown_grid(headers, rows, left=len(headers))


def _links(files: Sequence[Path], folder: Path) -> str:
    """How many records a row has, with a link to each folder that holds them: a link for each would fill the page."""
    counts = Counter(path.parent for path in files)
    links = [
        f"{count} in [{markdown_text(where.name)}]({record_url(where, folder)})" for where, count in counts.items()
    ]
    return ", ".join(links) or "–"


def _rich_grid(grid: Grid) -> Table:
    """The table without empty columns; a text that repeats in the first column is shown once."""
    filled = [n for n in range(len(grid.headers)) if any(row[n] != "–" for row in grid.rows)]
    view = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for n in filled:
        view.add_column(Text(clean(grid.headers[n])), overflow="fold")
    previous = None
    for row in grid.rows:
        cells = [clean(row[n]) for n in filled]
        shown = ["" if cells[0] == previous else cells[0], *cells[1:]]
        view.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in shown))
        previous = cells[0]
    return view
