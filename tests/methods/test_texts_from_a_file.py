"""The method `texts`: which line becomes which copy, what is refused, and that no path is published."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, write_lines
from benchmark.methods import augment, make_method
from benchmark.records.record import read_record
from benchmark.runs.runner import run_suite
from benchmark.stages.augment import run as run_augment
from benchmark.suite.plan import Cell, make_plan
from leaderboard.board.assemble import build_board, load_records
from tests.tiny import InThisProcess, tiny_suite

CORPUS = [Text("a", "Ada ran."), Text("b", "Ben sat.")]
LINES = '{"id": "b", "text": "B one"}\n{"id": "a", "text": "A one"}\n\n{"id": "b", "text": "B two"}\n' * 2


def _file(folder: Path, content: str = LINES) -> Path:
    file = folder / "copies.jsonl"
    file.write_text(content, encoding="utf-8")
    return file


def _copies(path: Path, copies: int) -> list[tuple[str, int, str]]:
    method = make_method("texts", {"path": str(path)})
    return [(row.id, row.copy, row.text) for row in augment(method, CORPUS, None, copies, seed=1)]


def test_copy_k_is_the_kth_line_of_its_id(tmp_path: Path) -> None:
    assert _copies(_file(tmp_path), 2) == [
        ("a", 0, "Ada ran."),
        ("a", 1, "A one"),
        ("a", 2, "A one"),
        ("b", 0, "Ben sat."),
        ("b", 1, "B one"),
        ("b", 2, "B two"),
    ]


def test_the_output_of_augment_can_be_read_without_its_originals(tmp_path: Path) -> None:
    made = list(augment(make_method("aeda", {}), CORPUS, None, 3, seed=1))
    write_lines(tmp_path / "made.jsonl", made)
    assert _copies(tmp_path / "made.jsonl", 3) == [(row.id, row.copy, row.text) for row in made]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINES + '{"id": "c", "text": "x"}\n', r"copies\.jsonl:9: id 'c' is not in the corpus; remove the line"),
        (LINES + '{"id": "a", "text": "x"', r"copies\.jsonl:9: not JSON"),
        (LINES + '{"id": "a"}', r'copies\.jsonl:9: each line needs "id" and a non-empty "text", both strings'),
        (LINES + '{"id": "a", "text": " "}', r'copies\.jsonl:9: each line needs "id" and a non-empty "text"'),
        (LINES + '{"id": 1, "text": "x"}', r'copies\.jsonl:9: each line needs "id" and a non-empty "text"'),
        (LINES + '["a", "x"]', r"copies\.jsonl:9: expected a JSON object"),
        (LINES + '{"id": "a", "text": "\\ud800"}', r"copies\.jsonl:9: .* is no character"),
        (LINES, r"copies\.jsonl:6: id 'a' has 2 of 3 copies; add lines or lower copies"),
        ('{"id": "b", "text": "x"}\n' * 3, r"copies\.jsonl: id 'a' has 0 of 3 copies; add lines or lower copies"),
        ("\n", r"copies\.jsonl: holds no copy"),
        ('{"id": "a", "copy": 0, "text": "x"}', r"copies\.jsonl: holds no copy"),
    ],
)
def test_the_error_for_an_invalid_file_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        _copies(_file(tmp_path, content), 3)
    assert "\n" not in str(error.value)


def test_a_missing_path_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^method 'texts': path: missing; give it a value$"):
        make_method("texts", {})
    with pytest.raises(UserError, match="nowhere: No such file"):
        _copies(tmp_path / "nowhere", 1)
    with pytest.raises(UserError, match="nowhere: No such file"):
        make_method("texts", {"path": tmp_path / "nowhere"}).key_parameters()


def _told(folder: Path, more: str = "") -> Path:
    """Three lines for each of the four people of the tiny suite."""
    folder.mkdir(exist_ok=True)
    lines = [{"id": f"person-{i:05}", "text": f"Person {i}, told {k} times{more}."} for i in range(4) for k in range(3)]
    return _file(folder, "".join(json.dumps(line) + "\n" for line in lines))


def _cell(model: Path, **parameters: Any) -> Cell:
    (cell,) = make_plan(tiny_suite(model, methods=[{"name": "texts", **parameters}])).cells
    return cell


def test_keys_hold_the_hash_of_the_file_but_not_its_path_or_title(tmp_path: Path, tiny: Path) -> None:
    here, there = (_cell(tiny, path=str(_told(tmp_path / name))) for name in ("here", "there"))
    assert here.key == there.key
    titled = _cell(tiny, path=str(tmp_path / "here" / "copies.jsonl"), title="GPT")
    assert titled.stages["evaluate"].key == here.stages["evaluate"].key
    assert (here.method.label, titled.method.label) == ("texts copies.jsonl", "texts GPT")
    changed = _cell(tiny, path=str(_told(tmp_path / "here", " over")))
    assert changed.stages["augment"].key != here.stages["augment"].key


def test_a_file_that_does_not_fit_is_refused_before_anything_runs(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(UserError, match=r"copies\.jsonl:1: id 'b' is not in the corpus"):
        _cell(tiny, path=str(_file(tmp_path)))


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path, tiny: Path) -> None:
    call = _cell(tiny, path=str(_told(tmp_path))).stages["augment"]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_lines(corpus / "texts.jsonl", [Text(f"person-{i:05}", "x") for i in range(4)])
    run_augment(call, {"corpus": corpus}, tmp_path, lambda done, total: None)
    _told(tmp_path, " over")
    with pytest.raises(UserError, match=r"texts copies\.jsonl: .*changed while the suite ran; run the suite again"):
        run_augment(call, {"corpus": corpus}, tmp_path, lambda done, total: None)


@pytest.mark.slow
def test_record_and_board_name_the_file_and_no_path(tmp_path: Path, tiny: Path) -> None:
    suite = tiny_suite(tiny, methods=[{"name": "texts", "path": str(_told(tmp_path / "mine"))}], budgets=[{"steps": 1}])
    run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    (path,) = (tmp_path / "records").rglob("*.json")
    record = read_record(path)
    assert set(record.method.parameters) == {"label", "sha256"}
    assert record.method.package is None
    assert record.method.texts == 4 * 3  # the originals and two copies
    assert str(tmp_path) not in path.read_text()
    (table,) = build_board(load_records(tmp_path / "records")).tables
    assert [row.label for row in table.rows] == ["texts copies.jsonl"]
