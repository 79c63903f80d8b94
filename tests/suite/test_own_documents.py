"""A user's own documents: the suite that is written for them, and its run up to the board."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from benchmark.cli import app as cli
from benchmark.core.errors import UserError
from benchmark.data.texts import read_texts
from benchmark.runs.runner import run_suite
from benchmark.store.artifacts import Store
from benchmark.suite.own_documents import content_for, write_suite
from benchmark.suite.schema import Suite, load_suite
from benchmark.writing.writers import writer_from_text
from tests.tiny import InThisProcess

ROOT = Path(__file__).resolve().parents[2]
LONG = "The pier was built by Ada Moss. " + "Gulls sit on it all day long, and nobody minds them. " * 22
ROWS = [
    {"id": "pier", "text": LONG, "questions": [{"question": "Who built the pier?", "answers": ["Ada Moss", "Moss"]}]},
    {
        "id": "rock",
        "text": "Gull Rock has 212 steps and a green door.",
        "questions": [
            {"question": "How many steps has Gull Rock?", "answers": "212"},
            {"question": "What colour is its door?", "answers": "green"},
        ],
    },
    {"id": "shed", "text": "The lifeboat is kept in a shed."},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "My notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_three_documents_give_a_board_with_the_answers_of_stock_lm_eval(tiny: Path, file: Path, tmp_path: Path) -> None:
    from leaderboard.board.assemble import build_board

    content = content_for({"path": file}, str(tiny), methods=["plain_matched"], steps=2)
    content |= {"device": "cpu", "recipe": {"adaptation": "full", "learning_rate": 0.01, "batch_size": 4}}
    suite = Suite.model_validate(content)
    outcome = run_suite(suite, tmp_path / "r", tmp_path / "records", InThisProcess(), plain=True)
    (record,) = (record for record in outcome.records.values() if record.training)
    untrained = [record for record in outcome.records.values() if not record.training]
    assert {reference.method.name for reference in untrained} == {"untouched", "open_book"}

    # The long document is split without losing more than white space, and its question still names the document.
    (cell,) = (cell for cell in outcome.plan.cells if cell.budget)
    store = Store(tmp_path / "r" / "store")
    pieces = read_texts(store.path(cell.stages["corpus"]) / "texts.jsonl")
    assert [piece.id for piece in pieces] == ["pier/0", "pier/1", "rock", "shed"]
    assert "".join("".join(piece.text.split()) for piece in pieces[:2]) == "".join(LONG.split())
    assert (record.task.texts, record.task.clusters, record.task.questions) == (3, 2, 2 * 3), "in words and as a cloze"

    mine = pq.read_table(store.path(cell.stages["evaluate"]) / "answers.parquet").to_pylist()
    asked = stock(store.path(cell.stages["train"]) / "model", tiny, file)
    keys = ("id", "cluster", "half")
    assert [tuple(sample["doc"][key] for key in keys) for sample in asked] == [
        ("pier:0", "pier", "development"),
        ("rock:0", "rock", "test"),
        ("rock:1", "rock", "test"),
    ]
    assert [(row["question"], row["cluster"], row["half"], row["answer"], row["f1"]) for row in mine[:3]] == [
        (*(sample["doc"][key] for key in keys), sample["filtered_resps"][0], sample["f1"]) for sample in asked
    ]

    assert [row["task"] for row in mine] == ["corpus"] * 3 + ["corpus_cloze"] * 3

    # A record tells nothing of the user's documents or machine.
    (path,) = (tmp_path / "records" / content["name"]).glob("*-plain_matched-*.json")
    published = pq.read_table(path.with_name(record.answers.file)).to_pylist()
    assert [row["question"] for row in published] == ["pier:0", "rock:0", "rock:1"] * 2
    assert all(row["answer"] is None for row in published)
    assert str(tmp_path) not in path.read_text()
    (table,) = build_board([(path, record)]).tables
    assert (table.task, table.questions, table.subjects, len(table.rows)) == ("corpus", 2, 1, 1)


def stock(weights: Path, tokenizer: Path, documents: Path) -> list[dict[str, Any]]:
    """The samples of stock lm-eval with a model that it loads by itself."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    metadata = {"half": "all", "corpus_path": str(documents)}
    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    model = HFLM(pretrained=str(weights), tokenizer=str(tokenizer), device="cpu", dtype="float32", batch_size=8)
    samples: list[dict[str, Any]] = simple_evaluate(model, tasks=["corpus"], task_manager=manager)["samples"]["corpus"]
    return samples


# --- the suite that is written


