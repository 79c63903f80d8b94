"""What every method in the registry keeps to, whatever it does."""

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.methods import METHODS, augment, make_method
from benchmark.methods.dropout import TokenDropout
from benchmark.texts import AugmentedText, Text, TokenScores

Tokenize = Callable[[Text], TokenScores]

CORPUS = [
    Text("plain", "Ada Moss was born on May 4, 1931. She studied Botany at Lagos College."),
    Text("accents", "Žofie Łęcka a šla do školy v Brně, naïve café."),
    Text("emoji", "She sells 🍎🍏 and 👩‍👩‍👧 stickers 🎉."),
    Text("right-to-left", "ולדה נולדה בחיפה, ולמדה כימיה. درست في القاهرة."),
    Text("chinese", "李雷出生于上海,在北京大学学习化学。"),
    Text("lines", "One line\nand another\n\tand a tab."),
    Text("one token", "Quartz"),
    Text("one character", "水"),
    Text("punctuation", ". , ."),
]
NAMES = pytest.mark.parametrize("name", sorted(METHODS))
DROPOUTS = pytest.mark.parametrize(
    "name", sorted(n for n, method in METHODS.items() if issubclass(method, TokenDropout))
)


def _run(name: str, texts: list[Text], tokenize: Tokenize, copies: int = 5, seed: int = 1) -> list[AugmentedText]:
    return list(augment(make_method(name, {}), texts, [tokenize(text) for text in texts], copies, seed))


