"""Sentence shuffle: where sentences end, and that only their order changes."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.texts import Text
from benchmark.methods import make_method
from benchmark.methods.sentence_shuffle import sentences


def _cut(content: str, *entities: str) -> list[str]:
    spans = tuple((content.index(entity), content.index(entity) + len(entity)) for entity in entities)
    return [content[start:end] for start, end in sentences(Text("t", content, "", spans))]


def _copies(content: str, count: int = 200) -> set[str]:
    method = make_method("sentence_shuffle", {})
    return {method.augment_one(Text("t", content), None, random.Random(seed)) for seed in range(count)}


def test_every_order_of_the_sentences_occurs_and_nothing_else() -> None:
    parts = ["Ada was born.", "She ran!", "Did she?"]
    expected = {"{}  {}\n{}".format(*order) for order in itertools.permutations(parts)}
    assert _copies("Ada was born.  She ran!\nDid she?") == expected


def test_a_title_does_not_end_a_sentence() -> None:
    assert _cut("J. R. Smith grew up in St. Louis. He met Dr. Moss and Ms. Lee in Ft. Worth. He left.") == [
        "J. R. Smith grew up in St. Louis.",
        "He met Dr. Moss and Ms. Lee in Ft. Worth.",
        "He left.",
    ]


def test_no_sentence_ends_within_an_entity() -> None:
    content = "She worked for Who? What! Inc. in Rome. She left."
    assert _cut(content, "Who? What! Inc.") == ["She worked for Who? What! Inc. in Rome.", "She left."]
    assert len(_cut(content)) > 2, "without the entity it is cut, so the case says something"


def test_other_scripts_have_sentences_too() -> None:
    assert _cut("李雷出生于上海。他学习化学!") == ["李雷出生于上海。", "他学习化学!"]
    assert _cut("ולדה נולדה בחיפה. درست في القاهرة.") == ["ולדה נולדה בחיפה.", "درست في القاهرة."]


def test_a_text_of_one_sentence_stays_as_it_is() -> None:
    for content in ("Quartz", "水", " She sells 🍎 and 👩‍👩‍👧. "):
        assert _copies(content, 5) == {content}


@settings(max_examples=100)
@given(
    st.text(st.sampled_from("Ab .?!\n\t。🎉é"), max_size=50).filter(lambda text: bool(text.strip())), st.integers(0, 9)
)
def test_every_character_stays(content: str, seed: int) -> None:
    copy = make_method("sentence_shuffle", {}).augment_one(Text("t", content), None, random.Random(seed))
    assert sorted(copy) == sorted(content)
    covered = "".join(_cut(content))
    assert "".join(covered.split()) == "".join(content.split()), "sentences hold all but white space, in order"
