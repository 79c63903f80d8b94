"""AEDA: the number and positions of marks; nothing else changes."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.texts import Text
from benchmark.methods import make_method


def _copy(content: str, seed: int) -> str:
    return make_method("aeda", {}).augment_one(Text("t", content), None, random.Random(seed))


@pytest.mark.parametrize(("count", "most"), [(1, 1), (3, 1), (6, 2), (8, 2), (9, 3), (30, 10)])
def test_the_number_of_marks_is_between_one_and_a_third_of_the_words(count: int, most: int) -> None:
    content = " ".join(["word"] * count)
    numbers = {len(_copy(content, seed).split()) - count for seed in range(300)}
    assert numbers == set(range(1, most + 1))


def test_marks_stand_before_words_and_all_six_occur() -> None:
    assert {_copy("Quartz", seed) for seed in range(100)} == {f"{mark} Quartz" for mark in ".;?:!,"}
    patterns = {tuple(part in ".;?:!," for part in _copy("a b c", seed).split()) for seed in range(100)}
    assert patterns == {(True, False, False, False), (False, True, False, False), (False, False, True, False)}


@settings(max_examples=100)
@given(st.text(max_size=60).filter(lambda text: bool(text.strip())), st.integers(0, 99))
def test_without_the_marks_and_their_spaces_the_text_is_as_it_was(content: str, seed: int) -> None:
    content = re.sub("[.;?:!,]", "", content) or "x"
    if content.strip():
        assert re.sub("[.;?:!,] ", "", _copy(content, seed)) == content
