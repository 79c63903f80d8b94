"""Malformed and hostile files: each reader reads its file, or rejects it in one line that names it.

To search longer than the test suite does: -n auto --hypothesis-profile=explore.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import ROOT
from benchmark.cli.options import named_values
from benchmark.core import inputs
from benchmark.core.errors import UserError
from benchmark.corpora.biography import Biography
from benchmark.corpora.own_documents import OwnDocuments
from benchmark.corpora.wikipedia import WikipediaSquad
from benchmark.data.texts import (
    AugmentedText,
    Text,
    TokenScores,
    read_augmented,
    read_scores,
    read_texts,
    write_lines,
    write_scores,
)
from benchmark.evaluation.shipped import SHIPPED
from benchmark.executors.containers import ContainerSettings
from benchmark.executors.settings import read_settings
from benchmark.methods import METHODS, make_method
from benchmark.records.record import read_record
from benchmark.store.calls import as_dict, read_call
from benchmark.suite import schema as suite
from benchmark.suite.plan import make_plan
from benchmark.suite.retention import TextFile
from benchmark.suite.schema import load_suite
from leaderboard.board.answers import read_answers
from leaderboard.submission.content import examine
from tests.hostile import dumped, endless, is_written, refusal, spoilt, tables, twisted
from tests.leaderboard.factory import retention, write_record


@dataclass(frozen=True)
class Reader:
    """A kind of file: a valid example and the function that reads it.

    `rows` is the JSON of the example, for JSON and JSON lines.
    """

    name: str
    suffix: str
    read: Callable[[Path], object]
    valid: bytes = b""
    rows: Any = None
    lines: bool = False

    @property
    def content(self) -> bytes:
        """The bytes of a valid file."""
        return self.valid or self.encode(self.rows)

    def encode(self, rows: Any) -> bytes:
        """The bytes of a file with these rows."""
        return b"\n".join(map(dumped, rows)) if self.lines and isinstance(rows, list) else dumped(rows)


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:3]]


def _questions(path: Path) -> object:
    documents = path.with_name("the_documents.jsonl")
    documents.write_bytes(b'{"id": "a", "text": "Ada met Bo."}\n{"id": "b", "text": "Bo met Cy."}\n')
    return OwnDocuments(path=documents, questions=path).load()


def _shots(path: Path) -> object:
    documents = path.with_name("the_documents.jsonl")
    documents.write_bytes(b"\n".join(map(dumped, DOCUMENTS)))
    return OwnDocuments(path=documents, shots=path).load()


def _tagged(path: Path) -> object:
    for name in ("biography_synthetic.csv", "biography_real.csv"):
        path.with_name(name).write_bytes(path.read_bytes())
    return Biography(path=path.parent).load()


def _prompts(path: Path) -> object:
    for name in ("biography_synthetic.csv", "biography_real.csv"):
        path.with_name(name).write_bytes(TAGGED)
    path.with_name("prompts.csv").write_bytes(path.read_bytes())
    return Biography(path=path.parent).load()


def _copies(path: Path) -> None:
    make_method("texts", {"path": str(path)}).check([Text("a", "Ada."), Text("b", "Bo.")], 1)


SUITE = (ROOT / "suites" / "smoke.yaml").read_bytes()
DOCUMENTS = [
    {"id": "a", "half": "test", "text": "Ada met Bo.", "questions": [{"question": "Who met Bo?", "answers": ["Ada"]}]},
    {"id": "b", "half": "development", "text": "Bo met Cy.", "questions": [{"question": "Who?", "answer": "Cy"}]},
]
FLAT = b'id,text,question,answers\n1,Ada met Bo.,Who?,"[""Ada"", ""Bo""]"\n2,"Bo met\nCy.",Who met Cy?,Bo\n'
ASKED = [{"document": who, "question": f"{name}?", "answers": [name]} for who, name in (("a", "Ada"), ("b", "Cy"))]
PARAGRAPH = {"context": "Ada met Bo.", "qas": [{"question": "Who met Bo?", "answers": [{"text": "Ada"}]}]}
OTHER = {"context": "Bo met Cy.", "qas": [{"question": "Who met Cy?", "answers": [{"text": "Bo"}]}]}
SQUAD = {"data": [{"title": "Meetings", "paragraphs": [PARAGRAPH, OTHER]}]}
ROWS = [{"context": f"{who} met Bo.", "question": "Who?", "answers": {"text": [who]}} for who in ("Ada", "Cy")]
TAGGED = b"text\n" + b"".join(
    f'"<name>{who} Fox</name>: <date>May {n}, 1900</date>, <city>Rome, Italy</city>, <university>U {n}</university>, '
    f'<major>Art</major>, <company>Fox {n}</company>."\n'.encode()
    for n, who in enumerate(("Ada", "Bo"))
)
AUGMENTED = [{"id": "a", "copy": 0, "text": "Ada.", "values": [[0, 3, 0.5]]}, {"id": "a", "copy": 1, "text": "A."}]


def _record() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        content: dict[str, Any] = json.loads(write_record(Path(folder)).read_text())
    return content


def _stage() -> dict[str, Any]:
    """The last stage of a suite with all its inputs."""
    return as_dict(make_plan(load_suite(ROOT / "suites" / "smoke.yaml")).calls()[-1])


PEOPLE = _lines(ROOT / "tasks" / "biography" / "people.jsonl")
SMALL_SUITE = {"name": "x", "models": {"a": "zoo:large"}, "tasks": ["biography"]}
TEXTS: list[dict[str, Any]] = [
    {"id": "a", "text": "Ada.", "subject": "Ada", "entities": [[0, 3]]},
    {"id": "b", "text": "Bo."},
]

READERS = (
    Reader("suite", ".yaml", load_suite, valid=SUITE),
    Reader("suite as JSON", ".yaml", load_suite, rows=SMALL_SUITE),
    Reader("stage", ".json", read_call, rows=_stage()),
    Reader(
        "containers",
        ".yaml",
        partial(read_settings, ContainerSettings),
        valid=b"image: benchmark:cpu\nworkers: 2\ncpus: 1.5\nmemory: 4g\n",
    ),
    Reader("people", ".jsonl", lambda path: Biography(path=path).load(), rows=PEOPLE, lines=True),
    Reader("people in a folder", ".csv", _tagged, valid=TAGGED),
    Reader("prompts", ".csv", _prompts, valid=b"field,prompt\nname,{name} is\ndate,{name} was born\ncity,{name}\n"),
    Reader("documents", ".jsonl", lambda path: OwnDocuments(path=path).load(), rows=DOCUMENTS, lines=True),
    Reader("documents in a table", ".csv", lambda path: OwnDocuments(path=path).load(), valid=FLAT),
    Reader("questions", ".jsonl", _questions, rows=ASKED, lines=True),
    Reader("shots", ".jsonl", _shots, rows=[{"question": "Why?", "answers": ["So"]}], lines=True),
    Reader("SQuAD", ".json", lambda path: WikipediaSquad(path=path).load(), rows=SQUAD),
    Reader("paragraphs", ".jsonl", lambda path: WikipediaSquad(path=path).load(), rows=ROWS, lines=True),
    Reader("texts", ".jsonl", read_texts, rows=TEXTS, lines=True),
    Reader("copies", ".jsonl", _copies, rows=[{**text, "copy": 1} for text in TEXTS], lines=True),
    Reader("augmented texts", ".jsonl", read_augmented, rows=AUGMENTED, lines=True),
    Reader("record", ".json", read_record, rows=_record()),
    Reader("record from a stranger", ".json", lambda path: examine(path, SHIPPED), rows=_record()),
    Reader("held-out text", ".txt", lambda path: TextFile(name="x", text=path).identity(), valid="Größe\n".encode()),
)
NAMED = {reader.name: reader for reader in READERS}
JSON = [reader.name for reader in READERS if reader.rows is not None]


def outcome(reader: Reader, content: bytes) -> str:
    """Read a file with this content; returns "" or the line of the error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"given{reader.suffix}"
        path.write_bytes(content)
        return refusal(lambda: reader.read(path), folder)


