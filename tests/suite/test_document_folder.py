"""Folders of pages and documents without questions: the folder that is made for them, and what is refused."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import app as cli
from benchmark.core.errors import UserError
from benchmark.corpora.own_documents import OwnDocuments
from benchmark.suite.document_folder import Prepared, prepare
from benchmark.suite.own_documents import content_for, write_suite
from benchmark.writing import questions as written
from benchmark.writing.settings import LocalWriter
from tests.writing.test_questions import DOCUMENTS, LISTED, Scripted

WRITER = LocalWriter(model="any", tries=2)
KEPT = [(document, question, kind) for document, question, _, kind, fate in LISTED if fate == "kept"]
QUESTIONS = "document,question,answer\npier,Who built the pier?,Ada Moss\nrock,Who keeps Gull Rock?,Owen Tarr\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder "My pages" with the two documents of the scripted writer."""
    path = tmp_path / "My pages"
    path.mkdir()
    for document, suffix in zip(DOCUMENTS, ("md", "txt"), strict=True):
        (path / f"{document.id}.{suffix}").write_text(document.text + "\n")
    return path


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    def use(stop_after: int | None = None) -> Scripted:
        scripted = Scripted(stop_after)
        monkeypatch.setattr(written, "open_writers", lambda settings, samplings, device: [scripted for _ in samplings])
        return scripted

    return use


def made(prepared: Prepared) -> list[str]:
    """The lines that a user is told while the folder is written."""
    lines: list[str] = []
    prepared.write(lambda _: nullcontext(lambda *steps: None), lines.append)
    return lines


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def task_of(prepared: Prepared) -> OwnDocuments:
    return OwnDocuments.model_validate({key: value for key, value in prepared.task.items() if value})


def test_pages_with_a_file_of_questions_beside_them_are_a_corpus(folder: Path, tmp_path: Path) -> None:
    (folder / "questions.csv").write_text(QUESTIONS)
    (folder / "photo.png").touch()
    prepared = prepare({"path": folder}, tmp_path / "r", None)
    file = tmp_path / "r" / "corpora" / "my_pages" / "documents.jsonl"
    assert made(prepared) == [f"{folder}: not read: 1 .png", f"{file}: 2 documents"]
    assert rows(file) == [{"id": document.id, "text": document.text} for document in DOCUMENTS]
    corpus = task_of(prepared).load()
    assert corpus.questions == {"pier": ["Who built the pier?"], "rock": ["Who keeps Gull Rock?"]}
    assert content_for(prepared.task)["name"] == "corpus_my_pages"


