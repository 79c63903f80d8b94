"""Masked reconstruction: the prompt's masked words, the target, and the weights."""

from benchmark.data.texts import AugmentedText, Text
from benchmark.methods import augment, make_method

TEXT = Text("t", "Ada (born 1815) met Bo, in Rome.")
WORDS = ["Ada", "born", "1815", "met", "Bo", "in", "Rome"]


def _copies(copies: int = 200, **parameters: float) -> list[AugmentedText]:
    return list(augment(make_method("masked_reconstruction", parameters), [TEXT], None, copies, seed=1))


def _masked(row: AugmentedText) -> str:
    """The masked text of a copy: what lies between the instruction and the target."""
    _, masked, target = row.text.split("\n\n")
    assert target == f"Complete text:\n{TEXT.text}"
    return masked


def test_without_masks_and_with_all_words_masked_a_copy_is_as_written_by_hand() -> None:
    (nothing,) = {row.text for row in _copies(5, low=0.0, high=0.0)}
    assert nothing == f"Fill in every [MASK] and write the complete text.\n\n{TEXT.text}\n\nComplete text:\n{TEXT.text}"
    assert {_masked(row) for row in _copies(5, low=1.0, high=1.0)} == {
        "[MASK] ([MASK] [MASK]) [MASK] [MASK], [MASK] [MASK]."
    }


def test_only_masks_differ_from_the_original_and_every_word_is_masked_equally_often() -> None:
    masked = [_masked(row) for row in _copies(700, low=0.5, high=0.5)]
    times = dict.fromkeys(WORDS, 0)
    for text in masked:
        pieces = text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").replace(".", " . ").split()
        whole = TEXT.text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").replace(".", " . ").split()
        for piece, word in zip(pieces, whole, strict=True):
            assert piece in (word, "[MASK]")
            times[word] = times.get(word, 0) + (piece == "[MASK]")
    assert set(times) - set(WORDS) == {"(", ")", ",", "."} and sum(times[mark] for mark in "(),.") == 0
    assert all(abs(times[word] - 350) < 70 for word in WORDS), times  # 350, within five standard deviations
    assert {text.count("[MASK]") for text in masked} == {3, 4}


def test_the_share_is_drawn_anew_between_the_bounds_for_each_copy() -> None:
    counts = [_masked(row).count("[MASK]") for row in _copies(700, low=0.0, high=1.0)]
    assert set(counts) == set(range(8))
    assert abs(sum(counts) / 700 - 3.5) < 0.4


def test_the_prompt_has_weight_0_and_the_original_weight_1() -> None:
    for row in _copies(10):
        (start, middle, of_prompt), (again, end, of_target) = row.values
        assert (start, again, end) == (0, middle, len(row.text))
        assert row.text[middle:] == TEXT.text and (of_prompt, of_target) == (0.0, 1.0)


def test_the_originals_alone_are_not_trained_on() -> None:
    assert [row.copy for row in _copies(3)] == [1, 2, 3]


def test_the_examples_of_long_copies_are_as_long_as_any_copy_in_words() -> None:
    method = make_method("masked_reconstruction", {})
    longest = max(len(copy) for copy in method.longest_copies(TEXT.text))
    assert all(len(row.text) <= longest for row in _copies(300))
    assert make_method("eda", {}).longest_copies(TEXT.text) == ()
