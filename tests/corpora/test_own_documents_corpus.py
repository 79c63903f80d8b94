"""The corpus of a user's own documents and its hashes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.corpora import make_task
from benchmark.corpora.own_documents import OwnDocuments
from benchmark.suite.plan import make_plan
from benchmark.tasks.corpus import corpus as task
from tests.tiny import tiny_suite

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "The door is green.", "questions": [{"question": "What colour?", "answers": "green"}]},
    {"id": "b", "text": "It has 212 steps.", "questions": [{"question": "How many?", "answers": ["212", "many"]}]},
    {"id": "c", "text": "Nobody asks."},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.jsonl", ROWS)


def test_all_documents_are_texts_and_may_not_be_published(file: Path) -> None:
    corpus = OwnDocuments(path=file).load()
    assert [(text.id, text.text) for text in corpus.texts] == [(row["id"], row["text"]) for row in ROWS]
    assert corpus.halves == {"a": "development", "b": "test", "c": "development"}
    assert not corpus.may_redistribute
    assert corpus.metadata == {"half": "all", "corpus_path": str(file), "corpus_answers_in_text": "check"}


def test_lm_eval_reads_the_files_named_in_the_metadata(file: Path, tmp_path: Path) -> None:
    shots = write(tmp_path / "shots.jsonl", [{"question": "Who?", "reply": "I"}])
    rows = [{"document": row["id"], **asked} for row in ROWS[:2] for asked in row["questions"]]
    questions = write(tmp_path / "q.jsonl", [{**row, "reply": "blue", "answers": None} for row in rows])
    documents = write(tmp_path / "d.jsonl", [{"id": row["id"], "body": row["text"]} for row in ROWS])
    columns = {"answers": "reply", "text": "body"}
    own = OwnDocuments(path=documents, questions=questions, shots=shots, columns=columns, answers_in_text="free")
    read = task.load(**own.load().metadata)
    assert list(read["questions"]["answers"]) == [["blue"], ["blue"]]
    assert list(read["shots"]["prompt"]) == ["Question: Who?\nAnswer:"] and list(read["shots"]["answers"]) == [["I"]]
    assert (own.examples, own.default_fewshot) == (1, [0, 1])
    # A worker receives the task as JSON.
    assert vars(make_task(json.loads(json.dumps(own.model_dump(mode="json")))).load()) == vars(own.load())


def test_a_suite_cannot_ask_for_more_examples_than_the_file_has(file: Path, tmp_path: Path) -> None:
    from benchmark.suite.schema import load_suite

    shots = write(tmp_path / "shots.jsonl", [{"question": f"Who{n}?", "answer": "I"} for n in range(3)])
    assert OwnDocuments(path=file, shots=shots).default_fewshot == [0, 1, 3]
    suite = tmp_path / "trial.yaml"
    suite.write_text(
        f"name: trial\nmodels: {{m: zoo:small}}\ntasks: [{{name: corpus, path: {file}, shots: {shots}}}]\ntrain: [m]\n"
        "methods: [plain]\nbudgets: [{steps: 1}]\nevaluation: {num_fewshot: [0, 4]}\n"
    )
    with pytest.raises(UserError, match=r"evaluation.num_fewshot: 4, but tasks\[0\], corpus, has 3 examples"):
        load_suite(suite)


def test_the_data_hash_depends_on_the_bytes_of_every_file_and_not_on_names(file: Path, tmp_path: Path) -> None:
    before = OwnDocuments(path=file).load().data_hash
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy(file, tmp_path / "elsewhere" / "other.jsonl"))
    assert OwnDocuments(path=copy).load().data_hash == before
    shots = write(tmp_path / "shots.jsonl", [{"question": "Who?", "answers": "I"}])
    with_shots = OwnDocuments(path=copy, shots=shots).load().data_hash
    write(shots, [{"question": "Who?", "answers": "me"}])
    copy.write_text(copy.read_text() + "\n")
    hashes = {before, with_shots, OwnDocuments(path=copy).load().data_hash, OwnDocuments(path=file).load().data_hash}
    assert len(hashes | {OwnDocuments(path=copy, shots=shots).load().data_hash}) == 4


def test_the_key_depends_on_the_columns_and_not_on_paths_or_mere_checks(file: Path, tmp_path: Path) -> None:
    def key(**options: Any) -> str:
        suite = tiny_suite(Path("zoo:small"), tasks=[{"name": "corpus", **options}])
        return make_plan(suite).cells[0].key

    before = key(path=str(file))
    assert key(path=shutil.copy(file, tmp_path / "b.jsonl"), answers_in_text="free") == before
    write(file, [{**row, "title": row["text"]} for row in ROWS])
    assert key(path=str(file)) != key(path=str(file), columns={"text": "title"})


def test_the_metrics_are_part_of_the_definition(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = OwnDocuments(path=file).load().definition_hash
    real = file_hash
    monkeypatch.setattr(
        "benchmark.corpora.base.file_hash", lambda path: "0" if path.name == "biography.py" else real(path)
    )
    assert OwnDocuments(path=file).load().definition_hash != before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "none.jsonl"}, "task corpus: .*none.jsonl: no such file"),
        ({"questions": "{file}"}, "task corpus: .*questions stand in the column questions and in"),
        ({"shots": "{file}"}, "task corpus: .*mine.jsonl: no column 'question'; did you mean 'questions'"),
        ({"columns": {"text": "body"}}, "task corpus: .*mine.jsonl: no column 'body'"),
    ],
)
def test_invalid_data_is_reported_in_one_line(file: Path, options: dict[str, Any], says: str) -> None:
    filled = {key: value.format(file=file) if isinstance(value, str) else value for key, value in options.items()}
    with pytest.raises(UserError, match=says) as error:
        OwnDocuments.model_validate({"path": file, **filled}).load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "more", "says"),
    [
        ("{name: corpus}", "", "tasks[0].path: Field required"),
        ("{name: corpus, paht: x}", "", "tasks[0].paht: unknown key; did you mean 'path'?"),
        ("{name: corpus, path: x, columns: {txt: y}}", "", "tasks[0].columns: there is no 'txt' to name a column for"),
        ("{name: corpus, path: x, answers_in_text: no}", "", "tasks[0].answers_in_text: "),
    ],
)
def test_a_mistake_in_a_suite_is_reported_with_its_field(tmp_path: Path, entry: str, more: str, says: str) -> None:
    from benchmark.suite.schema import load_suite

    suite = tmp_path / "trial.yaml"
    suite.write_text(
        f"name: trial\nmodels: {{m: zoo:small}}\ntasks: [{entry}]\ntrain: [m]\nmethods: [plain]\n"
        f"budgets: [{{steps: 1}}]\n{more}\n"
    )
    with pytest.raises(UserError) as error:
        load_suite(suite)
    assert says in str(error.value) and "\n" not in str(error.value)
