"""What rows are called, and how numbers are written."""

from pathlib import Path

import pytest

from leaderboard.board.labels import short_number, tell_apart
from tests.leaderboard.factory import only_table, write_record


def test_texts_from_files_have_their_labels_and_equal_labels_get_the_files_hashes(tmp_path: Path) -> None:
    for label, first in (("one.jsonl", "a"), ("two.jsonl", "b"), ("two.jsonl", "c")):
        write_record(tmp_path, "texts", method__parameters={"label": label, "sha256": first * 64})
    labels = {row.label for row in only_table(tmp_path).rows}
    assert labels == {"texts one.jsonl", "texts two.jsonl sha256=bbbbbbbb", "texts two.jsonl sha256=cccccccc"}


def test_labels_that_differ_only_in_abbreviated_facts_get_a_hash(tmp_path: Path) -> None:
    for end in "ab":
        write_record(tmp_path, "texts", method__parameters={"prompt": "x" * 45 + end})
    first, second = (row.label for row in only_table(tmp_path).rows)
    assert first != second


def test_equal_labels_get_only_as_many_facts_as_make_them_distinct() -> None:
    facts = [{"a": 1, "x.b": "0" * 64, "c": 1}, {"a": 1, "x.b": "1" * 64, "c": 2}, {"a": 9, "x.b": "", "c": 9}]
    assert tell_apart(["m", "m", "n"], facts) == ["m b=00000000", "m b=11111111", "n"]


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (0.392, 3, "", ".392"),
        (1, 3, "", "1.000"),
        (-0.05, 2, "+", "-.05"),
        (-0.0001, 2, "+", "+.00"),
        (0.5, 2, "+", "+.50"),
    ],
)
def test_numbers_lose_the_zero_before_the_point(value: float, digits: int, sign: str, text: str) -> None:
    assert short_number(value, digits, sign) == text