def _is_subsequence(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


def test_the_registry_holds_the_methods_of_the_paper_and_of_its_released_code() -> None:
    paper = {"plain", "plain_matched", "random_dropout", "attention_dropout", "contrastive_dropout"}
    assert paper | {"released_random", "released_attention", "released_difference"} <= set(METHODS)
    assert all(name == method.name for name, method in METHODS.items())


def test_the_registry_is_imported_without_torch() -> None:
    check = "import sys, benchmark.methods; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@NAMES
def test_every_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.__doc__
    assert method.needs in ("nothing", "tokens", "trained", "large", "difference")
    assert method.originals or method.makes_copies, "there would be nothing to train on"
    assert method.matched or not method.makes_copies, "only plain may take fewer steps"


@NAMES
def test_the_same_seed_gives_the_same_texts(name: str, tokenize: Tokenize) -> None:
    assert _run(name, CORPUS, tokenize) == _run(name, CORPUS, tokenize)


@NAMES
def test_another_seed_gives_other_copies(name: str, tokenize: Tokenize) -> None:
    if METHODS[name].makes_copies:
        assert _run(name, CORPUS, tokenize, seed=1) != _run(name, CORPUS, tokenize, seed=2)


@NAMES
def test_texts_come_in_order_each_with_its_original_first_and_then_its_copies(name: str, tokenize: Tokenize) -> None:
    method = METHODS[name]
    numbers = ([0] if method.originals else []) + ([1, 2, 3] if method.makes_copies else [])
    rows = _run(name, CORPUS, tokenize, copies=3)
    assert [(row.id, row.copy) for row in rows] == [(text.id, number) for text in CORPUS for number in numbers]


@NAMES
def test_copy_0_is_the_original(name: str, tokenize: Tokenize) -> None:
    originals = [Text(row.id, row.text) for row in _run(name, CORPUS, tokenize) if row.copy == 0]
    assert originals == (CORPUS if METHODS[name].originals else [])


@NAMES
def test_one_more_text_or_another_order_changes_no_other_texts_copies(name: str, tokenize: Tokenize) -> None:
    rows = _run(name, CORPUS, tokenize)
    more = _run(name, [Text("new", "A text that was not there."), *reversed(CORPUS)], tokenize)
    assert sorted((r.id, r.copy, r.text) for r in rows) == sorted((r.id, r.copy, r.text) for r in more if r.id != "new")


@NAMES
def test_more_copies_leave_the_first_ones_as_they_were(name: str, tokenize: Tokenize) -> None:
    more = _run(name, CORPUS, tokenize, copies=8)
    assert _run(name, CORPUS, tokenize, copies=3) == [row for row in more if row.copy <= 3]


@NAMES
def test_two_texts_of_the_same_words_get_copies_of_their_own(name: str, tokenize: Tokenize) -> None:
    twins = [Text("a", CORPUS[0].text), Text("b", CORPUS[0].text)]
    rows = _run(name, twins, tokenize, copies=20)
    first, second = ([row.text for row in rows if row.id == key and row.copy > 0] for key in "ab")
    assert first != second or not METHODS[name].makes_copies


@DROPOUTS
def test_a_text_without_tokens_stays_as_it_is(name: str) -> None:
    rows = augment(make_method(name, {}), [Text("t", "👻")], [TokenScores("t", [], [], [], [])], 3, seed=1)
    assert {row.text for row in rows} == {"👻"}


@DROPOUTS
def test_a_text_of_one_token_stays_as_it_is(name: str, tokenize: Tokenize) -> None:
    assert {row.text for row in _run(name, [Text("t", "Quartz")], tokenize, copies=30)} == {"Quartz"}


@DROPOUTS
@settings(max_examples=60)
@given(content=st.text(max_size=60).filter(lambda s: bool(s.strip())) | st.sampled_from([text.text for text in CORPUS]))
def test_no_copy_is_empty_and_its_visible_characters_are_a_subsequence_of_the_originals(
    name: str, content: str, tokenize: Tokenize
) -> None:
    for row in _run(name, [Text("t", content)], tokenize, copies=3):
        assert row.text.strip()
        assert _is_subsequence("".join(row.text.split()), content)
        if make_method(name, {}).model_dump().get("dropped") != "blank":
            assert _is_subsequence(row.text, content)


@NAMES
def test_a_parameter_that_the_method_lacks_is_refused_by_name(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"method '{name}': unknown parameter 'alhpa'; (.*known: |it takes none)"
    ) as error:
        make_method(name, {"alhpa": 0.5})
    assert "\n" not in str(error.value)


@NAMES
def test_parameters_out_of_range_or_of_another_type_are_refused(name: str) -> None:
    wrong: dict[str, list[object]] = {
        "alpha": [-0.1, 1.1, math.nan, "much", None, True],
        "beta": [0, -1, math.inf, "fast", True],
        "first_rank": [-1, 2, 0.5, True],
        "dropped": ["mask", 1],
        "keep_punctuation": ["perhaps", 2],
    }
    for key in METHODS[name].model_fields:
        for value in wrong.get(key, []):
            with pytest.raises(UserError, match=rf"^method '{name}': {key}: .*, not ") as error:
                make_method(name, {key: value})
            assert "\n" not in str(error.value)


@NAMES
def test_parameters_come_back_from_what_a_record_holds(name: str) -> None:
    method = make_method(name, {})
    assert make_method(name, method.model_dump(mode="json")) == method


@NAMES
def test_tokens_that_are_missing_or_of_another_text_are_refused(name: str, tokenize: Tokenize) -> None:
    method, texts = make_method(name, {}), CORPUS[:2]
    tokens = [tokenize(text) for text in texts]
    if method.needs == "nothing":
        assert list(augment(method, texts, None, 2, seed=1)) == list(augment(method, texts, tokens, 2, seed=1))
        return
    with pytest.raises(ValueError, match="needs token scores"):
        list(augment(method, texts, None, 2, seed=1))
    with pytest.raises(ValueError, match="text 'plain' came with the tokens of 'accents'"):
        list(augment(method, texts, tokens[::-1], 2, seed=1))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        list(augment(method, texts, tokens[:1], 2, seed=1))


def test_an_unknown_method_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"^unknown method 'random_drpout'; did you mean 'random_dropout'\? known: "):
        make_method("random_drpout", {})


def test_a_label_names_alpha_beta_and_what_is_not_at_its_default() -> None:
    assert make_method("plain_matched", {}).label == "plain_matched"
    assert make_method("random_dropout", {}).label == "random_dropout α=0.6"
    contrastive = make_method("contrastive_dropout", {"beta": 0.03, "dropped": "blank"})
    assert contrastive.label == "contrastive_dropout α=0.6 β=0.03 dropped=blank"


def test_a_copy_is_the_same_on_every_machine_and_in_every_release(tokenize: Tokenize) -> None:
    [_, copy] = _run("random_dropout", CORPUS[:1], tokenize, copies=1)
    assert copy.text == "Ada born May,. She College."
