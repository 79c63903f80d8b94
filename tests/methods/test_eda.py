"""EDA: what each operation changes in a text, and what it must not change."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.methods import eda, make_method
from benchmark.methods.wordnet import synonyms
from benchmark.methods.words import words

OPERATIONS = ("synonyms", "insertions", "swaps", "deletions")


def _copies(text: Text | str, count: int = 40, **alphas: float) -> list[str]:
    """Copies made by the given operations only."""
    method = make_method("eda", {**dict.fromkeys(OPERATIONS, 0), **alphas})
    given = text if isinstance(text, Text) else Text("t", text)
    return [method.augment_one(given, None, random.Random(seed)) for seed in range(count)]


@pytest.fixture
def dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words with a synonym or two instead of WordNet, which has synonyms for numbers, too."""
    known = {"big": ("huge", "large"), "dog": ("hound",), "2": ("two",), "88th": ("late",)}
    monkeypatch.setattr(eda, "synonyms", lambda word: known.get(word, ()))


def test_synonyms_are_those_of_every_sense_and_of_the_base_form_without_names() -> None:
    # WordNet 3.0: car = {auto, automobile, machine, motorcar} | {railcar, railway car, railroad car} | {gondola} |
    # {elevator car} | {cable car}.
    cars = {"auto", "automobile", "machine", "motorcar", "railcar", "railway car", "railroad car", "gondola"}
    cars |= {"elevator car", "cable car"}
    assert synonyms("car") == tuple(sorted(cars))
    assert set(synonyms("cars")) == cars | {"car"}
    assert synonyms("helium") == (), "its synonyms, He and atomic number 2, are a name and hold a digit"
    assert synonyms("水") == synonyms("qqq") == ()


@pytest.mark.usefixtures("dictionary")
def test_a_chosen_word_gets_one_synonym_wherever_it_stands() -> None:
    # 6 words, α .1: one word is chosen.
    copies = _copies("The dog saw a dog, big.", synonyms=0.1)
    assert set(copies) == {"The hound saw a hound, big.", "The dog saw a dog, huge.", "The dog saw a dog, large."}


@pytest.mark.usefixtures("dictionary")
def test_alpha_sets_the_number_of_replaced_words() -> None:
    assert set(_copies("The big dog sat.", synonyms=0.5)) == {"The huge hound sat.", "The large hound sat."}
    assert set(_copies("The big dog sat.", synonyms=1)) == {"The huge hound sat.", "The large hound sat."}


@pytest.mark.usefixtures("dictionary")
def test_no_name_number_or_entity_gets_a_synonym() -> None:
    assert set(_copies("Big Dog and DOG 2 bigs, 88th.", synonyms=1)) == {"Big Dog and DOG 2 bigs, 88th."}
    hotel = Text("t", "They met at big dog, a dog inn.", entities=((12, 19),))
    assert set(_copies(hotel, synonyms=1)) == {"They met at big dog, a hound inn."}


@pytest.mark.usefixtures("dictionary")
def test_an_inserted_word_is_a_synonym_of_a_word_of_the_text_and_stands_before_any_word() -> None:
    assert set(_copies("My dog ran.", insertions=0.1)) == {
        "hound My dog ran.",
        "My hound dog ran.",
        "My dog hound ran.",
    }


@pytest.mark.usefixtures("dictionary")
def test_nothing_is_inserted_within_an_entity() -> None:
    text = Text("t", "dog Ada Moss", entities=((4, 12),))
    assert set(_copies(text, insertions=0.1)) == {"hound dog Ada Moss", "dog hound Ada Moss"}


def test_a_swap_exchanges_two_words_and_leaves_the_punctuation() -> None:
    assert set(_copies("a, (b) c.", swaps=0.1)) == {"b, (a) c.", "c, (b) a.", "a, (c) b."}


def test_deletion_takes_each_word_with_probability_alpha_and_the_space_before_it() -> None:
    copies = Counter(_copies("a, b c.", count=4000, deletions=0.2))
    chances = {"a, b c.": 0.512, ", b c.": 0.128, "a, c.": 0.128, "a, b.": 0.128, ", c.": 0.032}
    for copy, chance in chances.items():
        assert abs(copies[copy] / 4000 - chance) < 0.03


def test_if_every_word_would_be_deleted_one_stays() -> None:
    assert set(_copies("a, b c.", deletions=1)) == {"a", "b", "c"}
    assert set(_copies("Quartz.", deletions=1)) == {"Quartz"}


def test_each_copy_is_made_by_one_operation_and_all_four_are_equally_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in ("replace", "insert", "swap", "delete"):
        monkeypatch.setattr(eda, f"_{operation}", lambda *_, operation=operation: operation)
    method = make_method("eda", {})
    drawn = Counter(method.augment_one(Text("t", "a b"), None, random.Random(seed)) for seed in range(2000))
    assert drawn.keys() == {"replace", "insert", "swap", "delete"}
    assert all(abs(count - 500) < 100 for count in drawn.values())


def test_a_word_of_another_script_is_a_run_without_white_space_and_an_emoji_is_a_word() -> None:
    text = "李雷,上海。 👩‍👩‍👧! (x)"
    assert [text[start:end] for start, end in words(text)] == ["李雷,上海", "👩‍👩‍👧", "x"]


def test_parameters_without_any_operation_are_refused() -> None:
    with pytest.raises(UserError, match="method 'eda': .*one of synonyms, insertions, swaps, deletions above 0"):
        make_method("eda", dict.fromkeys(OPERATIONS, 0))


@settings(max_examples=50)
@given(st.text(max_size=40).filter(lambda text: bool(text.strip())))
def test_swaps_keep_all_characters_and_deletions_add_none(content: str) -> None:
    for copy in _copies(content, count=3, swaps=0.5):
        assert Counter(copy) == Counter(content)
    for copy in _copies(content, count=3, deletions=0.5):
        assert copy.strip()
        assert Counter(copy) <= Counter(content)
