"""The columns of the board, each declared once: its key, value, format, heading, explanation and views.

Every view reads these declarations: the terminal, the Markdown page, board.csv, the exported table `board` and the web
page. A new column is one entry in COLUMNS and one test. People see columns in the order of COLUMNS; board.csv and the
export begin with the columns that programs already read (CSV_ORDER, EXPORT_ORDER), and new columns follow.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from leaderboard.board.answers import OTHER_METRICS
from leaderboard.board.model import BoardTable, with_shots
from leaderboard.stats.comparisons import BASELINE, RANDOM
from leaderboard.stats.intervals import Estimate
from leaderboard.views.column import FILES, NOWHERE, PAGE, READ, Column, Line, View
from leaderboard.views.formats import (
    Comparison,
    DifferenceScore,
    DistanceRow,
    Format,
    Interval,
    Json,
    Number,
    RetentionScore,
    Score,
    Span,
    Words,
)
from leaderboard.views.text import field_name, record_url, relative

OTHER_HEADINGS = {
    "paraphrased": "Paraphrased",
    "reverse": "Reverse",
    "two_hop": "Two hops",
    "one_hop": "One hop",
    "first_born": "First born",
}


def columns(view: View, tables: Sequence[BoardTable]) -> list[Column]:
    """The columns of a view in their order, with the parts that the tables have."""
    shown: list[Column] = []
    for column in _in_order(view):
        shown += column.parts(tables) if column.parts and view in column.parts_in else [column]
    return shown


def _in_order(view: View) -> list[Column]:
    """The columns of a view, without their parts."""
    first = {View.CSV: CSV_ORDER, View.EXPORT: EXPORT_ORDER}.get(view, ())
    places = {key: place for place, key in enumerate(first)}
    return sorted(
        (column for column in COLUMNS if view in column.views), key=lambda column: places.get(column.key, len(places))
    )


def _score(metric: str) -> Callable[[Line], Any]:
    return lambda line: line.row.scores.get(metric)


def _fact(name: str) -> Callable[[Line], Any]:
    return lambda line: getattr(line.row.facts, name, None)


def _writing(name: str) -> Callable[[Line], Any]:
    return lambda line: getattr(line.row.writing, name, None)


def _fields(tables: Sequence[BoardTable]) -> list[Column]:
    """A column for each field: its exact match."""

    def column(field: str) -> Column:
        return Column(
            key=f"exact_match_{field}",
            format=Score(brief=True),
            views=NOWHERE,
            value=lambda line: line.row.fields.get(field),
            heading=field_name(field),
            part_of="fields",
            short=" ".join(word if len(word) <= 5 else f"{word[:4]}." for word in field_name(field).split()),
            width=5,
        )

    return [column(field) for field in dict.fromkeys(field for table in tables for field in table.fields)]


def other_questions(scores: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The scores of other questions than the direct ones, by their metric."""
    return {metric: scores[metric] for metric in OTHER_METRICS if metric in scores}


def _other_questions(tables: Sequence[BoardTable]) -> list[Column]:
    """A column for each kind of other questions that the tables ask: their exact match."""

    def column(metric: str) -> Column:
        return Column(
            key=metric,
            format=Score(),
            views=NOWHERE,
            value=_score(metric),
            heading=OTHER_HEADINGS[metric],
            part_of="other_questions",
        )

    asked = {metric for table in tables for row in table.rows for metric in row.scores}
    return [column(metric) for metric in OTHER_METRICS if metric in asked]


def _shots(tables: Sequence[BoardTable]) -> list[Column]:
    """A column for each number of examples: the exact match with it."""

    def column(shots: int) -> Column:
        return Column(
            key=with_shots(shots),
            format=Score(),
            views=NOWHERE,
            value=lambda line: line.row.by_shots.get(shots),
            heading=f"{shots} shots",
            part_of="by_shots",
        )

    numbers = {shots for table in tables for row in table.rows for shots in row.by_shots}
    return [column(shots) for shots in sorted(numbers)]


