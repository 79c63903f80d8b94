"""A board that is kept equals one that is built, and is kept no longer than what it was made of."""

import json
import shutil
from pathlib import Path

import pytest

from leaderboard.board import cache as remembered
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.cache import cached_board
from tests.leaderboard.factory import retention, write_record, wrong

ROOT = Path(__file__).parents[3]


def kept_with_another_title(file: Path) -> None:
    """Change what is kept, so that it shows whether it is what one gets."""
    content = json.loads(file.read_text())
    content["board"]["tables"][0]["title"] = "kept"
    file.write_text(json.dumps(content))


def test_the_cached_board_equals_the_built_board(tmp_path: Path) -> None:
    found = load_records(ROOT / "leaderboard/results/every_method")
    built = build_board(found)
    assert cached_board(found, tmp_path / "board.json") == built
    assert cached_board(found, tmp_path / "board.json") == built


def test_the_cache_is_valid_as_long_as_records_and_code_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "boards" / "one.json"
    records = tmp_path / "records"
    write_record(records, seed=1, retention={"wikitext2": retention(0.5)})
    cached_board(load_records(records), file)
    kept_with_another_title(file)
    assert cached_board(load_records(records), file).tables[0].title == "kept"
    write_record(records, seed=2, retention={"wikitext2": retention(0.5)})
    assert cached_board(load_records(records), file).tables[0].title != "kept"
    kept_with_another_title(file)
    assert cached_board(load_records(records), file).tables[0].title == "kept"
    before = sorted(records.iterdir())
    shutil.rmtree(records)
    write_record(records, seed=1, retention={"wikitext2": retention(0.5)})
    write_record(records, seed=2, grade=wrong, retention={"wikitext2": retention(0.5)})
    assert sorted(records.iterdir()) == before  # the same files, and other answers in one
    assert cached_board(load_records(records), file).tables[0].title != "kept"
    kept_with_another_title(file)
    monkeypatch.setattr(remembered, "version", lambda name: "another")
    assert cached_board(load_records(records), file).tables[0].title != "kept"


@pytest.mark.parametrize("content", ["", "{", '{"made_of": "", "board": {}}', "[" * 100_000, '{"made_of": 1}'])
def test_an_unreadable_cache_is_replaced(tmp_path: Path, content: str) -> None:
    records, file = tmp_path / "records", tmp_path / "board.json"
    write_record(records)
    built = build_board(load_records(records))
    file.write_text(content)
    assert cached_board(load_records(records), file) == built
    assert cached_board(load_records(records), file) == built


def test_a_cache_folder_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    write_record(tmp_path / "records")
    (tmp_path / "file").touch()
    found = load_records(tmp_path / "records")
    assert cached_board(found, tmp_path / "file" / "board.json") == build_board(found)
