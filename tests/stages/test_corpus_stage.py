"""The corpus stage keeps texts as they are, or splits them to fit every model. Here a token is a character."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.corpora import make_task
from benchmark.data.texts import Text, read_texts
from benchmark.models.spec import ModelSpec
from benchmark.stages import corpus as stage
from benchmark.store.artifacts import StageCall

ENTRY = {"name": "biography"}


def _run(texts: list[Text], limits: Mapping[str, int | None], details: Sequence[str] = ()) -> list[Text]:
    """The texts that the stage writes for models whose contexts have room for `limits` characters."""

    def context(spec: ModelSpec) -> int | None:
        limit = limits[spec.model]
        return None if limit is None else limit + stage.MARGIN

    call = StageCall(
        "corpus", 1, {"details": details}, {}, {"entry": ENTRY, "fit": [{"model": name} for name in limits]}
    )
    done: list[tuple[int, int]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(stage, "make_task", lambda entry: SimpleNamespace(load=lambda: SimpleNamespace(texts=texts))),
        patch.object(stage, "tokenizer_of", lambda spec: lambda text, verbose: {"input_ids": list(text)}),
        patch.object(stage, "context_length", context),
    ):
        stage.run(call, {}, Path(folder), lambda part, whole: done.append((part, whole)))
        assert done == [(1, 1)]
        return read_texts(Path(folder, "texts.jsonl"))


def _bare(text: str) -> str:
    return "".join(text.split())


WORDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=1, max_size=60)
# A word has at most six characters and a full stop, so every limit from seven on can be met.


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=200))
def test_a_text_without_white_space_is_split_without_losing_a_character(text: str) -> None:
    limit = max([20, *map(len, regex.findall(r"\X", text))])  # room for any letter with all its marks
    pieces = _run([Text("x", text)], {"m": limit})
    assert "".join(piece.text for piece in pieces) == text
    assert all(len(piece.text) <= limit for piece in pieces)


@given(WORDS, st.sampled_from([" ", "\n\n", ". ", "   ", "\u2003"]), st.integers(7, 40))
def test_a_split_keeps_every_readable_character_in_order_and_every_piece_fits(
    words: list[str], space: str, limit: int
) -> None:
    text = space + space.join(words) + space
    if not text.strip():
        return
    pieces = _run([Text("x", text)], {"m": limit})
    assert "".join(_bare(piece.text) for piece in pieces) == _bare(text)
    assert all(len(piece.text) <= limit and piece.text.strip() for piece in pieces)
    if len(text) <= limit:
        assert pieces == [Text("x", text)]
    elif len(text.strip()) > limit:
        assert [piece.id for piece in pieces] == [f"x/{number}" for number in range(len(pieces))]


def test_a_text_is_cut_at_the_sentence_end_nearest_to_its_middle() -> None:
    text = "One. Two three four. Five six seven eight nine ten, eleven."
    pieces = _run([Text("x", text)], {"m": 40})
    assert [piece.text for piece in pieces] == ["One. Two three four.", "Five six seven eight nine ten, eleven."]


def test_a_sentence_end_far_from_the_middle_is_not_used() -> None:
    pieces = _run([Text("x", "No. " + "word " * 9 + "end")], {"m": 30})
    assert [piece.text for piece in pieces] == ["No. word word word word word", "word word word word end"]


def test_white_space_around_a_text_does_not_make_an_empty_piece() -> None:
    assert _run([Text("x", " " * 50 + "ab cd" + " " * 50)], {"m": 10}) == [Text("x", "ab cd")]
    assert [piece.text for piece in _run([Text("x", " " * 50 + "ab cd")], {"m": 4})] == ["ab", "cd"]


def test_only_the_text_that_does_not_fit_is_split() -> None:
    texts = [Text("a", " short "), Text("b", "rather long"), Text("c", "short")]
    assert _run(texts, {"m": 8}) == [texts[0], Text("b/0", "rather"), Text("b/1", "long"), texts[2]]


def test_the_smallest_context_counts_whatever_the_order_of_the_models() -> None:
    text = [Text("x", "one two three four five six seven eight nine ten")]
    pieces = _run(text, {"large": 30, "small": 10, "endless": None})
    assert pieces == _run(text, {"endless": None, "small": 10, "large": 30}) == _run(text, {"small": 10})
    assert len(pieces) > 3


def test_without_a_limit_texts_stay_as_they_are() -> None:
    text = [Text("x", "  any text. " * 1000)]
    assert _run(text, {}) == _run(text, {"m": None}) == text


def test_chinese_is_cut_after_the_end_of_a_sentence_and_its_closing_marks() -> None:
    text = "李白生于碎叶城。他说：“天生我材必有用！”后来他去了长安，见到了贺知章。"
    pieces = [piece.text for piece in _run([Text("x", text)], {"m": 22})]
    assert pieces == ["李白生于碎叶城。他说：“天生我材必有用！”", "后来他去了长安，见到了贺知章。"]


def test_without_a_sentence_end_the_cut_is_in_the_middle_but_not_within_a_visible_character() -> None:
    assert [piece.text for piece in _run([Text("x", "w" * 20)], {"m": 10})] == ["w" * 10] * 2
    assert [piece.text for piece in _run([Text("x", "one.two,three")], {"m": 9})] == ["one.", "two,three"]
    accent, family, flag, jamo = "e\u0301", "👩\u200d👩\u200d👧", "🇫🇷", "\u1112\u1161\u11ab"
    for character in (accent, family, flag, jamo, "👍🏽", "☕\ufe0f"):
        for before in range(4):  # so that the middle falls on each of its code points
            text = "a" * before + character * 3
            pieces = [piece.text for piece in _run([Text("x", text)], {"m": max(before, len(character))})]
            assert "".join(pieces) == text
            assert [piece.replace(character, "").strip("a") for piece in pieces] == [""] * len(pieces), pieces


def test_a_character_that_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"text 'second': a model's context has no room for its character") as error:
        _run([Text("first", "fits"), Text("second", "w" * 20 + "e" + "\u0301" * 9)], {"m": 5})
    assert "\n" not in str(error.value)


def test_a_piece_with_the_id_of_another_text_is_refused() -> None:
    with pytest.raises(UserError, match="text 'x/1': a piece of another text that is split gets the same id"):
        _run([Text("x", "one two"), Text("x/1", "three")], {"m": 5})


def test_the_shipped_biographies_fit_the_tiny_model_as_they_are(tmp_path: Path) -> None:
    where = {"entry": ENTRY | {"people": 4}, "fit": [{"model": "zoo:small"}]}
    stage.run(StageCall("corpus", 1, {}, {}, where), {}, tmp_path, lambda part, whole: None)
    texts = make_task(ENTRY | {"people": 4}).load().texts
    assert read_texts(tmp_path / "texts.jsonl") == [Text(text.id, text.text) for text in texts]


def test_requested_details_are_written_and_move_with_the_pieces_of_a_split_text(tmp_path: Path) -> None:
    words = "Ada Moss  came. She saw Lagos. She won the Prize of Rome."
    spans = tuple((words.index(name), words.index(name) + len(name)) for name in ("Ada Moss", "Lagos", "Prize of Rome"))
    text = Text("x", words, "Ada Moss", spans)
    pieces = _run([text], {"m": 30}, ["entities", "subject"])
    assert len(pieces) > 1
    entities = [piece.text[start:end] for piece in pieces for start, end in piece.entities]
    assert entities == ["Ada Moss", "Lagos", "Prize of Rome"]
    assert {piece.subject for piece in pieces} == {"Ada Moss"}
    assert _run([text], {}, ["subject"]) == [Text("x", words, "Ada Moss")]
    assert _run([text], {}) == [Text("x", words)]