def test_questions_anywhere_else_are_used_with_the_names_of_their_columns(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(QUESTIONS.replace("question,answer", "q,answer"))
    task = {"path": folder, "questions": tmp_path / "mine.csv", "columns": {"question": "q"}}
    prepared = prepare(task, tmp_path / "r", None)
    made(prepared)
    assert sum(map(len, task_of(prepared).load().questions.values())) == 2


def test_pages_without_questions_are_written_and_the_error_says_how_to_get_some(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"documents.jsonl: documents without questions; .*--questions-by WRITER"):
        made(prepare({"path": folder}, tmp_path / "r", None))
    assert len(rows(tmp_path / "r" / "corpora" / "my_pages" / "documents.jsonl")) == 2


def test_a_writer_writes_the_questions_once_and_a_mended_file_is_used_as_it_is(
    folder: Path, tmp_path: Path, writer: Callable[..., Scripted]
) -> None:
    results = tmp_path / "r"
    place = results / "corpora" / "my_pages"
    writer()
    first = prepare({"path": folder}, results, WRITER)
    lines = made(first)
    assert "5 kept (direct 3, reworded 1, backwards 1)" in lines[1] and "read and mend them" in lines[-1]
    asked = rows(place / "questions.jsonl")
    assert [(row["document"], row["question"], row["kind"]) for row in asked] == KEPT
    assert [row["half"] for row in rows(place / "documents.jsonl")] == ["development", "test"]
    report = json.loads((place / "questions.json").read_text())
    assert report["parsed"] == 21 and report["writer"]["model"] == "any"
    assert report["source"] == json.loads((place / "source.json").read_text())
    assert not (place / ".begun").exists()
    corpus = task_of(first).load()
    assert corpus.halves == {"pier": "development", "rock": "test"}
    assert {name: len(questions) for name, questions in corpus.questions.items()} == {"pier": 3, "rock": 2}

    mended = "".join(json.dumps(row) + "\n" for row in asked if row["document"] == "rock")
    (place / "questions.jsonl").write_text(mended)
    again = writer()
    second = prepare({"path": folder}, results, WRITER)
    assert made(second)[-1] == (
        f"{place / 'questions.jsonl'}: there already, used as it is; remove it to have questions written again"
    )
    assert not again.asked and (place / "questions.jsonl").read_text() == mended
    assert [row["half"] for row in rows(place / "documents.jsonl")] == ["development", "test"], "halves stay"
    assert made(prepare({"path": folder}, results, None))[-1].endswith("written again"), "the writer need not be named"


def test_documents_that_changed_since_the_questions_were_written_are_named(
    folder: Path, tmp_path: Path, writer: Callable[..., Scripted]
) -> None:
    writer()
    made(prepare({"path": folder}, tmp_path / "r", WRITER))
    (folder / "new.txt").write_text("The ferry Marigold sails to Sandholm.")
    changed = prepare({"path": folder}, tmp_path / "r", WRITER)
    assert "the documents changed since it was written, and 1 have no questions; remove" in made(changed)[0]
    assert task_of(changed).load().halves == {"new": "development", "pier": "development", "rock": "test"}


def test_questions_about_one_document_alone_are_kept_and_refused(
    folder: Path, tmp_path: Path, writer: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer()
    (folder / "rock.txt").write_text("Nothing that the writer asks about.")
    with pytest.raises(UserError, match=r"questions.jsonl: asks about 'pier' alone, and both halves need questions"):
        made(prepare({"path": folder}, tmp_path / "r", WRITER))
    place = tmp_path / "r" / "corpora" / "my_pages"
    assert [row["half"] for row in rows(place / "documents.jsonl")] == ["development", "test"]
    with (place / "questions.jsonl").open("a") as file:
        file.write('{"document": "rock", "question": "Who asks about it?", "answers": ["the writer"]}\n')
    again = prepare({"path": folder}, tmp_path / "r", WRITER)
    made(again)
    assert task_of(again).load().halves == {"pier": "development", "rock": "test"}


def test_results_in_the_folder_are_no_documents(folder: Path) -> None:
    (folder / "questions.csv").write_text(QUESTIONS)
    (folder / "results" / "store").mkdir(parents=True)
    (folder / "results" / "store" / "README.md").write_text("A trained model.")
    assert len(prepare({"path": folder}, folder / "results", None).documents) == 2


def test_a_killed_writer_goes_on_and_documents_keep_their_place(
    folder: Path, tmp_path: Path, writer: Callable[..., Scripted]
) -> None:
    first = writer(9)
    with pytest.raises(KeyboardInterrupt):
        made(prepare({"path": folder}, tmp_path / "r", WRITER))
    second = writer()
    made(prepare({"path": folder}, tmp_path / "r", WRITER))
    assert len(first.asked) == 9 and not set(first.asked) & set(second.asked)
    assert [row["question"] for row in rows(tmp_path / "r" / "corpora" / "my_pages" / "questions.jsonl")] == [
        question for _, question, _ in KEPT
    ]


@pytest.mark.parametrize("columns", [{}, {"text": "body", "id": "name"}])
def test_a_file_of_documents_without_questions_is_asked_about_too(
    tmp_path: Path, writer: Callable[..., Scripted], columns: dict[str, str]
) -> None:
    writer()
    file = tmp_path / "notes.jsonl"
    names = columns or {"text": "text", "id": "id"}
    file.write_text("".join(json.dumps({names["id"]: d.id, names["text"]: d.text}) + "\n" for d in DOCUMENTS))
    prepared = prepare({"path": file, "columns": columns}, tmp_path / "r", WRITER)
    made(prepared)
    assert sum(map(len, task_of(prepared).load().questions.values())) == 5
    _, suite = write_suite(content_for(prepared.task), tmp_path / "r")
    assert suite.name == "corpus_notes"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("text,half\nOne.,dev\nTwo.,test\n", r"row 1: half: 'dev' is none of development, test"),
        ("text,half\nOne.,test\nTwo.,test\n", r"half: all documents are of one half; .*, or leave the column out"),
        ("text\nOne.\nTwo.\nOne.\n", r"row 3: text: the same text stands at .*row 1; remove one of the two"),
    ],
)
def test_a_file_that_no_run_would_take_is_refused_before_the_writer_begins(
    tmp_path: Path, rows: str, says: str
) -> None:
    (tmp_path / "pages.csv").write_text(rows)
    with pytest.raises(UserError, match=says):
        prepare({"path": tmp_path / "pages.csv"}, tmp_path / "r", WRITER)