@pytest.mark.parametrize("name", NAMED)
def test_the_valid_examples_are_read_or_rejected_for_their_content_alone(name: str) -> None:
    reader = NAMED[name]
    expected = {
        "suite as JSON": "train: Field required",
        "prompts": "no row for",
        "record from a stranger": "given.answers.parquet",
        "record": "is not beside the record",
    }
    line = outcome(reader, reader.content)
    assert (expected[name] in line) if name in expected else line == ""


@pytest.mark.parametrize("name", NAMED)
@given(data=st.data())
def test_any_bytes_are_read_or_rejected_in_one_line(name: str, data: st.DataObject) -> None:
    reader = NAMED[name]
    outcome(reader, data.draw(st.binary(max_size=300) | spoilt(reader.content)))


@pytest.mark.parametrize("name", JSON)
@given(data=st.data())
def test_any_values_are_read_or_rejected_in_one_line(name: str, data: st.DataObject) -> None:
    reader = NAMED[name]
    outcome(reader, reader.encode(data.draw(twisted(reader.rows))))


@pytest.mark.parametrize("name", NAMED)
def test_folders_pipes_devices_and_missing_files_are_rejected_in_one_line_without_waiting(
    name: str, tmp_path: Path
) -> None:
    reader = NAMED[name]
    for path in endless(tmp_path, reader.suffix):
        if name not in ("people in a folder", "prompts"):  # these readers copy the file first
            assert refusal(lambda path=path: reader.read(path), str(path)[:200])  # type: ignore[misc]


