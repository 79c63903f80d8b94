"""Hostile submissions, each of which must be refused, and the error that refuses it.

    python -m scripts.hostile_submissions      (in the folder of the project)

Each is a valid record with the change that its name describes. Changes are covered up where that is possible: counts,
means and hashes are computed again. Exit code 1 if a submission was accepted. The tests use the same submissions.
"""

import hashlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark import ROOT
from benchmark.core.errors import clean
from benchmark.core.files import file_hash
from benchmark.evaluation.shipped import SHIPPED
from benchmark.records.record import METRICS
from leaderboard.submission.submit import submit

RESULTS = ROOT / "leaderboard" / "results" / "shots"
ESCAPE, OVERRIDE = "\x1b]0;owned\x07\x1b[31m", "\u202e"


class Draft:
    """A valid record and the rows of its answers, to change and then write to `folder` as `stem`.json."""

    def __init__(self, folder: Path) -> None:
        valid = min(RESULTS.glob("*-plain_matched-400_steps-seed1-*.json"))
        self.folder, self.stem = folder, valid.stem
        self.content: dict[str, Any] = json.loads(valid.read_text(encoding="utf-8"))
        table = pq.read_table(valid.with_name(self.content["answers"]["file"]))
        self.rows: list[dict[str, Any]] = table.to_pylist()
        self.schema = table.schema

    def put(self, field: str, value: Any) -> "Draft":
        """Set a field of the record by its dotted path."""
        *path, last = field.split(".")
        inner = self.content
        for part in path:
            inner = inner[part]
        inner[last] = value
        return self

    def new_cell(self, cell: str) -> "Draft":
        """Give the record another key, the file name that belongs to it, and a training of its own."""
        self.content["stages"]["train"] = cell
        self.stem = f"{self.stem[:-8]}{cell[:8]}"
        return self.put("cell", cell)

    def rescore(self) -> "Draft":
        """Compute counts and means again from the rows."""
        values: dict[tuple[str, str, str, str], list[float]] = {}
        for row in self.rows:
            for metric in METRICS:
                if row[metric] is not None and row[metric] == row[metric]:
                    values.setdefault((row["task"], str(row["shots"]), row["half"], metric), []).append(row[metric])
        scores: dict[str, Any] = {}
        for (task, shots, half, metric), of_metric in values.items():
            means = scores.setdefault(task, {}).setdefault(shots, {}).setdefault(half, {})
            means[metric] = round(sum(of_metric) / len(of_metric), 6)
        self.put("scores", scores).put("answers.rows", len(self.rows)).put("task.questions", len(self.rows))
        return self.put("task.clusters", len({row["cluster"] for row in self.rows}))

    def rewritten(self) -> "Draft":
        """Let a writer write the copies, of which the record has the hash of one stage."""
        self.content["stages"]["write"] = "3" * 64
        self.content["cost"]["write"] = {"seconds": 60.0, "peak_memory_bytes": 2**30}
        model = {"name": "qwen", "spec": {"model": "Qwen/Qwen2.5-1.5B"}, "fingerprint": "1" * 64, "parameters": None}
        return self.put(
            "written",
            {
                "writer": "qwen",
                "model": model,
                "api_model": None,
                "sampling": {"temperature": 0.8, "seed": 1},
                "texts": 100,
                "samples": 120,
                "left_out": {"cut": 5},
                "drawn_again": {"cut": 12, "empty": 3},
                "gold_questions": 0,
                "prompt_tokens": 20_000,
                "tokens": 9_000,
                "invented": 0.25,
                "sha256": ["2" * 64],
            },
        )

    def write(self, table: pa.Table | None = None, **options: Any) -> Path:
        """Write the answers (the rows, or another table) and the record, with matching hashes; returns its path."""
        path, answers = self.folder / f"{self.stem}.json", self.folder / f"{self.stem}.answers.parquet"
        table = pa.Table.from_pylist(self.rows, schema=self.schema) if table is None else table
        pq.write_table(table, answers, compression="zstd", **options)
        self.content["answers"] |= {"file": self.content["answers"]["file"], "sha256": file_hash(answers)}
        if "/" not in self.content["answers"]["file"]:
            self.content["answers"]["file"] = answers.name
        body = {key: value for key, value in self.content.items() if key != "sha256"}
        self.content["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(self.content), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Hostile:
    """A submission: `make` writes it and returns the paths to submit; the error contains `message`."""

    name: str
    message: str
    make: Callable[[Draft], list[Path]]


def _content(name: str, message: str, field: str, value: Any) -> Hostile:
    """A field of the record has another value, and the hash is computed again."""
    return Hostile(name, message, lambda draft: [draft.put(field, value).write()])


def _written(name: str, message: str, field: str, value: Any) -> Hostile:
    """A field of what a writer wrote has another value, and the hash is computed again."""
    return Hostile(name, message, lambda draft: [draft.rewritten().put(f"written.{field}", value).write()])


def _rows(name: str, message: str, change: Callable[[list[dict[str, Any]]], None]) -> Hostile:
    """The answers are changed, and counts, means and hashes are computed again."""

    def make(draft: Draft) -> list[Path]:
        change(draft.rows)
        return [draft.rescore().write()]

    return Hostile(name, message, make)


def _text(name: str, message: str, change: Callable[[str], str]) -> Hostile:
    """The record's file is changed after its hash was computed."""

    def make(draft: Draft) -> list[Path]:
        path = draft.write()
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        return [path]

    return Hostile(name, message, make)


def _file(name: str, message: str, change: Callable[[Path, Path], list[Path]]) -> Hostile:
    """`change` gets the paths of a valid record and its answers, and returns the paths to submit."""

    def make(draft: Draft) -> list[Path]:
        path = draft.write()
        return change(path, path.with_name(draft.content["answers"]["file"]))

    return Hostile(name, message, make)


def _wrong(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the test half with a wrong written answer."""
    return [row for row in rows if row["exact_match"] == 0 and row["half"] == "test"]


def _call_right(rows: list[dict[str, Any]]) -> None:
    for row in _wrong(rows):
        row.update(exact_match=1.0, f1=1.0)


def _leave_out(rows: list[dict[str, Any]]) -> None:
    wrong = {id(row) for row in _wrong(rows)[:40]}
    rows[:] = [row for row in rows if id(row) not in wrong]


def _move_half(rows: list[dict[str, Any]]) -> None:
    subject = _wrong(rows)[0]["cluster"]
    for row in rows:
        if row["cluster"] == subject:
            row["half"] = "development"


def _ask_twice(rows: list[dict[str, Any]]) -> None:
    rows.append(dict(next(row for row in rows if row["exact_match"] == 1)))


def _ask_another(rows: list[dict[str, Any]]) -> None:
    rows.append({**rows[0], "question": "person-99999:company"})


def _answer_all(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["answered"] == 0:
            row["answered"] = 1.0


def _ask_with_seven(rows: list[dict[str, Any]]) -> None:
    rows.extend({**row, "shots": 7} for row in rows[:] if (row["exact_match"], row["shots"]) == (1, 0))


def _set(**values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: _wrong(rows)[0].update(values)


def _edited_answers(path: Path, answers: Path) -> list[Path]:
    table = pq.read_table(answers)
    pq.write_table(
        table.set_column(
            table.column_names.index("exact_match"), "exact_match", pa.array([1.0] * table.num_rows, pa.float32())
        ),
        answers,
    )
    return [path]


def _link(path: Path, answers: Path) -> list[Path]:
    path.unlink()
    path.symlink_to("/etc/passwd")
    return [path]


def _linked_answers(path: Path, answers: Path) -> list[Path]:
    moved = answers.rename(answers.with_name("elsewhere"))
    answers.symlink_to(moved)
    return [path]


def _pipe(path: Path, answers: Path) -> list[Path]:
    path.unlink()
    os.mkfifo(path)
    return [path]


def _no_answers(path: Path, answers: Path) -> list[Path]:
    answers.unlink()
    return [path]


def _program_beside(path: Path, answers: Path) -> list[Path]:
    (path.parent / "run.sh").write_text("touch /tmp/owned\n", encoding="utf-8")
    return [path.parent]


def _pickled(path: Path, answers: Path) -> list[Path]:
    path.write_bytes(pickle.dumps({"cell": "1"}))
    return [path]


def _many_rows(draft: Draft) -> list[Path]:
    return [draft.write(pa.table([pa.nulls(1_000_001, kind) for kind in draft.schema.types], schema=draft.schema))]


def _bomb(draft: Draft) -> list[Path]:
    """A text of a megabyte that is stored once and used 4,000 times; the footer counts one."""
    megabyte = pa.DictionaryArray.from_arrays(pa.array([0] * 4_000, pa.int32()), ["x" * 2**20])
    columns = [
        megabyte if name == "answer" else pa.nulls(4_000, draft.schema.field(name).type) for name in draft.schema.names
    ]
    return [draft.write(pa.table(columns, names=draft.schema.names), store_schema=False)]


def _another_column(draft: Draft) -> list[Path]:
    table = pa.Table.from_pylist(draft.rows, schema=draft.schema)
    return [draft.write(table.append_column("html", pa.array(["<script>"] * len(draft.rows))))]


def _named(stem: str) -> Callable[[Draft], list[Path]]:
    def make(draft: Draft) -> list[Path]:
        draft.stem = stem.replace("CELL", draft.content["cell"][:8])
        return [draft.write()]

    return make


def _same_cell_twice(draft: Draft) -> list[Path]:
    first = draft.write()
    draft.stem = f"again-{draft.stem}"
    return [first, draft.write()]


def _same_seed_twice(draft: Draft) -> list[Path]:
    return [draft.write(), draft.new_cell("f" * 24).write()]


def _same_file_twice(draft: Draft) -> list[Path]:
    """Two cells whose keys start alike, from two folders: their files would have the same name on the board."""
    first = draft.write()
    draft.folder = draft.folder / "other"
    draft.folder.mkdir()
    return [first, draft.put("seed", 77).new_cell(draft.content["cell"][:8] + "f" * 16).write()]


def _paper_hash(draft: Draft) -> list[Path]:
    """An unknown corpus: its questions cannot be checked, and its answers may not be published either."""
    return [draft.put("task.corpus_hash", "0" * 64).write()]


def _withheld(draft: Draft) -> list[Path]:
    """Texts that may not be published, since nothing is known of their corpus."""
    return [draft.put("task.corpus_hash", "0" * 64).put("task.may_redistribute", False).write()]


def _invented_without_texts(draft: Draft) -> list[Path]:
    """All right, and no texts by which the scores could be checked."""
    for row in draft.rows:
        row["answer"] = None
        for metric in ("exact_match", "f1", "answered"):
            row[metric] = None if row[metric] is None else 1.0
    return [draft.rescore().put("task.may_redistribute", False).write()]


def _trained_twice(draft: Draft) -> list[Path]:
    train = draft.content["stages"]["train"]
    return [draft.write(), draft.put("seed", 77).new_cell("f" * 24).put("stages.train", train).write()]


def _untouched_in_part(draft: Draft) -> list[Path]:
    """A reference that was asked about one person alone."""
    draft.rows = [row for row in draft.rows if row["cluster"] == draft.rows[0]["cluster"]]
    draft.rescore().put("training", None).put("seed", 0).put("pair", None).put("facts", None)
    return [draft.put("method.name", "untouched").put("stages", {}).write()]


HOSTILE = (
    _text(
        "a score edited, its hash kept",
        "was changed after it was written",
        lambda text: text.replace('"f1": 0.', '"f1": 0.9'),
    ),
    _content(
        "a score edited, its hash computed again",
        "but the answers give",
        "scores.biography_company.0.test.exact_match",
        0.99,
    ),
    _content(
        "a score of the development half edited", "development.f1", "scores.biography_major.0.development.f1", 0.99
    ),
    _content("a score without answers", "but the answers give nothing", "scores.biography_major.0.test.acc", 1.0),
    _file("answers edited, their hash kept", "does not have the hash", _edited_answers),
    _rows("wrong answers called right", "earns 0.000000", _call_right),
    _rows("an F1 raised a little", "f1: ", _set(f1=0.5)),
    _rows("an empty answer counted as answered", "answered: ", _answer_all),
    _rows("right answers with another number of examples", "is none of the task's", _ask_with_seven),
    _rows("half an exact match", "exact_match: 0.5 is not 0 or 1", _set(exact_match=0.5)),
    _rows("an F1 of seven", "f1: 7.0 is not from 0 to 1", _set(f1=7.0)),
    _rows("a score that is not a number", "f1: nan is not from 0 to 1", _set(f1=float("nan"))),
    _rows("forty wrong answers left out", "39 others of the task are not answered", _leave_out),
    _rows("a right answer counted twice", "is answered twice", _ask_twice),
    _rows("a question that the task does not ask", "is none of the task's", _ask_another),
    _rows("a hard person moved to the development half", "cluster, half:", _move_half),
    _rows("an unknown half", "half: 'train' is none of", _set(half="train")),
    _content(
        "a suite name that leads out of the board's folder",
        "suite: '../../../etc' is not of the form",
        "suite",
        "../../../etc",
    ),
    _content("answers in another folder", "answers.file:", "answers.file", "../../../etc/passwd"),
    _written("a writer whose name is markup", "written.writer: '<img", "writer", "<img src=x onerror=alert(1)>"),
    _written("a writer whose name steers a terminal", "written.writer: ", "writer", ESCAPE),
    _written("a model at an endpoint whose name is a script", "written.api_model: ", "api_model", "`rm -rf ~`"),
    _written("two models that wrote the texts", "exactly one of the two", "api_model", "qwen"),
    _written("no model that wrote the texts", "exactly one of the two", "model", None),
    _written("fewer than no tokens written", "written.tokens: -9 is less than 0", "tokens", -9),
    _written("fewer than no prompt tokens", "written.prompt_tokens: -1 is less than 0", "prompt_tokens", -1),
    _written("fewer than no texts left out", "written.left_out.cut: -3 is less than 0", "left_out", {"cut": -3}),
    _written("a problem of texts that is markup", "written.left_out: '<b>", "left_out", {"<b>": 3}),
    _written("answers drawn again for a path", "written.drawn_again: '../..", "drawn_again", {"../../etc": 3}),
    _written("more texts than answers", "written.texts: 1000 is not from 1", "texts", 1000),
    _written("more written tokens than a double counts", "written.tokens: ", "tokens", 2**60),
    _written("a share of invented names above one", "written.invented: 1.5", "invented", 1.5),
    _written("a share of invented names without end", "is not a JSON number", "invented", float("1e999")),
    _written("a hash of texts that is no hash", "written.sha256: 'zzzz", "sha256", ["z" * 64]),
    _written("a hash of texts for no stage", "each of the 1 stages", "sha256", ["2" * 64, "4" * 64]),
    _written("a megabyte of sampling", "more than 4,000", "sampling", {"temperature": "x" * 2**20}),
    _written("a field that writers do not have", "written.html: Extra inputs", "html", "<b>"),
    Hostile(
        "written texts without a word on who wrote them",
        "each of the 1 stages",
        lambda draft: [draft.rewritten().put("written", None).write()],
    ),
    Hostile("a hidden file name", "expected lower-case letters", _named(".hidden-CELL")),
    Hostile("a file name with a line break and an escape", "expected lower-case letters", _named("a\n\x1b[2J-CELL")),
    Hostile("a file name that Windows cannot hold", "expected lower-case letters", _named("con.x-CELL")),
    _file("a link to another file", "is a symbolic link", _link),
    _file("answers that are a link", "is a symbolic link", _linked_answers),
    _file("a pipe that never ends", "is not a regular file", _pipe),
    _file("no answers", "no such file", _no_answers),
    _file("a program beside the record", "run.sh: is neither a record nor its answers", _program_beside),
    _file("a pickle called .json", "not UTF-8", _pickled),
    _content("HTML in the method's name", "method.name:", "method.name", "<img src=x onerror=alert(1)>"),
    _content("Markdown in the model's name", "model.name:", "model.name", "[best](javascript:alert(1))"),
    _content("terminal escapes in a note", "training.notes[0]: '\\x1b", "training.notes", [f"{ESCAPE}best of all"]),
    _content("text that runs backwards", "has control characters", "task.options.evaluate", [f"a{OVERRIDE}b"]),
    _content("a lone surrogate", "has control characters", "environment.platform", "\ud800"),
    _content("an unknown field", "Extra inputs are not permitted", "script", "<script>alert(1)</script>"),
    _content("a number as text", "seed: Input should be a valid integer", "seed", "1"),
    _content("a seed out of range", "seed: -1 is not from 0", "seed", -1),
    _content(
        "an infinite loss",
        "not the JSON of a record: Infinity is not a JSON number",
        "training.loss_last",
        float("inf"),
    ),
    _text(
        "a number too large for a double",
        "cost.corpus.seconds: inf is not a finite",
        lambda text: text.replace('"seconds": ', '"seconds": 1e999, "x": ', 1).replace('"x": ', '"y": '),
    ),
    _content("a training of negative duration", "cost.train.seconds: -5.0 is less than 0", "cost.train.seconds", -5),
    _content("a number larger than a table can hold", "training.tokens: 1000", "training.tokens", 10**30),
    _content("a date in the next century", "is in the future", "created", "2126-01-01T00:00:00+00:00"),
    _content("code that was never committed", "environment.dirty", "environment.dirty", True),
    _content("another version of the questions", "task.definition_hash:", "task.definition_hash", "0" * 64),
    Hostile("texts of a private corpus", "task.may_redistribute:", _paper_hash),
    Hostile("texts that may not be published", "answer: has text where none may be", _withheld),
    Hostile("scores of answers that are withheld", "task.may_redistribute: false, but", _invented_without_texts),
    Hostile("a reference without most questions", "others of the task are not answered", _untouched_in_part),
    Hostile("one training under two seeds", "the same training under two seeds", _trained_twice),
    _content("more steps than the budget", "training.steps: 4000 is more than the budget", "training.steps", 4000),
    _content("a loss on more tokens than were read", "is more than tokens, 1", "training.tokens", 1),
    _content("a choice confirmed that nobody made", "confirms: true, but choice names no", "confirms", True),
    _text("one key twice", "duplicate key 'cell'", lambda text: text.replace("{", '{"cell": "0", ', 1)),
    _text("JSON nested a hundred thousand deep", "nested deeper than 32", lambda text: "[" * 100_000),
    _text("three megabytes of JSON", "is larger than", lambda text: text + " " * 3 * 2**20),
    Hostile("more than a million rows", "unpacks to 1,000,001 rows", _many_rows),
    Hostile("four gigabytes in a small Parquet file", "unpacks to more than", _bomb),
    Hostile("an unknown column", "are not those of a record's answers", _another_column),
    Hostile("one cell under two names", "is also the cell of", _same_cell_twice),
    Hostile("one seed under two keys", "the same cell and seed twice", _same_seed_twice),
    Hostile("two cells whose files would have the same name", "has the same name and suite", _same_file_twice),
)


def main() -> int:
    """Submit each to an empty board; print its name and the error."""
    accepted = 0
    for hostile in HOSTILE:
        with tempfile.TemporaryDirectory() as temporary:
            folder, board = Path(temporary) / "given", Path(temporary) / "board"
            folder.mkdir()
            refused = submit(hostile.make(Draft(folder)), board, SHIPPED).refused
            line = refused[0] if refused else "ACCEPTED"
            accepted += not refused or hostile.message not in line or board.exists()
            print(f"- {hostile.name}\n  {clean(line.replace(f'{folder}/', ''))}")
    print(f"{len(HOSTILE)} submissions, {len(HOSTILE) - accepted} refused with the expected error")
    return int(accepted > 0)


if __name__ == "__main__":
    sys.exit(main())