def _retention(tables: Sequence[BoardTable]) -> list[Column]:
    """A column for each held-out text or task and its metric: the change for the worse."""

    def column(label: str, metric: str) -> Column:
        def change(line: Line) -> Any:
            measured = any((one.label, one.metric) == (label, metric) for one in line.table.held_out)
            return line.row.retention.get(label) if measured else None

        return Column(
            key=f"forgetting_{label}_{metric}",
            format=RetentionScore(),
            views=NOWHERE,
            value=change,
            heading=label,
            part_of="retention",
        )

    held_out = dict.fromkeys((one.label, one.metric) for table in tables for one in table.held_out)
    return [column(label, metric) for label, metric in held_out]


COLUMNS = (
    Column(
        key="rank",
        format=Format(int),
        views=READ | FILES,
        heading="Rank",
        short="#",
        rising=True,
        explanation="1 + the number of rows with a higher exact match. ≈ marks rows that do not differ "
        "significantly from the first (paired tests against it, p ≥ .05 after Holm's correction).",
    ),
    Column(
        key="label",
        format=Format(),
        views=READ | FILES | View.MARKDOWN_WAYS | View.MARKDOWN_COPIES | View.MARKDOWN_WRITERS,
        heading="Method",
        width=24,
    ),
    Column(
        key="exact_match",
        format=Score(Interval),
        views=READ | FILES,
        value=_score("exact_match"),
        heading="Exact match",
        explanation="the share of questions answered exactly, after SQuAD normalisation: the mean over all fields. The "
        "columns of single fields show it as well.",
    ),
    Column(
        key="shots",
        format=Format(int),
        views=READ | FILES,
        heading="Shots",
        rising=True,
        explanation="the number of examples before a question. Questions are asked with several numbers of examples; a "
        "row shows the number with the highest exact match on its development half.",
    ),
    Column(
        key="f1",
        format=Score(),
        views=View.MARKDOWN | View.PAGE_WIDE | FILES,
        value=_score("f1"),
        heading="F1",
        explanation="the mean over all fields, after SQuAD normalisation.",
    ),
    Column(
        key="by_shots",
        format=Json(dict[int, Interval]),
        views=View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        parts=_shots,
        parts_in=View.MARKDOWN_WAYS | View.PAGE_WIDE,
    ),
    Column(
        key="answered",
        format=Score(),
        views=View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        value=_score("answered"),
        heading="Answered",
        explanation="the share of answers of the kind that is asked for, right or wrong: a date, or a value that the "
        "field has for some person.",
    ),
    Column(
        key="of_answered",
        format=Number(float | None),
        views=View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        heading="Of answered",
        explanation="the exact match among the questions that were answered in this sense.",
    ),
    Column(
        key="acc",
        format=Score(),
        views=View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        value=_score("acc"),
        heading="Choice",
        explanation="the share of questions for which the true value is likelier than the values of other people.",
    ),
    Column(key="acc_norm", format=Score(), views=FILES, value=_score("acc_norm")),
    Column(
        key="cloze",
        format=Score(),
        views=View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        value=_score("cloze"),
        heading="Cloze",
        explanation="the share of facts that the model writes when it continues its own training text.",
    ),
    Column(
        key="other_questions",
        format=Json(dict[str, Interval]),
        views=View.TERMINAL_WAYS | View.MARKDOWN_WAYS | View.PAGE_WIDE | FILES,
        value=lambda line: other_questions(line.row.scores),
        parts=_other_questions,
        parts_in=View.TERMINAL_WAYS | View.MARKDOWN_WAYS | View.PAGE_WIDE | View.CSV,
        heading="Paraphrased, reverse, two hops, one hop, first born",
        explanation="the exact match of other questions, with the row's number of examples: the same fact in other "
        "words; from two facts to the name; the city of the university that a person attended, which takes two "
        "documents; as a control of this, the city of the university; and who of two people was born first, where "
        "chance is .5. They do not count in the exact match that ranks the rows.",
    ),
    Column(
        key="fields",
        format=Json(dict[str, Interval]),
        views=View.TERMINAL | View.MARKDOWN | View.PAGE_WIDE | FILES,
        parts=_fields,
        parts_in=View.TERMINAL | View.MARKDOWN | View.PAGE_WIDE | View.CSV,
    ),
    Column(
        key="to_baseline",
        format=DifferenceScore(),
        views=READ | FILES,
        heading=f"Δ to {BASELINE}",
        short=f"Δ to {BASELINE}",
        width=19,
        csv="difference",
        explanation=f"the exact match minus that of `{BASELINE}`, which trains for the same number of steps on the "
        "originals alone, paired by seed and subject. ▲ and ▼ mark differences with p < .05 after Holm's correction "
        "over the rows that are compared with the same row. The interval is of the single difference, uncorrected.",
    ),
    Column(
        key="to_random",
        format=DifferenceScore(),
        views=View.MARKDOWN | PAGE | FILES,
        heading=f"Δ to {RANDOM}",
        explanation=f"the same for `{RANDOM}`: for the row with the same α if there is one, else for the row that is "
        "best on the development half; of several, the row that reads most nearly as many tokens.",
    ),
    Column(key="also", format=Json(dict[str, Comparison]), views=View.EXPORT),
    Column(
        key="seeds",
        format=Words(list[int]),
        views=READ | FILES,
        heading="Seeds",
        explanation="link to the records. A Parquet file with every single answer lies beside each record.",
    ),
    Column(
        key="steps",
        format=Span(),
        views=View.MARKDOWN | View.PAGE_WIDE | FILES,
        heading="Steps",
        rising=True,
        explanation="optimizer steps.",
    ),
    Column(
        key="tokens",
        format=Number(float, digits=0, pattern="{:,.0f}"),
        views=View.MARKDOWN | PAGE | FILES,
        heading="Tokens",
        rising=True,
        explanation="tokens read in training.",
    ),
    Column(
        key="texts",
        format=Span(),
        views=View.MARKDOWN | View.PAGE_WIDE | FILES,
        heading="Texts",
        rising=True,
        explanation="training texts, originals and copies together.",
    ),
    Column(
        key="seconds",
        format=Number(float | None, digits=3, pattern="{:,.0f} s"),
        views=View.MARKDOWN | View.PAGE_WIDE | FILES,
        heading="Training",
        rising=True,
        csv="training_seconds",
        export="training_seconds",
        explanation="the mean seconds of a seed on the machine that trained it, with those of a teacher's targets, "
        "without those of token scores.",
    ),
    Column(
        key="facts_answer",
        format=Number(float | None),
        views=View.MARKDOWN_COPIES | FILES,
        value=_fact("answer"),
        heading="answer whole",
        csv="kept_answer",
        explanation="the share of facts whose answer stands whole in a copy.",
    ),
    Column(
        key="facts_answer_and_name",
        format=Number(float | None),
        views=View.MARKDOWN_COPIES | FILES,
        value=_fact("answer_and_name"),
        heading="answer and name",
        csv="kept_answer_and_name",
        explanation="the share of facts whose answer and name stand whole in a copy.",
    ),
    Column(
        key="facts_tokens",
        format=Number(float | None, sign="+"),
        views=View.MARKDOWN_COPIES | FILES,
        value=_fact("tokens"),
        heading="tokens against the original",
        csv="kept_tokens",
        explanation="by how much copies are longer than their originals, in tokens.",
    ),
    Column(
        key="writer",
        format=Format(str | None),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("writer"),
        heading="Writer",
        explanation="the language model that wrote the copies, by its name in the suite. `trained` is the trained "
        "model itself, before training.",
    ),
    Column(
        key="writer_model",
        format=Format(str | None),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("model"),
        heading="Writer's model",
    ),
    Column(
        key="written_texts",
        format=Number(float | None, digits=0, pattern="{:,.0f}"),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("texts"),
        heading="Written texts",
        explanation="texts that the writer wrote and that can be used, of all parts of `mixed`. All seeds share them.",
    ),
    Column(
        key="left_out",
        format=Number(float | None, digits=0, pattern="{:,.0f}"),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("left_out"),
        heading="Left out",
        rising=True,
        explanation="texts that are missing, since no answer of the writer could be used after all tries; in `mixed`, "
        "another part takes their place.",
    ),
    Column(
        key="written_prompt_tokens",
        format=Number(float | None, digits=0, pattern="{:,.0f}"),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("prompt_tokens"),
        heading="Tokens in",
        rising=True,
        explanation="tokens of all prompts to the writer.",
    ),
    Column(
        key="written_tokens",
        format=Number(float | None, digits=0, pattern="{:,.0f}"),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("tokens"),
        heading="Tokens out",
        rising=True,
        explanation="tokens of all answers of the writer, also of those that could not be used.",
    ),
    Column(
        key="writing_seconds",
        format=Number(float | None, digits=3, pattern="{:,.0f} s"),
        views=View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("seconds"),
        heading="Writing",
        rising=True,
        explanation="seconds in which the texts were written. They are not divided by seeds and rows that share the "
        "texts: `mixed`, for example, shows the seconds of all its parts, which the rows of these methods show as "
        "well.",
    ),
    Column(
        key="invented",
        format=Number(float | None),
        views=View.MARKDOWN_COPIES | View.MARKDOWN_WRITERS | View.PAGE_WIDE | FILES,
        value=_writing("invented"),
        heading="Invented",
        rising=True,
        explanation="the share of names and numbers in the copies that their originals do not have.",
    ),
    Column(
        key="retention",
        format=Json(dict[str, Interval]),
        views=FILES,
        parts=_retention,
        parts_in=View.CSV,
        export="forgetting",
    ),
    # Columns of files alone.
    Column(key="table", format=Format(), views=FILES, value=lambda line: line.table.title),
    Column(key="task", format=Format(), views=FILES, value=lambda line: line.table.task),
    Column(key="model", format=Format(), views=FILES, value=lambda line: line.table.model),
    Column(key="budget", format=Format(), views=FILES, value=lambda line: line.table.budget),
    Column(key="suites", format=Words(list[str]), views=FILES, value=lambda line: line.table.suites),
    Column(key="conditions", format=Json(dict[str, Any]), views=FILES, value=lambda line: line.table.conditions),
    Column(key="questions", format=Format(int), views=FILES, value=lambda line: line.table.questions),
    Column(key="subjects", format=Format(int), views=FILES, value=lambda line: line.table.subjects),
    Column(key="method", format=Format(), views=FILES),
    Column(key="parameters", format=Json(dict[str, Any]), views=FILES),
    Column(key="chosen", format=Json(dict[str, Any]), views=View.EXPORT),
    Column(key="tried", format=Format(int), views=FILES),
    Column(key="copies", format=Format(int), views=FILES),
    Column(key="pair", format=Format(str | None), views=FILES),
    Column(key="among_first", format=Format(bool), views=FILES),
    Column(key="best", format=Format(bool), views=View.EXPORT, value=lambda line: line.table.is_best(line.row)),
    Column(key="confirmed", format=Format(bool), views=FILES),
    Column(key="curve", format=Json(dict[int, float], skip_empty=True), views=FILES),
    Column(key="by_distance", format=Json(list[DistanceRow]), views=View.EXPORT),
    Column(key="loss_tokens", format=Number(float | None, digits=0, pattern="{:,.0f}"), views=FILES),
    Column(key="epochs", format=Number(float, digits=4, pattern="{:.1f}"), views=FILES),
    Column(
        key="files",
        format=Words(list[str]),
        views=View.EXPORT,
        value=lambda line: [relative(path, line.folder) for path in line.row.files],
    ),
    Column(
        key="records",
        format=Words(list[str]),
        views=View.CSV,
        value=lambda line: [record_url(path, line.folder) for path in line.row.files],
    ),
)

