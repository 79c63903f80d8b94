"""Which submissions are added to the board. The hostile ones are those of scripts/hostile_submissions.py."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from typer.testing import CliRunner

from benchmark import ROOT
from benchmark.cli.leaderboard import leaderboard_app
from benchmark.core import untrusted
from benchmark.core.errors import UserError
from benchmark.core.inputs import limited_memory
from benchmark.core.signals import Stopped, listening
from benchmark.corpora import TASK_KINDS, make_task
from benchmark.data.people import FIELDS
from benchmark.evaluation import shipped
from benchmark.evaluation.shipped import SHIPPED
from benchmark.records.questions import Expected
from benchmark.records.record import read_record
from benchmark.tasks.biography import biography
from benchmark.tasks.wikipedia import wikipedia
from leaderboard.board.assemble import build_board, load_records
from leaderboard.build import build
from leaderboard.submission.content import examine
from leaderboard.submission.submit import check_folder, submit
from leaderboard.views.markdown import markdown_page
from leaderboard.views.terminal import print_board
from scripts.hostile_submissions import HOSTILE, Draft, Hostile

NAMES = {path.stem for path in (ROOT / "leaderboard" / "results").rglob("*.json")}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """An empty folder for records to submit."""
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


@pytest.fixture
def board(tmp_path: Path, given: Path) -> Path:
    """A board with one record, of another seed than the drafts."""
    records = tmp_path / "leaderboard" / "results"
    draft = Draft(given).put("seed", 9).new_cell("9" * 24)
    assert submit([draft.write()], records, SHIPPED).refused == []
    for path in given.iterdir():
        path.unlink()
    return records


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_valid_record_is_accepted_and_added_to_the_board(given: Path, board: Path) -> None:
    path = Draft(given).write()
    before = build_board(load_records(board))
    outcome = submit([path], board, SHIPPED)
    assert (outcome.refused, outcome.added) == ([], [board / "shots" / path.name])
    assert tree(board)[board / "shots" / path.name] == path.read_bytes()
    after = build_board(load_records(board))
    assert [row.seeds for table in before.tables for row in table.rows] == [(9,)]
    assert [row.seeds for table in after.tables for row in table.rows] == [(1, 9)]
    assert check_folder(board, SHIPPED)[0] == []


@pytest.mark.parametrize("api_model", [None, "Qwen/Qwen2.5-7B-Instruct", "/models/qwen.gguf", "qwen2.5:7b"])
def test_a_record_of_written_texts_is_accepted_with_a_note_on_the_texts(
    given: Path, board: Path, api_model: str | None
) -> None:
    draft = Draft(given).rewritten()
    if api_model is not None:
        draft.put("written.api_model", api_model).put("written.model", None)
    outcome = submit([draft.write()], board, SHIPPED)
    assert outcome.refused == [] and len(outcome.added) == 1
    assert any(
        "the texts that a writer wrote: records contain their hashes alone" in note for note in outcome.unchecked
    )


def test_there_are_at_least_twenty_hostile_submissions() -> None:
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 20


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_submission_is_refused_with_one_line_and_nothing_is_added(
    hostile: Hostile, given: Path, board: Path
) -> None:
    before, valid = tree(board), given.parent / "valid"
    valid.mkdir()
    other = Draft(valid).put("seed", 2).new_cell("2" * 24).write()
    outcome = submit([other, *hostile.make(Draft(given))], board, SHIPPED)
    assert outcome.added == []
    assert tree(board) == before, "a valid record submitted with it is not added either"
    (line,) = outcome.refused
    assert hostile.message in line
    assert str(given) in line, "the error names the submitted file"
    assert re.search(r"; [a-z ]+", line), "a remedy"


def test_the_command_reports_a_refusal_on_stderr_with_exit_code_2_and_without_control_characters(
    given: Path, board: Path
) -> None:
    draft = Draft(given).put("training.notes", ["\x1b[31m"])
    draft.stem = "\x1b]0;owned\x07"
    result = CliRunner().invoke(leaderboard_app, ["submit", str(draft.write()), "--records", str(board)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable() or "�" in result.stderr
    assert "\x1b" not in result.output and "\x07" not in result.output


def test_an_error_of_any_command_has_no_control_characters(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"\x1b]0;owned\x07": 1}), encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "leaderboard", "build", "--records", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "\x1b" not in done.stderr


def test_properties_that_could_not_be_checked_are_reported(given: Path, board: Path) -> None:
    draft = Draft(given).put("task.corpus_hash", "0" * 64).put("task.may_redistribute", False)
    for row in draft.rows:
        row["answer"] = None
    outcome = submit([draft.write()], board, SHIPPED)
    assert outcome.refused == []
    assert any("whether all questions are answered" in note and "00000000" in note for note in outcome.unchecked)


def test_all_refused_files_of_a_submission_are_reported_at_once(given: Path, board: Path) -> None:
    first = Draft(given).put("seed", -1).write()
    second = Draft(given).put("environment.dirty", True).new_cell("d" * 24).write()
    lines = submit([first, second], board, SHIPPED).refused
    assert len(lines) == 2 and "seed" in lines[0] and "environment.dirty" in lines[1]


def test_a_record_that_is_on_the_board_already_is_refused_and_the_error_says_what_to_do(
    given: Path, board: Path
) -> None:
    path = Draft(given).write()
    submit([path], board, SHIPPED)
    before = tree(board)
    (line,) = submit([path], board, SHIPPED).refused
    assert "is on the board already" in line and "remove that first" in line
    assert tree(board) == before


def test_a_record_of_the_untrained_model_that_the_board_has_is_left_out_and_reported(given: Path, board: Path) -> None:
    reference = next((ROOT / "leaderboard" / "results" / "tiny").glob("*untouched*.json"))
    assert submit([reference], board, SHIPPED).added == [board / "tiny" / reference.name]
    trained = Draft(given).write()
    outcome = submit([reference, trained], board, SHIPPED)
    assert (outcome.refused, outcome.known) == ([], [reference])
    assert outcome.added == [board / "shots" / trained.name]
    assert check_folder(board, SHIPPED)[0] == []


def test_a_folder_is_submitted_as_a_whole_and_an_empty_folder_is_an_error(given: Path, board: Path) -> None:
    (line,) = submit([given], board, SHIPPED).refused
    assert line.startswith("nothing to submit")
    for seed in (1, 2):
        Draft(given).put("seed", seed).new_cell(str(seed) * 24).write()
    assert len(submit([given], board, SHIPPED).added) == 2


def test_nothing_remains_of_a_submission_that_could_not_be_written_completely(
    given: Path, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [Draft(given).put("seed", seed).new_cell(str(seed) * 24).write() for seed in (1, 2)]
    before, written, original = tree(board), [], Path.write_bytes

    def fill_up(self: Path, data: bytes) -> int:
        if board in self.parents:
            written.append(self)
            if len(written) == 4:
                raise OSError(28, "No space left on device")
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(UserError, match="No space left"):
        submit(paths, board, SHIPPED)
    assert tree(board) == before


def test_nothing_remains_of_a_submission_that_a_signal_interrupted(
    given: Path, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [Draft(given).put("seed", seed).new_cell(str(seed) * 24).write() for seed in (1, 2)]
    before, written, original = tree(board), [], Path.write_bytes

    def stop_at_the_fourth_file(self: Path, data: bytes) -> int:
        if board in self.parents:
            written.append(self)
            if len(written) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", stop_at_the_fourth_file)
    with listening(), pytest.raises(Stopped):
        submit(paths, board, SHIPPED)
    assert tree(board) == before


def test_a_suite_folder_that_is_a_link_is_not_followed(given: Path, board: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (board / "other").symlink_to(elsewhere)
    (line,) = submit([Draft(given).put("suite", "other").write()], board, SHIPPED).refused
    assert "is a link" in line
    assert list(elsewhere.iterdir()) == []


def test_markup_in_free_text_of_a_record_is_harmless(given: Path, tmp_path: Path) -> None:
    evil = "|<script>alert(1)</script> ![i](http://e.x) [red]x[/red] `c` <!-- board:end -->"
    draft = Draft(given).put("method.name", "texts").put("method.parameters", {"label": evil, "x": "=cmd()"})
    draft.put("training.notes", [evil]).put("model.spec.model", evil).put("environment.platform", evil)
    records = tmp_path / "results"
    assert submit([draft.write()], records, SHIPPED).refused == []
    board = build_board(load_records(records))
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown_page(board, tmp_path))
    assert "<script" not in shown and "<img" not in shown and "<!--" not in shown
    assert "alert(1)" in shown, "the label is shown"
    output = io.StringIO()
    print_board(board, Console(file=output, width=300, force_terminal=False))
    assert "[red]x[/red]" in output.getvalue()


# --- the committed records and `check`


def test_a_committed_record_of_each_suite_passes() -> None:
    for folder in (ROOT / "leaderboard" / "results").iterdir():
        record, _ = examine(min(folder.glob("*.json")), SHIPPED)
        assert record.suite == folder.name


@pytest.mark.slow
def test_all_committed_records_pass() -> None:
    refused, valid, _ = check_folder(ROOT / "leaderboard" / "results", SHIPPED)
    assert refused == [] and len(valid) == len(NAMES)


def checked(board: Path) -> tuple[int, str]:
    words = ["check", "--records", str(board), "--out", str(board.parent)]
    result = CliRunner().invoke(leaderboard_app, words)
    return result.exit_code, result.output


def test_check_passes_after_submit_once_the_board_is_built(given: Path, board: Path) -> None:
    assert submit([Draft(given).write()], board, SHIPPED).refused == []
    assert checked(board)[0] == 1
    build(board, board.parent)
    code, output = checked(board)
    assert code == 0 and "2 records match their answers" in output


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("of another suite", lambda path: path.parent.rename(path.parents[1] / "other"), "move it there"),
        ("with a stray file", lambda path: (path.parent / "x.sh").write_text(""), "remove it from the folder"),
        ("without its answers", lambda path: next(path.parent.glob("*.parquet")).unlink(), "no such file"),
        ("linked", lambda path: (path.parent / "z.json").symlink_to(path), "symbolic link"),
        ("under two names", lambda path: _again(path), "is there 2 times"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_check_refuses_files_that_a_pull_request_added_by_hand(
    board: Path, name: str, change: Callable[[Path], Any], message: str
) -> None:
    build(board, board.parent)
    change(next(board.rglob("*.json")))
    code, output = checked(board)
    assert code == 1 and message in output, name


def _again(path: Path) -> None:
    draft = Draft(path.parent).put("seed", 9).new_cell("9" * 24)
    draft.stem = f"again-{draft.stem}"
    draft.write()


def test_check_of_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(leaderboard_app, ["check", "--records", str(tmp_path / "none")])
    assert isinstance(result.exception, UserError) and "no such folder" in str(result.exception)


# --- the data that the checks compare with


def test_the_definition_of_every_task_is_that_of_its_corpus(given: Path) -> None:
    entries: list[dict[str, Any]] = [{"name": "biography"}, {"name": "wikipedia_mini"}]
    entries += [{"name": "corpus", "path": str(ROOT / "docs" / "harbour.jsonl")}]
    record = read_record(Draft(given).write())

    def definitions(name: str) -> Any:
        task = record.task.model_copy(update={"name": name})
        return SHIPPED.definitions(record.model_copy(update={"task": task}))

    for entry in entries:
        assert definitions(entry["name"]) == {make_task(entry).load().definition_hash}
    assert all(definitions(name) for name in TASK_KINDS)
    assert definitions("a task of one's own") is None


def test_the_questions_that_records_are_checked_against_are_those_of_lm_eval(given: Path) -> None:
    evaluate = ["biography", "biography_choice", "biography_cloze"]
    draft = Draft(given).put("evaluation.tasks", evaluate).put("task.options.evaluate", evaluate)
    known = SHIPPED.gold(read_record(draft.write()))
    assert known is not None
    people = biography.read_people()
    assert len(known) == len(people) * len(FIELDS) * 3
    for field in FIELDS:
        for row in biography.load(half="all", field=field)["questions"]:
            question = known[f"biography_{field}", row["id"]]
            assert (question.cluster, question.half) == (row["cluster"], row["half"])
            assert list(question.golds) == row["answers"]
            assert known[f"biography_{field}_choice", row["id"]].golds == ()
            assert known[f"biography_{field}_cloze", row["id"]].kind == "clozed"


def test_the_other_questions_about_people_are_those_of_lm_eval_with_its_scores() -> None:
    from benchmark.evaluation.asking import task_manager

    groups = ["biography_paraphrased", "biography_reverse", "biography_two_hop", "biography_university_city_one_hop"]
    entry = {"name": "biography", "evaluate": ["biography", *groups], "people": 6, "universities": True}
    _, known = shipped._shipped(json.dumps(entry))
    tasks = task_manager({"half": "all", "people": 6, "universities": True}).load(groups)["tasks"]
    assert {name for name, _ in known} == {*tasks, *(f"biography_{field}" for field in FIELDS)}
    asked = 0
    for name, task in tasks.items():
        for row in task.dataset["questions"]:
            question, asked = known[name, row["id"]], asked + 1
            assert (question.cluster, question.half, question.kind) == (row["cluster"], row["half"], "written")
            assert list(question.golds) == row["answers"]
            for answer in (*row["answers"], "Whitney Lynch", "Nagoya, Japan", "May 4, 1931", "who knows"):
                expected = task.process_results(row, [answer])
                assert SHIPPED.earned(answer, question) == pytest.approx(tuple(expected.values()))
    assert asked == len(known) - 6 * len(FIELDS) == 6 * (15 + 3 + 1) + 4 + 6


@pytest.mark.parametrize(
    ("evaluate", "universities", "says"),
    [
        ("biography_backwards_reverse", None, "evaluate: unknown 'biography_backwards_reverse'"),
        ("../biography_reverse", None, "evaluate: unknown"),
        (
            "biography_one_hop",
            None,
            "task biography: evaluate: biography_one_hop asks about universities",
        ),
    ],
)
def test_other_questions_that_no_task_asks_are_refused(evaluate: str, universities: bool | None, says: str) -> None:
    entry = {"name": "biography", "evaluate": ["biography", evaluate], "people": 6, "universities": universities}
    with pytest.raises(ValueError, match=says):
        shipped._shipped(json.dumps(entry))


@pytest.mark.parametrize("paragraphs", [None, 4])
def test_the_questions_of_the_mini_paragraphs_are_those_of_lm_eval(paragraphs: int | None) -> None:
    entry = {"name": "wikipedia_mini", "evaluate": ["wikipedia_mini"], "paragraphs": paragraphs}
    _, known = shipped._shipped(json.dumps(entry))
    asked = wikipedia.load("mini", half="all", paragraphs=paragraphs)["questions"]
    assert {question for _, question in known} == set(asked["id"])
    assert all(list(known["wikipedia_mini", row["id"]].golds) == row["answers"] for row in asked)


def test_the_questions_of_the_shipped_documents_are_those_of_lm_eval() -> None:
    from benchmark.tasks.corpus import corpus

    path = str(shipped.HARBOUR)
    entry = {"name": "corpus", "evaluate": ["corpus"], "columns": {}, "path": path}
    _, known = shipped._shipped(json.dumps(entry))
    asked = corpus.load(half="all", corpus_path=path)["questions"]
    assert {question for _, question in known} == set(asked["id"])
    assert all(known["corpus", row["id"]].half == row["half"] for row in asked)


@pytest.mark.parametrize(
    ("answer", "golds"),
    [
        (" the Maple  Steel.\nmore", ("Maple Steel", "Steel")),
        ("maple steel works", ("Maple Steel",)),
        ("Steel, steel", ("Steel Steel Steel",)),
        ("", ("Oslo",)),
        ("a", ("the",)),
        ("Lagos", ("Oslo", "Lagos")),
    ],
)
def test_the_score_of_an_answer_equals_the_tasks_own_score(answer: str, golds: tuple[str, ...]) -> None:
    doc = {"answers": list(golds), "field": "company", "source": ""}
    expected = biography.score_answer(doc, [answer])
    earned = SHIPPED.earned(answer, Expected("", "test", "written", golds, ("company", "")))
    assert earned == pytest.approx((expected["exact_match"], expected["f1"], expected["answered"]))


def test_an_unclosed_string_in_json_is_read_in_linear_time() -> None:
    with pytest.raises(UserError, match="not the JSON"):
        untrusted.parse_json(b'{"a": "' + b'\\"' * 500_000, Path("x.json"))


def test_a_table_whose_footer_exceeds_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": ["y" * 10_000] * 100}), path, use_dictionary=False)
    assert untrusted.read_table(path).num_rows == 100
    monkeypatch.setattr(untrusted, "MAX_TABLE_BYTES", 500_000)
    with pytest.raises(UserError, match="unpacks to 100 rows and 1,"):
        untrusted.read_table(path)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited only where /proc gives its size")
def test_memory_is_limited_only_while_a_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), limited_memory(2**27):
        bytearray(2**28)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(2**28)) == 2**28


def test_submitting_imports_neither_torch_nor_the_stages() -> None:
    code = (
        "import sys, leaderboard.submission.submit, leaderboard.views.export;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'lm_eval') or 'stages' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