def test_names_of_columns_are_refused_for_pages_without_questions(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds pages, which have none; leave --column out"):
        prepare({"path": folder, "columns": {"text": "body"}}, tmp_path / "r", WRITER)


def test_a_corpus_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    (folder / "documents.jsonl").write_text('{"text": "x"}')
    task = {"path": folder}
    assert prepare(task, tmp_path / "r", None) == Prepared(task) and made(Prepared(task)) == []


def test_a_writer_is_refused_where_there_are_questions(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text('{"text": "x", "questions": []}\n')
    with pytest.raises(UserError, match=r"asked.jsonl: questions: these documents have questions; leave --que"):
        prepare({"path": file}, tmp_path / "r", WRITER)
    (tmp_path / "q.csv").write_text(QUESTIONS)
    with pytest.raises(UserError, match=r"q.csv: these documents have questions; leave --questions-by out"):
        prepare({"path": folder, "questions": tmp_path / "q.csv"}, tmp_path / "r", WRITER)
    (folder / "questions.csv").write_text(QUESTIONS)
    with pytest.raises(UserError, match=r"My pages/questions.csv: these documents have questions"):
        prepare({"path": folder}, tmp_path / "r", WRITER)
    assert not (tmp_path / "r").exists()


def test_two_folders_of_the_same_name_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    (folder / "questions.csv").write_text(QUESTIONS)
    made(prepare({"path": folder}, tmp_path / "r", None))
    other = tmp_path / "other" / "My pages"
    other.mkdir(parents=True)
    (other / "a.txt").write_text("Other pages.")
    with pytest.raises(UserError, match=rf"holds the documents of {folder}; give another folder with --results"):
        prepare({"path": other}, tmp_path / "r", None)
    folder.rename(tmp_path / "other" / "moved")
    (tmp_path / "other" / "moved").rename(tmp_path / "My pages")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set-writer", "temperature=0"), "--questions-by: missing; name the model or the server that --set-writer"),
        (
            ("--questions-by", "http://x/v1"),
            "writer http://x/v1: write the address of a server as api:ADDRESS/v1#",
        ),
        (("--questions-by", "api:http://x/v1"), "names no model; write api:ADDRESS#MODEL"),
        (("--questions-by", "api:ftp://x#m"), "writer: api: expected an address such as"),
        (("--questions-by", "any", "--set-writer", "tepmerature=1"), "unknown field 'tepmerature'; did you mean 'temp"),
        (("--questions-by", "any", "--set-writer", "tries"), "--set-writer tries: expected NAME=VALUE, as temperature"),
        (("--questions-by", "any", "--model", "./none"), "model './none': no such file or folder"),
        (("--questions-by", "any", "--methods", "plane"), "unknown method 'plane'"),
    ],
)
def test_an_invalid_argument_is_rejected_before_anything_is_written(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["benchmark", "corpus", str(folder), *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert says in err and err.count("\n") == 1
    assert list((tmp_path / "here").iterdir()) == []


def test_a_page_that_the_writer_of_questions_would_misread_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.models.zoo.recipe import END

    (folder / "b.txt").write_text(f"The keeper writes {END} to stop.")
    arguments = ["corpus", str(folder), "--questions-by", "zoo:small", "--results", str(tmp_path / "r")]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert (
        f"text 'b': contains {END!r}, which the model's tokenizer reads as a special token" in capsys.readouterr().err
    )
    assert not (tmp_path / "r").exists()