# The order that programs know; columns that are not listed follow.
CSV_ORDER = (
    *("table", "task", "model", "budget", "suites", "method", "label", "parameters", "tried", "copies", "pair", "rank"),
    *("among_first", "shots", "confirmed", "seeds", "questions", "subjects", "exact_match", "f1", "answered", "acc"),
    *("acc_norm", "cloze", "of_answered", "by_shots", "facts_answer", "facts_answer_and_name", "facts_tokens"),
    *("to_baseline", "to_random", "fields", "retention", "steps", "texts", "curve", "tokens", "epochs", "loss_tokens"),
    *("seconds", "conditions", "records"),
)
EXPORT_ORDER = (
    *("table", "task", "model", "budget", "suites", "conditions", "label", "method", "parameters", "chosen", "tried"),
    *("copies", "pair", "seeds", "files", "questions", "subjects", "best", "confirmed", "shots", "by_shots"),
    *("exact_match", "f1", "answered", "of_answered", "acc", "acc_norm", "cloze", "facts_answer"),
    *("facts_answer_and_name", "facts_tokens", "rank", "among_first", "to_baseline", "to_random", "also", "fields"),
    *("retention", "curve", "by_distance", "tokens", "loss_tokens", "epochs", "steps", "texts", "seconds"),
)
