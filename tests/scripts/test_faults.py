"""The faults that a run survives: docs/survival.md lists them, the judge finds what is wrong, and each is survived."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmark import ROOT
from scripts.faults.__main__ import HEADS, attempt, cells, every_fault, markdown
from scripts.faults.bench import Bench, Done, Fault, Row, left_behind, messages_in
from scripts.runs import compare

FAULTS = every_fault()
GOOD = Done(2, ["error: results: No space left on device; free it"])


def judged(tmp_path: Path, done: Done = GOOD, wrong: list[str] | None = None, lost: str = "nothing") -> Row:
    bench = cast(Bench, SimpleNamespace(folder=tmp_path))
    return Bench.judge(bench, "filled up", done, 2, "^error: .*No space left", wrong or [], lost)


def test_the_names_of_faults_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40


def test_the_page_has_a_row_for_each_fault_with_a_good_verdict_or_a_reason() -> None:
    page = (ROOT / "docs" / "survival.md").read_text(encoding="utf-8")
    _, table = page.split("<!-- faults:begin -->\n")
    heads, _, *rows = [
        [cell.strip() for cell in line.strip("|\n ").split(" | ")]
        for line in table.partition("<!-- faults:end -->")[0].splitlines()
    ]
    assert heads == HEADS
    assert [row[0] for row in rows] == [fault.name for fault in FAULTS]
    for row in rows:
        assert row[-1] == "good" or row[-1].startswith("not tried: "), row


def test_one_message_and_no_loss_is_a_good_verdict(tmp_path: Path) -> None:
    row = judged(tmp_path)
    assert (row.verdict, row.code, row.wrong) == ("good", 2, [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"done": replace(GOOD, code=1)}, "exit code 1 in place of 2"),
        ({"done": replace(GOOD, messages=["error: something"])}, "the message does not say"),
        ({"done": replace(GOOD, messages=[])}, "the message does not say"),
        ({"done": replace(GOOD, messages=["Traceback", *GOOD.messages])}, "2 lines on stderr: Traceback"),
        ({"wrong": ["processes left: [7]"]}, "processes left: [7]"),
        ({"lost": "1 of 2 records differ"}, "lost: 1 of 2 records differ"),
    ],
)
def test_the_judge_names_each_problem(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in judged(tmp_path, **changes).verdict


def test_lost_changed_and_additional_records_count_as_different() -> None:
    assert compare({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 9, "d": 4}) == {"b", "c", "d"}


def test_unfinished_stages_and_half_written_files_are_named(tmp_path: Path) -> None:
    assert left_behind(tmp_path) == []
    (tmp_path / "store" / ".tmp" / "train-0123").mkdir(parents=True)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / ".a.json.0123456789abcdef").touch()
    assert left_behind(tmp_path) == ["half done: train", "half written: records/.a.json.0123456789abcdef"]


def test_progress_does_not_count_as_a_message() -> None:
    errors = b"[1/9]      4 s  corpus 0c1f8b24 done\nstopped\n\n"
    assert messages_in(errors) == ["stopped"]


def test_a_fault_that_cannot_be_tried_has_a_row_with_the_reason(tmp_path: Path) -> None:
    def never(*_: object) -> Row:
        raise AssertionError("it was tried")

    row = attempt(Fault("a full disk", never, lambda: "needs root"), cast(Bench, SimpleNamespace(folder=tmp_path)), 1)
    assert row.verdict == "not tried: needs root"
    assert markdown(cells(row)) == "| a full disk |  |  |  |  | not tried: needs root |"
    assert json.dumps(row.__dict__)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault.name for fault in FAULTS])
def test_a_fault_is_survived(bench: Bench, number: int) -> None:
    row = attempt(FAULTS[number], bench, number)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.verdict == "good", row
