"""Passages: nothing but white space is lost, none is too long, and cuts are at headings."""

from hypothesis import given
from hypothesis import strategies as st

from benchmark.documents.passages import MOST, passages


def test_a_short_text_is_its_only_passage() -> None:
    assert passages("# Port\n\nDug in 1871.") == ["# Port\n\nDug in 1871."]


def test_a_cut_is_at_a_heading_and_the_title_stands_before_later_passages() -> None:
    depth, fish = "It is deep. " * 100, "Eels are sold. " * 60
    text = f"# Port\n\n{depth.strip()}\n\n## Fish\n\n{fish.strip()}"
    assert passages(text) == [f"# Port\n\n{depth.strip()}", f"# Port\n\n## Fish\n\n{fish.strip()}"]


def test_a_long_paragraph_is_cut_at_the_end_of_a_sentence_or_word_or_anywhere() -> None:
    sentences = "One two three. " * 300
    assert all(len(piece) <= MOST and piece.endswith("three.") for piece in passages(sentences.strip()))
    assert {word for piece in passages("word " * 1000) for word in piece.split()} == {"word"}
    assert [len(piece) for piece in passages("x" * (MOST + 5))] == [MOST - 2, 7]


def test_a_heading_stays_with_the_text_below_it() -> None:
    depth, fish = "It is deep. " * 160, "Eels are sold. " * 140
    first, *others = passages(f"# Port\n\n{depth.strip()}\n\n## Fish\n\n### Eels\n\n{fish.strip()}")
    assert first == f"# Port\n\n{depth.strip()}"
    assert others[0].startswith("# Port\n\n## Fish\n\n### Eels\n\nEels are sold.")
    (whole, *_) = passages(f"# Port\n\n{'It is deep. ' * 400}")
    assert whole.startswith("# Port\n\nIt is deep.") and len(whole) > MOST // 2
    assert passages("Text.\n\n# End")[-1].endswith("# End")


def test_each_piece_of_a_table_begins_with_its_first_row() -> None:
    rows = [f"ship {number} | captain {number}" for number in range(200)]
    table = "\n".join(["name | captain", *rows])
    pieces = passages(f"# Ships\n\n{table}")
    assert len(pieces) > 2 and all(piece.startswith("# Ships\n\nname | captain\nship ") for piece in pieces)
    read = [line for piece in pieces for line in piece.splitlines() if line.startswith("ship ")]
    assert read == rows and all(len(piece) <= MOST for piece in pieces)


@given(st.text(alphabet="ab #.\n", max_size=9000).filter(str.strip))
def test_only_white_space_is_lost(text: str) -> None:
    pieces = passages(text)
    title = text.split("\n")[0].rstrip() if text.startswith("# ") and text.split("\n")[0][2:3].strip() else ""
    bare = [piece.removeprefix(f"{title}\n\n") if title and number else piece for number, piece in enumerate(pieces)]
    assert "".join("".join(bare).split()) == "".join(text.split())
    assert all(len(piece) <= MOST + len(title) for piece in pieces)
