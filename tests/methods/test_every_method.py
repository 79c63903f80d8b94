"""Properties that every method in the registry has."""

import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.data.written import WrittenText
from benchmark.methods import METHODS, Method, augment, make_method
from benchmark.methods.dropout import TokenDropout

Tokenize = Callable[[Text], TokenScores]


def _text(name: str, text: str, subject: str, *entities: str) -> Text:
    spans = [(text.index(entity), text.index(entity) + len(entity)) for entity in entities]
    return Text(name, text, subject, tuple(sorted(spans)))


CORPUS = [
    _text(
        "plain",
        "Ada Moss was born on May 4, 1931. She studied Botany at Lagos College.",
        "Ada Moss",
        *("Ada Moss", "May 4, 1931", "Botany", "Lagos College"),
    ),
    _text("accents", "Žofie Łęcka a šla do školy v Brně, naïve café.", "Žofie Łęcka", "Žofie Łęcka", "Brně"),
    _text("emoji", "She sells 🍎🍏 and 👩‍👩‍👧 stickers 🎉.", "Ada Moss", "🍎🍏"),
    _text("right-to-left", "ולדה נולדה בחיפה, ולמדה כימיה. درست في القاهرة.", "ולדה", "ולדה", "القاهرة"),
    _text("chinese", "李雷出生于上海,在北京大学学习化学。", "李雷", "李雷", "上海", "北京大学"),
    _text("lines", "One line\nand another\n\tand a tab.", "One", "One"),
    _text("one token", "Quartz", "Quartz", "Quartz"),
    _text("one character", "水", "水", "水"),
    _text("punctuation", ". , .", "Nobody", ","),
]
_FILES = tempfile.TemporaryDirectory()


def _required(name: str, texts: list[Text]) -> dict[str, object]:
    """Required parameters: for `texts` a file of copies, each the original with its words reversed."""
    if name != "texts":
        return {}
    lines = [json.dumps({"id": t.id, "text": " ".join(t.text.split()[::-1])}) for t in texts for _ in range(30)]
    content = "\n".join(lines)
    file = Path(_FILES.name) / f"{hashlib.sha256(content.encode()).hexdigest()}.jsonl"
    file.write_text(content, encoding="utf-8")
    return {"path": file}


def _method(name: str, texts: list[Text]) -> Method:
    return make_method(name, _required(name, texts))


NAMES = pytest.mark.parametrize("name", sorted(METHODS))
DROPOUTS = pytest.mark.parametrize(
    "name", sorted(n for n, method in METHODS.items() if issubclass(method, TokenDropout))
)


def _run(name: str, texts: list[Text], tokenize: Tokenize, copies: int = 5, seed: int = 1) -> list[AugmentedText]:
    method = _method(name, texts)
    tokens = [tokenize(text) for text in texts]
    return list(augment(method, texts, tokens, copies, seed, _written(method, texts)))


def _written(method: Method, texts: list[Text]) -> dict[str, list[WrittenText]]:
    """What a writer might write: each text with its words reversed, and the number of the sample."""
    return {
        role: [
            WrittenText(text.id, copy, f"{' '.join(text.text.split()[::-1])} ({role})", "p", (), 1, 5, 5, "stop")
            for text in texts
            for copy in range(1, 31)
        ]
        for role in method.writings
    }


