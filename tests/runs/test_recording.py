"""What a record says of its cell, and what it keeps to itself."""

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from benchmark import ROOT
from benchmark.core import environment
from benchmark.core.errors import UserError
from benchmark.corpora.biography import Biography
from benchmark.data.texts import Text
from benchmark.models.loading import load_tokenizer
from benchmark.models.spec import ModelSpec
from benchmark.records.record import Record, read_record
from benchmark.runs import distances as distances_module
from benchmark.runs.distances import distances
from benchmark.runs.recording import files_by_name, good_record, record_path, write_record
from benchmark.runs.runner import run_suite
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Plan, make_plan
from benchmark.suite.schema import Suite
from tests.tiny import InThisProcess, tiny_suite


@pytest.fixture(scope="module")
def suite(tiny: Path) -> Suite:
    choice = {"name": "biography", "people": 4, "evaluate": ["biography_major", "biography_major_choice"]}
    return tiny_suite(tiny, tasks=[choice], methods=["plain_matched"], budgets=[{"steps": 1}])


@pytest.fixture(scope="module")
def folder(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one cell."""
    made = tmp_path_factory.mktemp("results")
    run_suite(suite, made, made / "records", InThisProcess(), plain=True)
    return made


@pytest.fixture(autouse=True)
def _forget() -> Any:
    """Clear what a process looks up once."""
    for function in (environment._commit, environment.code_hash):
        function.cache_clear()
    yield
    for function in (environment._commit, environment.code_hash):
        function.cache_clear()


def test_a_written_record_counts_as_good_for_its_own_cell_only(suite: Suite, folder: Path) -> None:
    plan = make_plan(suite)
    (cell,) = plan.cells
    path = record_path(folder / "records", plan, cell)
    assert good_record(path, plan, cell) == read_record(path)
    other = make_plan(suite.model_copy(update={"seeds": [2]})).cells[0]
    assert good_record(path, plan, other) is None
    assert good_record(path.with_name("nothing.json"), plan, cell) is None


def test_each_answer_has_the_distance_between_the_name_and_its_fact(suite: Suite, folder: Path, tiny: Path) -> None:
    """Compared with a count by hand: the text between the two, cut by the model's tokenizer."""
    (cell,) = make_plan(suite).cells
    path = record_path(folder / "records", make_plan(suite), cell)
    rows = pq.read_table(path.with_name(read_record(path).answers.file)).to_pylist()
    texts = {text.id: text for text in cell.corpus.texts}
    tokenizer = load_tokenizer(str(tiny))
    assert len(rows) == 16  # four people, asked in words with 0, 1 and 5 examples, and to choose
    for row in rows:
        text = texts[row["cluster"]]
        name, *_, major, _ = (text.text[start:end] for start, end in text.entities)
        between = text.text[text.text.index(name) + len(name) : text.text.index(major)]
        assert row["distance_characters"] == len(between)
        assert row["distance_tokens"] == pytest.approx(
            len(tokenizer(between.rstrip(), add_special_tokens=False)["input_ids"]), abs=1
        )


def test_a_fact_before_the_name_has_a_negative_distance(tiny: Path) -> None:
    corpus = replace(Biography(people=2).load(), texts=[Text("t", "In Lagos, Ada Moss grew up.")])
    corpus = replace(corpus, gaps={"t:birth_city": ("t", 18, 3)})
    ((characters, tokens),) = distances(corpus, ModelSpec(model=str(tiny))).values()
    assert characters == -15
    assert tokens < -2


def test_distances_equal_a_count_question_by_question(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several batches, answers before and after the name, and texts without questions."""
    monkeypatch.setattr(distances_module, "TEXTS_AT_ONCE", 2)
    shipped = Biography(people=7).load()
    rng = random.Random(1)
    gaps = {}
    for text in shipped.texts[1:6]:
        for number in range(10):
            gaps[f"{text.id}:{number}"] = (text.id, rng.randrange(len(text.text)), rng.randrange(len(text.text)))
    corpus = replace(shipped, gaps=gaps)
    counted = distances(corpus, ModelSpec(model=str(tiny)))
    tokenizer = load_tokenizer(str(tiny))
    texts = {text.id: text.text for text in corpus.texts}
    for question, (name, subject, answer) in gaps.items():
        offsets = tokenizer(texts[name], return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        low, high = sorted((subject, answer))
        between = sum(1 for _, end in offsets if low < end <= high)
        assert counted[question] == (answer - subject, between if answer >= subject else -between)
    assert counted.keys() == gaps.keys()


def test_a_record_contains_no_path_of_this_machine(suite: Suite, folder: Path, tiny: Path) -> None:
    plan = make_plan(suite)
    path = record_path(folder / "records", plan, plan.cells[0])
    record = read_record(path)
    assert record.model.spec["model"] == tiny.name
    assert "/" not in record.model_dump_json(include={"model": True, "pair": True, "task": True, "training": True})
    assert str(tiny.parent) not in path.read_text()


def test_answers_of_data_that_may_not_be_redistributed_are_copied_without_their_text(
    suite: Suite, folder: Path, tmp_path: Path
) -> None:
    plan = make_plan(suite)
    (cell,) = plan.cells
    secret = replace(cell, corpus=replace(cell.corpus, may_redistribute=False))
    store = Store(folder / "store")
    open_record, closed = (write_record(store, plan, c, tmp_path / str(i)) for i, c in enumerate((cell, secret)))
    tables = [
        pq.read_table(tmp_path / str(i) / suite.name / record.answers.file)
        for i, record in enumerate((open_record, closed))
    ]
    assert tables[0].schema == tables[1].schema
    rows, bare = (table.to_pylist() for table in tables)
    generated = [row for row in rows if row["task"] == "biography_major"]
    assert len(generated) == 4 * 3 and all(isinstance(row["answer"], str) for row in generated)
    assert bare == [{**row, "answer": None} for row in rows]
    assert (open_record.task.may_redistribute, closed.task.may_redistribute) == (True, False)
    assert closed.scores == open_record.scores
    assert read_record(tmp_path / "1" / suite.name / f"{cell.name}.json") == closed


def test_people_read_from_a_path_may_not_be_redistributed(suite: Suite, tmp_path: Path) -> None:
    shipped = ROOT / "tasks" / "biography" / "people.jsonl"
    mine = shutil.copy(shipped, tmp_path / "people.jsonl")
    entry = suite.tasks[0].model_copy(update={"path": Path(mine)})
    assert make_plan(suite).cells[0].corpus.may_redistribute
    assert not make_plan(suite.model_copy(update={"tasks": [entry]})).cells[0].corpus.may_redistribute


def test_the_code_hash_changes_with_the_code_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmark/stages").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "benchmark/stages/train.py").write_text("a = 1\n")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    hashed: Callable[[], str] = environment.code_hash

    def now() -> str:
        environment.code_hash.cache_clear()
        return hashed()

    first = now()
    (tmp_path / "benchmark/notes.md").write_text("no code")
    assert now() == first
    (tmp_path / "benchmark/stages/train.py").write_text("a = 2\n")
    second = now()
    (tmp_path / "tasks/new.py").write_text("")
    assert len({first, second, now()}) == 3


def test_an_image_knows_the_commit_that_it_was_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHMARK_COMMIT", "0123abc")
    assert environment._commit() == ("0123abc", None)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_is_that_of_the_checkout_that_contains_this_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    code = tmp_path / "benchmark" / "environment.py"
    code.parent.mkdir()
    code.write_text("a = 1\n")
    git("init")
    git("commit", "--allow-empty", "-m", "another project")
    monkeypatch.delenv("BENCHMARK_COMMIT", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "__file__", str(code))
    assert environment._commit() == (None, None)
    git("add", "benchmark")
    git("commit", "-m", "this project")
    environment._commit.cache_clear()
    assert environment._commit() == (git("rev-parse", "HEAD"), False)
    code.write_text("a = 2\n")
    environment._commit.cache_clear()
    assert environment._commit() == (git("rev-parse", "HEAD"), True)
    monkeypatch.setattr(environment, "ROOT", tmp_path / "nowhere")
    environment._commit.cache_clear()
    assert environment._commit() == (None, None)


def test_a_record_with_another_number_of_points_is_written_again(suite: Suite, folder: Path) -> None:
    plan = make_plan(suite)
    path = record_path(folder / "records", plan, plan.cells[0])
    assert good_record(path, plan, plan.cells[0])
    with patch.object(Plan, "points", lambda self, cell: 5):
        assert good_record(path, plan, plan.cells[0]) is None


@pytest.mark.parametrize("listed_before", [False, True])
def test_writing_a_record_removes_the_one_that_it_replaces_and_no_other(
    suite: Suite, folder: Path, tmp_path: Path, listed_before: bool
) -> None:
    plan, store = make_plan(suite), Store(folder / "store")
    (cell,) = plan.cells
    path = record_path(tmp_path, plan, cell)
    write_record(store, plan, cell, tmp_path)
    older = path.with_name(f"{path.stem[:-8]}00000000.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    beside = older.with_name(f"{older.stem}.answers.parquet")
    shutil.copy(path.with_name(content["answers"]["file"]), beside)

    def put(file: Path, **changes: Any) -> None:
        record = Record.model_validate(content | changes | {"cell": "older", "sha256": ""})
        sealed = record.model_copy(update={"sha256": record.body_hash()})
        file.write_text(sealed.model_dump_json(), encoding="utf-8")

    put(older, answers=content["answers"] | {"file": beside.name})
    other = older.with_name(f"{path.stem[:-8]}11111111.json")
    put(other, training=content["training"] | {"budget": "9 steps"})
    path.unlink()
    write_record(store, plan, cell, tmp_path, files_by_name(path.parent) if listed_before else None)
    assert sorted(tmp_path.rglob("*.json")) == sorted([path, other])
    assert not beside.exists() and path.with_name(content["answers"]["file"]).exists()


def test_writing_a_record_does_not_list_the_folder_of_records(
    suite: Suite, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the time of a suite would grow with the square of its cells."""
    plan, listed = make_plan(suite), []

    def watch(name: str) -> None:
        whole = getattr(os, name)

        def watched(path: Any = ".") -> Any:
            listed.append(Path(path))
            return whole(path)

        monkeypatch.setattr(os, name, watched)

    for name in ("listdir", "scandir"):
        watch(name)
    write_record(Store(folder / "store"), plan, plan.cells[0], tmp_path, {})
    assert tmp_path / suite.name not in listed
    files_by_name(tmp_path / suite.name)
    assert tmp_path / suite.name in listed


def test_distances_are_counted_once_for_each_corpus_and_model(tiny: Path) -> None:
    corpus, spec = Biography(people=2).load(), ModelSpec(model=str(tiny))
    assert distances(corpus, spec) is distances(corpus, spec.model_copy(update={"dtype": "bfloat16"}))
    assert distances(Biography(people=3).load(), spec).keys() != distances(corpus, spec).keys()


def test_a_record_names_the_package_that_provides_its_method(suite: Suite, folder: Path, tmp_path: Path) -> None:
    plan = make_plan(suite)
    with patch("benchmark.runs.assembly.package_of", {"plain_matched": "shouting 1.2"}.get):
        record = write_record(Store(folder / "store"), plan, plan.cells[0], tmp_path)
    assert record.method.package == "shouting 1.2"


def test_the_record_of_a_method_that_reads_no_scores_has_no_scoring(suite: Suite, folder: Path) -> None:
    plan = make_plan(suite)
    record = read_record(record_path(folder / "records", plan, plan.cells[0]))
    assert record.scoring == {} and record.method.name == "plain_matched"


def test_a_record_written_before_a_field_existed_can_be_read(suite: Suite, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    plan = make_plan(suite)
    path = record_path(tmp_path / "copy" / "records", plan, plan.cells[0])
    content = json.loads(path.read_text(encoding="utf-8"))
    for name in ("retention", "choice", "points", "sha256"):
        del content[name]
    del content["method"]["package"]
    body = json.dumps(content, sort_keys=True).encode()
    path.write_text(json.dumps(content | {"sha256": hashlib.sha256(body).hexdigest()}), encoding="utf-8")
    record = read_record(path)
    assert (record.retention, record.choice, record.points, record.method.package) == ({}, [], 1, None)
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 1', '"seed": 2'), encoding="utf-8")
    with pytest.raises(UserError, match="sha256: the record was changed"):
        read_record(path)
