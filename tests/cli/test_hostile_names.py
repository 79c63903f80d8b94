"""Names from suites, documents and the command line cannot lead outside the folders meant for them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.runs.recording import record_path
from benchmark.stages import corpus as corpus_stage
from benchmark.store.artifacts import StageCall
from benchmark.suite.own_documents import content_for
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import validate
from benchmark.templates.create import KINDS, create

NAMES = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a\0b",
    "n" * 300,
    "火" * 300,
    "con",
    "nul.txt",
    "C:\\x",
    "a:b|c?*",
    "~root",
    "-rf",
    " ",
    "a\nb",
    "\x1b[2J",
    "‮gpj.exe",
]


def suite_of(model: str, title: str, path: Path) -> dict[str, Any]:
    return {
        "name": "names",
        "models": {model: "zoo:small"},
        "tasks": [{"name": "biography", "people": 2}],
        "train": [model],
        "methods": [{"name": "texts", "path": str(path), "title": title}],
        "copies": 1,
        "budgets": [{"steps": 1}],
    }


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("names") / "copies.jsonl"
    file.write_text("".join(json.dumps({"id": f"person-{n:05d}", "text": "x"}) + "\n" for n in range(2)))
    return file


def check_record_path(model: str, title: str, copies: Path) -> None:
    records = Path("/records")
    plan = make_plan(validate(suite_of(model, title, copies), "suite"))
    for cell in plan.cells:
        path = record_path(records, plan, cell)
        assert path.parent == records / "names"
        assert path.name not in (".", "..") and not path.name.startswith((".", "-"))
        assert len(path.with_suffix(".answers.parquet").name.encode()) <= 255 - len(
            f".{'0' * 17}"
        )  # while it is written
        assert not set(path.name) & set('/\\\0:|?*<>"\n\x1b')


@pytest.mark.parametrize("name", NAMES)
def test_records_stay_in_the_folder_of_their_suite_whatever_models_and_methods_are_called(
    name: str, copies: Path
) -> None:
    check_record_path(name, name[:40], copies)


@settings(max_examples=40)
@given(model=st.text(min_size=1), title=st.text(min_size=1, max_size=40))
def test_records_stay_there_under_random_names_as_well(model: str, title: str, copies: Path) -> None:
    check_record_path(model, title, copies)


@pytest.mark.parametrize("name", [*NAMES, "", "A", "é", "x" * 101])
def test_a_suite_name_must_be_a_word_since_a_folder_is_named_after_it(name: str, copies: Path) -> None:
    content = {**suite_of("m", "t", copies), "name": name}
    if name == "con":
        validate(content, "suite")
    else:
        with pytest.raises(UserError, match="^suite: name: "):
            validate(content, "suite")


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name and len(name) < 300])
def test_a_suite_for_documents_of_any_name_is_named_by_a_word(name: str) -> None:
    assert re.fullmatch("corpus_[a-z0-9_]{0,90}", content_for({"path": Path(name)})["name"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "con"])
def test_new_files_are_not_written_under_an_invalid_name(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a name of small letters"):
        create(kind, name, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_ids_of_texts_name_no_files(tmp_path: Path) -> None:
    rows = [
        {"id": name, "text": f"Ada met {number}.", "question": f"Whom {number}?", "answer": str(number)}
        for number, name in enumerate(name for name in NAMES if name.strip())
    ]
    documents, out = tmp_path / "documents.jsonl", tmp_path / "out"
    documents.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out.mkdir()
    call = StageCall("corpus", 1, {"task": "corpus"}, {}, {"entry": {"name": "corpus", "path": str(documents)}})
    corpus_stage.run(call, {}, out, lambda done, total: None)
    assert [file.name for file in out.iterdir()] == ["texts.jsonl"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["documents.jsonl", "out"]
