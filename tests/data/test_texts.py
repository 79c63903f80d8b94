"""Texts, augmented texts and scores are read as they were written, and invalid files are rejected."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.data.texts import (
    AugmentedText,
    Text,
    TokenScores,
    read_augmented,
    read_scores,
    read_texts,
    write_lines,
    write_scores,
)

# Unicode has many line separators; in JSON Lines only \n ends a line.
ODD = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\r\nh\ri\u0000j\ufeffk😀"
WORDS = st.text().filter(lambda text: bool(text.strip()))


@settings(max_examples=50)
@given(st.dictionaries(st.text(), WORDS | st.just(ODD), min_size=1))
def test_any_text_is_read_as_it_was_written(rows: dict[str, str]) -> None:
    texts = [Text(key, value) for key, value in rows.items()]
    with tempfile.TemporaryDirectory() as folder:
        write_lines(Path(folder, "texts.jsonl"), texts)
        assert read_texts(Path(folder, "texts.jsonl")) == texts


@settings(max_examples=50)
@given(st.lists(st.builds(AugmentedText, st.text(), st.integers(0, 10), WORDS | st.just(ODD))))
def test_any_augmented_text_is_read_as_it_was_written(texts: list[AugmentedText]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_lines(Path(folder, "augmented.jsonl"), texts)
        assert read_augmented(Path(folder, "augmented.jsonl")) == texts


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.text(),
            st.lists(
                st.tuples(st.text(), st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.floats(width=32)),
            ),
        )
    )
)
def test_scores_are_read_as_written_to_the_last_float32_bit(
    rows: list[tuple[str, list[tuple[str, int, int, float]]]],
) -> None:
    scores = [
        TokenScores(
            name, [t[0] for t in tokens], [t[1] for t in tokens], [t[2] for t in tokens], [t[3] for t in tokens]
        )
        for name, tokens in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_scores(Path(folder, "scores.parquet"), scores)
        assert repr(read_scores(Path(folder, "scores.parquet"))) == repr(scores)  # repr: nan equals nan


def test_a_text_is_one_line_without_escaped_letters(tmp_path: Path) -> None:
    write_lines(tmp_path / "texts.jsonl", [Text("é", "Łódź\n2")])
    assert (tmp_path / "texts.jsonl").read_bytes() == '{"id": "é", "text": "Łódź\\n2"}\n'.encode()


def test_blank_lines_and_unknown_fields_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('\n{"id": "a", "text": "b", "source": 1}\n  \n')
    assert read_texts(tmp_path / "t.jsonl") == [Text("a", "b")]


def test_details_are_read_as_written_and_empty_ones_are_not_written(tmp_path: Path) -> None:
    texts = [Text("a", "Ada met Bo.", "Ada", ((0, 3), (8, 10))), Text("b", "nobody")]
    write_lines(tmp_path / "t.jsonl", texts)
    assert read_texts(tmp_path / "t.jsonl") == texts
    assert (tmp_path / "t.jsonl").read_text().splitlines()[1] == '{"id": "b", "text": "nobody"}'
    rows = [AugmentedText("a", 0, "Ada met Bo.", ((0, 3, 0.5), (3, 7, 1.0))), AugmentedText("a", 1, "Bo met Ada.")]
    write_lines(tmp_path / "a.jsonl", rows)
    assert read_augmented(tmp_path / "a.jsonl") == rows
    assert "hidden" not in (tmp_path / "a.jsonl").read_text()
    rows = [AugmentedText("a", 1, "Ada met Bo.", hidden=((0, 3), (3, 7)))]
    write_lines(tmp_path / "a.jsonl", rows)
    assert read_augmented(tmp_path / "a.jsonl") == rows


@pytest.mark.parametrize("hidden", ["[[0, 4]]", "[[2, 2]]", "[[1, 2], [0, 1]]", "[[0, 1.5]]", '"ab"', "[[0, 1, 1]]"])
def test_hidden_spans_outside_the_text_or_out_of_order_are_refused(tmp_path: Path, hidden: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"id": "a", "copy": 1, "text": "Ada", "hidden": {hidden}}}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:1: not an augmented text"):
        read_augmented(tmp_path / "a.jsonl")


GOOD = '{"id": "a", "text": "b"}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file has no texts"),
        ("\n\n", "the file has no texts"),
        (GOOD + '{"id": "b"}', ':2: each line needs "id" and a non-empty "text"'),
        (GOOD + '{"id": 7, "text": "b"}', ':2: each line needs "id"'),
        (GOOD + '{"id": "b", "text": " \\n"}', ':2: each line needs "id" and a non-empty "text"'),
        (GOOD + '{"id": "b", "text": null}', ":2: each line needs"),
        (GOOD + GOOD, ":2: duplicate id 'a'"),
        (GOOD + '["a", "b"]', ":2: expected a JSON object"),
        (GOOD + "\n{'id': 1}", ":3: not JSON: "),
        (GOOD + '{"id": "b", "text": "b', ":2: not JSON: "),
        (GOOD + '{"id": "b", "text": "b", "entities": [[0, 2]]}', ":2: subject, entities: expected"),
        (GOOD + '{"id": "b", "text": "bcd", "entities": [[0, 2], [1, 3]]}', ":2: subject, entities: expected"),
        (GOOD + '{"id": "b", "text": "b", "subject": 1}', ":2: subject, entities: expected"),
        (GOOD + '{"id": "b", "text": "\\ud83d"}', ":2: '\\ud83d' is not a character"),
    ],
)
def test_an_invalid_line_is_reported_with_file_and_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_texts(path)
    assert str(error.value).startswith(f"{path}:")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unreadable_file_is_reported_in_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(json.dumps({"id": "a", "text": "ü"}, ensure_ascii=False).encode("latin-1"))
    for path, says in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (latin, "not UTF-8")):
        with pytest.raises(UserError, match=says) as error:
            read_texts(path)
        assert str(error.value).startswith(f"{path}: ")