# --- Parquet

HEADROOM = 2**29  # a quarter of the real limit
SCORES = [TokenScores("a", ["x", "y"], [0, 1], [1, 2], [0.5, 1.0]), TokenScores("b", ["x"], [0], [1], [0.5])]


def _answers(path: Path) -> object:
    """Read answers with a record that names their hash."""
    from benchmark.core.files import file_hash
    from benchmark.records.record import Record

    with tempfile.TemporaryDirectory() as folder:
        record = Record.model_validate_json(write_record(Path(folder), people=1).read_text())
    rows = pq.ParquetFile(path).metadata.num_rows if path.stat().st_size > 12 and _opens(path) else 0
    answers = record.answers.model_copy(update={"file": path.name, "sha256": file_hash(path), "rows": rows})
    return read_answers(path.with_suffix(".json"), record.model_copy(update={"answers": answers}))


def _opens(path: Path) -> bool:
    try:
        return pq.ParquetFile(path).metadata is not None
    except (pa.ArrowException, OSError, ValueError):
        return False


def _table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def _answers_table() -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        write_record(Path(folder), people=1)
        return pq.ParquetFile(next(Path(folder).glob("*.parquet"))).read()


def _scores_table() -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        write_scores(Path(folder, "x"), SCORES)
        return pq.ParquetFile(Path(folder, "x")).read()


TABLES: dict[str, tuple[pa.Table, Callable[[Path], object]]] = {
    "documents": (_table_of(DOCUMENTS), lambda path: OwnDocuments(path=path).load()),
    "questions": (_table_of(ASKED), _questions),
    "shots": (_table_of([{"question": "Why?", "answers": ["So"]}, {"question": "How?", "answers": ["So"]}]), _shots),
    "paragraphs": (_table_of(ROWS), lambda path: WikipediaSquad(path=path).load()),
    "token scores": (_scores_table(), read_scores),
    "answers": (_answers_table(), _answers),
}


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
def test_any_table_is_read_or_rejected_in_one_line(name: str, data: st.DataObject) -> None:
    valid, read = TABLES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.parquet"
        if is_written(data.draw(tables(valid)), path):
            refusal(lambda: read(path), folder)


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
def test_any_bytes_of_parquet_are_read_or_rejected_in_one_line(name: str, data: st.DataObject) -> None:
    valid, read = TABLES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.parquet"
        pq.write_table(valid, path)
        path.write_bytes(data.draw(spoilt(path.read_bytes())))
        refusal(lambda: read(path), folder)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_unpacks_to_gigabytes_is_rejected_within_bounded_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid, read = TABLES[name]
    monkeypatch.setattr(inputs, "HEADROOM", HEADROOM)
    path = tmp_path / "given.parquet"
    megabyte = pa.DictionaryArray.from_arrays(pa.array([0] * 8_000, pa.int32()), ["x" * 2**20])
    pq.write_table(pa.table([megabyte] * len(valid.column_names), names=valid.column_names), path, store_schema=False)
    assert path.stat().st_size < 2**20
    _reset_peak()
    assert refusal(lambda: read(path), str(tmp_path))
    assert _peak() < _now() + HEADROOM + 2**30  # memory mapped earlier may become resident meanwhile


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _peak() -> int:
    return _status("VmHWM")


