"""Reverse training: texts reversed by hand."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.methods import augment, make_method


def _reversed(content: str, *entities: str, seed: int = 1, **parameters: object) -> str:
    spans = tuple((content.index(entity), content.index(entity) + len(entity)) for entity in entities)
    return make_method("reverse", parameters).augment_one(Text("t", content, "", spans), None, random.Random(seed))


@pytest.mark.parametrize(
    ("content", "entities", "expected"),
    [
        ("Ada Moss ran home.", ["Ada Moss"], ". home ran Ada Moss"),
        ("Ada Moss ran home.", [], ". home ran Moss Ada"),
        (
            "Ada Moss was born on May 4, 1931. She studied at Lagos College.",
            ["Ada Moss", "May 4, 1931", "Lagos College"],
            ". Lagos College at studied She . May 4, 1931 on born was Ada Moss",
        ),
        ("Ada Moss's (first) house", ["Ada Moss"], "house ) first ( Ada Moss's"),
        ("One line\nand\ttwo", ["One"], "two and line One"),
        ("李雷出生于上海,在北京大学学习。", ["李雷", "上海", "北京大学"], "。学习北京大学在,上海出生于李雷"),
        ("ולדה נולדה בחיפה.", ["ולדה"], ". בחיפה נולדה ולדה"),
        ("She sells 👩‍👩‍👧 🎉.", ["She"], ". 🎉 👩‍👩‍👧 sells She"),
        ("Quartz", ["Quartz"], "Quartz"),
        (". , .", [","], ". , ."),
    ],
)
def test_words_are_reversed_and_entities_stay_whole(content: str, entities: list[str], expected: str) -> None:
    assert _reversed(content, *entities) == expected


def test_random_segments_keep_their_order_and_have_all_lengths_up_to_the_longest() -> None:
    # Four words in segments of one or two: 1+1+1+1, 2+1+1, 1+2+1, 1+1+2, 2+2.
    made = {_reversed("a b c d", segment="random", longest=2, seed=seed) for seed in range(200)}
    assert made == {"d c b a", "d c a b", "d b c a", "c d b a", "c d a b"}
    assert {_reversed("a b c d", segment="random", longest=1, seed=seed) for seed in range(20)} == {"d c b a"}


def test_random_segments_ignore_entities() -> None:
    assert _reversed("Ada Moss ran", "Ada Moss", segment="random", longest=1) == "ran Moss Ada"


@settings(max_examples=100)
@given(st.text(max_size=40).filter(lambda text: bool(text.strip())), st.sampled_from(["entity", "random"]))
def test_all_characters_but_white_space_stay(content: str, segment: str) -> None:
    copy = _reversed(content, segment=segment, longest=3)
    assert sorted("".join(copy.split())) == sorted("".join(content.split()))


def test_a_corpus_without_entities_is_refused() -> None:
    with pytest.raises(
        UserError, match="method 'reverse': the task provides no entities of its texts; set segment: random"
    ):
        list(augment(make_method("reverse", {}), [Text("a", "x")], None, 1, seed=1))
    assert len(list(augment(make_method("reverse", {"segment": "random"}), [Text("a", "x")], None, 1, seed=1))) == 2