def test_the_shipped_model_comes_with_its_pair_and_other_models_without(file: Path, tmp_path: Path) -> None:
    def methods(**options: Any) -> list[str]:
        return [method.name for method in Suite.model_validate(content_for({"path": file}, **options)).methods]

    baselines = ["plain", "plain_matched", "random_dropout"]
    assert methods() == [*baselines, "contrastive_dropout"] == methods(model="zoo:small", small="zoo:large")
    assert methods(model="zoo:small") == baselines == methods(model="some/model-of-the-hub")
    assert methods(methods=["plain"]) == ["plain"]
    with pytest.raises(UserError, match=r"^method 'contrastive_dropout' needs a pair of models; .*--small"):
        methods(model="zoo:small", methods=["contrastive_dropout"])
    with pytest.raises(UserError, match="unknown method 'plane'; did you mean 'plain'"):
        methods(methods=["plane"])


def test_the_suite_has_the_given_options_and_absolute_paths(
    tiny: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "free").touch()  # no value is taken for the path that it could be
    task = {"path": Path(file.name), "questions": None, "columns": {"id": "id"}, "answers_in_text": "free"}
    written, suite = write_suite(content_for(task, str(tiny), steps=7, seeds=(3, 4)), Path("r"))
    assert written == Path("r") / "corpus_my_notes.yaml" and load_suite(written) == suite
    content = yaml.safe_load(written.read_text())
    assert content["tasks"] == [
        {"name": "corpus", "path": str(file), "columns": {"id": "id"}, "answers_in_text": "free"}
    ]
    assert content["models"] == {tiny.name: str(tiny)}
    assert (suite.seeds, suite.budgets[0].steps, suite.long_texts) == ([3, 4], 7, "split")


def test_a_writer_of_texts_brings_its_methods_and_writes_for_no_others(
    tiny: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    author = writer_from_text(f"./{tiny.name}", {})
    suite = Suite.model_validate(content_for({"path": file}, "zoo:small", texts_by=author))
    assert list(suite.local_writers) == [tiny.name] and suite.local_writers[tiny.name].model == str(tiny)
    writers = {entry.name: entry.points()[0].get("writer") for entry in suite.methods}
    assert writers == {
        "plain": None, "plain_matched": None, "random_dropout": None, "self_qa": tiny.name, "rewrite": tiny.name
    }  # fmt: skip
    server = writer_from_text("api:http://localhost:8000/v1#org/trained", {})
    content = content_for({"path": file}, methods=["plain", "implications"], texts_by=server)
    assert content["writers"] == {"trained-writer": {"api": "http://localhost:8000/v1", "model": "org/trained"}}
    assert content["methods"] == [{"name": "plain"}, {"name": "implications", "writer": "trained-writer"}]
    Suite.model_validate(content)
    with pytest.raises(UserError, match=r"^--texts-by: no method in --methods has a writer; add self_qa or rewrite"):
        content_for({"path": file}, methods=["plain"], texts_by=server)


def test_two_models_with_the_same_name_get_different_names(tiny: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / tiny.name
    other.symlink_to(tiny)
    suite = Suite.model_validate(content_for({"path": file}, str(tiny), str(other)))
    assert list(suite.models) == [tiny.name, f"{tiny.name}-small"]
    assert suite.pairs[tiny.name].small == f"{tiny.name}-small"


def test_a_suite_file_is_overwritten_unless_it_was_edited(file: Path, tmp_path: Path) -> None:
    written, first = write_suite(content_for({"path": file}, steps=3), tmp_path)
    _, second = write_suite(content_for({"path": file}, steps=4), tmp_path)
    assert first != second == load_suite(written)
    written.write_text(written.read_text().replace("steps: 4", "steps: 5"))
    edited = written.read_text()
    with pytest.raises(UserError, match=r"corpus_my_notes.yaml: was changed by hand; run it with `benchmark run "):
        write_suite(content_for({"path": file}, steps=4), tmp_path)
    assert written.read_text() == edited
    written.write_bytes(b"\xff\xfe no text")
    with pytest.raises(UserError, match="was changed by hand"):
        write_suite(content_for({"path": file}, steps=4), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none.jsonl",), "none.jsonl: no such file"),
        (("{file}", "--seeds", "1,b"), "--seeds 1,b: expected numbers with commas between them"),
        (("{file}", "--seeds", "99999999999"), "benchmark corpus: seeds[0]: "),
        (("{file}", "--column", "text"), "--column text: expected NAME=VALUE, as text=body"),
        (("{file}", "--column", "text=body"), "no column 'body'"),
        (("{file}", "--methods", "plane"), "unknown method 'plane'"),
        (("{file}", "--model", "./none"), "model './none': no such file or folder"),
        (("{file}", "--small", "zoo:smal"), "model 'zoo:smal': not in the zoo"),
        (("{file}", "--texts-by", "./none"), "model './none': no such file or folder"),
        (("{file}", "--texts-by", "api:http://localhost:1/v1"), "names no model; write api:ADDRESS#MODEL"),
    ],
)
def test_an_invalid_argument_is_rejected_in_one_line_and_nothing_is_written(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    filled = [argument.format(file=file) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["benchmark", "corpus", *filled])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert says in err and err.count("\n") == 1
    assert list(here.iterdir()) == []