def _is_subsequence(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


def test_the_registry_holds_the_methods_of_the_paper_and_of_its_released_code() -> None:
    paper = {"plain", "plain_matched", "random_dropout", "attention_dropout", "contrastive_dropout"}
    assert paper | {"released_random", "released_attention", "released_difference"} <= set(METHODS)
    assert all(name == method.name for name, method in METHODS.items())


def test_the_registry_is_imported_without_torch() -> None:
    check = (
        "import sys; from benchmark.methods import METHODS; sys.exit(not {'torch', 'numpy'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@NAMES
def test_every_method_has_a_docstring_and_consistent_attributes(name: str) -> None:
    method = METHODS[name]
    assert method.__doc__
    assert method.needs in ("nothing", "tokens", "trained", "large", "difference")
    assert method.originals or method.makes_copies, "there would be nothing to train on"
    assert method.matched or not method.makes_copies, "only plain may take fewer steps"


@NAMES
def test_no_parameter_hides_an_attribute_of_every_method(name: str) -> None:
    assert not set(METHODS[name].model_fields) & set(dir(Method))


@NAMES
def test_the_same_seed_gives_the_same_texts(name: str, tokenize: Tokenize) -> None:
    assert _run(name, CORPUS, tokenize) == _run(name, CORPUS, tokenize)


@NAMES
def test_another_seed_changes_the_copies_exactly_if_the_method_varies(name: str, tokenize: Tokenize) -> None:
    differs = _run(name, CORPUS, tokenize, seed=1) != _run(name, CORPUS, tokenize, seed=2)
    assert differs == _method(name, CORPUS).varies


@NAMES
def test_texts_come_in_order_each_original_before_its_copies(name: str, tokenize: Tokenize) -> None:
    method = METHODS[name]
    numbers = ([0] if method.originals else []) + ([1, 2, 3] if method.makes_copies else [])
    rows = _run(name, CORPUS, tokenize, copies=3)
    assert [(row.id, row.copy) for row in rows] == [(text.id, number) for text in CORPUS for number in numbers]


@NAMES
def test_copy_0_is_the_original(name: str, tokenize: Tokenize) -> None:
    originals = [(row.id, row.text) for row in _run(name, CORPUS, tokenize) if row.copy == 0]
    assert originals == ([(text.id, text.text) for text in CORPUS] if METHODS[name].originals else [])


@NAMES
def test_no_copy_is_blank_and_every_copy_is_valid_text(name: str, tokenize: Tokenize) -> None:
    for row in _run(name, CORPUS, tokenize, copies=20):
        assert row.text.strip()
        assert row.text.encode()


def _in_the_loss(row: AugmentedText) -> str:
    """The text without characters of weight 0, which a model reads but does not learn to write, in a single line.

    The marks of questions and answers are left out, which are the form of a text and no part of its content.
    """
    unweighted = {at for start, end, value in row.values if value == 0 for at in range(start, end)}
    content = "".join(character for at, character in enumerate(row.text) if at not in unweighted)
    return re.sub(r"(^|\n+)(Question|Answer): ", " ", content)


def _names_and_numbers(text: str) -> set[str]:
    """Words that begin with a capital, and groups of digits."""
    return {word for word in re.findall(r"[^\W\d_]+|\d+", text) if word[0].isupper() or word[0].isdigit()}


@NAMES
def test_no_copy_contains_a_name_or_number_that_is_not_in_the_original_or_the_subject(
    name: str, tokenize: Tokenize
) -> None:
    known = {text.id: _names_and_numbers(f"{text.text} {text.subject}") for text in CORPUS}
    for row in _run(name, CORPUS, tokenize, copies=20):
        assert _names_and_numbers(_in_the_loss(row)) <= known[row.id]


@NAMES
def test_an_emoji_of_several_characters_is_kept_or_dropped_as_a_whole(name: str, tokenize: Tokenize) -> None:
    for row in _run(name, CORPUS, tokenize, copies=20):
        if row.id == "emoji" and not issubclass(METHODS[name], TokenDropout):  # dropout removes pieces of a tokenizer
            assert _in_the_loss(row).replace("👩‍👩‍👧", "").isprintable()


@NAMES
def test_copies_do_not_depend_on_the_other_texts(name: str, tokenize: Tokenize) -> None:
    rows = _run(name, CORPUS, tokenize)
    new = _text("new", "A text that was not there.", "A text", "text")
    more = _run(name, [new, *reversed(CORPUS)], tokenize)
    ids = [text.id for text in CORPUS]
    assert rows == sorted((r for r in more if r.id != "new"), key=lambda r: ids.index(r.id))


@NAMES
def test_more_copies_do_not_change_the_first_copies(name: str, tokenize: Tokenize) -> None:
    more = _run(name, CORPUS, tokenize, copies=8)
    assert _run(name, CORPUS, tokenize, copies=3) == [row for row in more if row.copy <= 3]


@NAMES
def test_two_texts_with_the_same_content_get_different_copies(name: str, tokenize: Tokenize) -> None:
    twins = [replace(CORPUS[0], id="a"), replace(CORPUS[0], id="b")]
    rows = _run(name, twins, tokenize, copies=20)
    first, second = ([(row.text, row.hidden) for row in rows if row.id == key and row.copy > 0] for key in "ab")
    assert (first != second) == _method(name, twins).varies


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
def test_the_error_for_an_unknown_parameter_names_it(name: str) -> None:
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
        "synonyms": [-0.1, 1.1, "much", True],
        "insertions": [-0.1, 1.1, "much", True],
        "swaps": [-0.1, 1.1, "much", True],
        "deletions": [-0.1, 1.1, "much", True],
        "segment": ["word", 1],
        "longest": [0, 1.5, True],
        "low": [-0.1, 1.1, True],
        "high": [-0.1, 1.1, "most"],
        "path": [None, 1],
        "title": ["", "x" * 41],
    }
    for key in METHODS[name].model_fields:
        for value in wrong.get(key, []):
            with pytest.raises(UserError, match=rf"^method '{name}': {key}: .*, not ") as error:
                make_method(name, {**_required(name, CORPUS), key: value})
            assert "\n" not in str(error.value)


@NAMES
def test_a_record_s_parameters_make_the_same_method_unless_one_is_a_path(name: str) -> None:
    method = _method(name, CORPUS)
    if method.model_dump(mode="json") == method.recorded_parameters():
        assert make_method(name, method.recorded_parameters()) == method
    else:
        assert _FILES.name not in json.dumps([method.recorded_parameters(), method.key_parameters()])


@NAMES
def test_missing_tokens_and_tokens_of_another_text_are_refused(name: str, tokenize: Tokenize) -> None:
    texts = CORPUS[:2]
    method = _method(name, texts)
    tokens = [tokenize(text) for text in texts]
    if method.needs == "nothing":
        assert list(augment(method, texts, None, 2, 1, _written(method, texts))) == list(
            augment(method, texts, tokens, 2, 1, _written(method, texts))
        )
        return
    with pytest.raises(ValueError, match="needs token scores"):
        list(augment(method, texts, None, 2, 1, _written(method, texts)))
    with pytest.raises(ValueError, match="text 'plain' came with the tokens of 'accents'"):
        list(augment(method, texts, tokens[::-1], 2, 1, _written(method, texts)))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        list(augment(method, texts, tokens[:1], 2, 1, _written(method, texts)))


def test_the_error_for_an_unknown_method_names_the_nearest_method() -> None:
    with pytest.raises(UserError, match=r"^unknown method 'random_drpout'; did you mean 'random_dropout'\? known: "):
        make_method("random_drpout", {})


def test_a_label_shows_alpha_beta_and_options_that_are_not_the_default() -> None:
    assert make_method("plain_matched", {}).label == "plain_matched"
    assert make_method("random_dropout", {}).label == "random_dropout α=0.6"
    contrastive = make_method("contrastive_dropout", {"beta": 0.03, "dropped": "blank"})
    assert contrastive.label == "contrastive_dropout α=0.6 β=0.03 dropped=blank"


def test_a_copy_is_the_same_on_every_machine_and_in_every_release(tokenize: Tokenize) -> None:
    [_, copy] = _run("random_dropout", CORPUS[:1], tokenize, copies=1)
    assert copy.text == "Ada born May,. She College."