def _now() -> int:
    return _status("VmRSS")


# --- values on the command line


@given(
    st.sampled_from(sorted(METHODS)), st.lists(st.text(max_size=12) | st.sampled_from(["alpha=", "beta=", "path=x"]))
)
def test_any_value_of_a_parameter_is_accepted_or_rejected_in_one_line(method: str, items: list[str]) -> None:
    refusal(lambda: make_method(method, named_values("--set", items, "alpha=0.6")), "")


@pytest.mark.parametrize("value", ["1e400", "nan", "9" * 5_000, "\0", "\ud800", "x" * 100_000, "-0", "0x1", "１", "[]"])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_value_of_any_parameter_causes_another_error(method: str, value: str) -> None:
    for parameter in METHODS[method].model_fields:
        refusal(lambda name=parameter: make_method(method, {name: value}), method)  # type: ignore[misc]


# --- one test for each bound


def _suite(tmp_path: Path, text: str) -> str:
    file = tmp_path / "given.yaml"
    file.write_text(text, encoding="utf-8")
    return refusal(lambda: load_suite(file), str(file))


HALVES = ", ".join(["0.5"] * 150)
# Each line repeats the line before it ten times: eleven lines for a thousand million values.
LAUGHS = "\n".join(
    ["x0: &x0 [a]", *(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10))],
)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("description: " + "[" * 40 + "]" * 40, "nested deeper than 32"),
        ("description: &a [*a]", "nested deeper than 32"),
        (LAUGHS, "more than 50,000 values"),
        (
            f"recipe: {{learning_rate: [{HALVES}], lora_dropout: [{HALVES}]}}",
            "recipe: its lists make 22,500 combinations",
        ),
        ("copies: 0x" + "f" * 5_000, "more than 64 bits"),
        ("threads: 100000", "threads: "),
        ("description: " + "x" * 2**18, "is larger than 262,144 bytes"),
        ('description: "\\ud800"', "surrogates not allowed"),
    ],
)
def test_a_suite_beyond_a_bound_is_rejected(tmp_path: Path, added: str, says: str) -> None:
    without = ("description", "copies", "recipe")
    text = "\n".join(line for line in SUITE.decode().splitlines() if not line.startswith(without))
    assert says in _suite(tmp_path, f"{text}\n{added}\n")


def test_a_suite_with_too_many_cells_is_rejected_before_a_cell_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "MAX_CELLS", 11)
    seeds = "seeds: [1, 2, 3, 4, 5, 6]\n"
    text = "\n".join(line for line in SUITE.decode().splitlines() if not line.startswith("seeds"))
    assert _suite(tmp_path, text + "\nseeds: [1]\n") == ""
    assert "more than 11 cells" in _suite(tmp_path, f"{text}\n{seeds}")


def test_a_record_with_an_enormous_number_is_rejected(tmp_path: Path) -> None:
    path = write_record(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"seed": 1', '"seed": ' + "9" * 5_000))
    assert "number out of range" in refusal(lambda: read_record(path), str(path))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_record_with_a_number_that_is_not_finite_is_rejected(tmp_path: Path, number: str) -> None:
    path = write_record(tmp_path, name="one", retention={"words": retention(0.125)})
    path.write_text(path.read_text().replace('"forgetting": 0.125', f'"forgetting": {number}'))
    assert "retention.words.forgetting: Input should be a finite number" in refusal(
        lambda: read_record(path), str(path)
    )


def test_the_few_shot_people_are_checked_when_the_corpus_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "biography_synthetic.csv").write_bytes(TAGGED)
    (tmp_path / "biography_real.csv").write_bytes(b"text\n<name>Ada</name>\n")
    with pytest.raises(UserError, match="biography_real.csv: row 1: birth_date"):
        Biography(path=tmp_path).load()


def test_augmented_texts_with_values_survive_writing_and_reading(tmp_path: Path) -> None:
    rows = [AugmentedText("a", 0, "Ada", ((0, 1, 0.5), (1, 3, 1)))]
    write_lines(tmp_path / "a.jsonl", rows)
    assert read_augmented(tmp_path / "a.jsonl") == rows
