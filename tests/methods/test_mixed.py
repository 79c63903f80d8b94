"""Mixed: which part each copy comes from."""

from collections import Counter

from benchmark.data.texts import Text
from benchmark.data.written import WrittenText
from benchmark.methods import augment, make_method

TEXTS = [Text(f"t{number}", f"Ada {number} was born in Lagos.") for number in range(300)]
NUMBERS = {"rewrite": (1, 2), "implications": (1,)}  # samples that the writer gave, by part


def _parts(weights: dict[str, float], copies: int = 2) -> list[list[str]]:
    """The part of every copy, by number of the copy."""
    method = make_method("mixed", {"parts": weights, "writer": "w"})
    written = {
        f"write_{part}": [
            WrittenText(text.id, number, f"{part}:{text.id}", "p", (), 1, 1, 1, "stop")
            for text in TEXTS
            for number in NUMBERS[part]
        ]
        for part in weights
        if part in NUMBERS
    }
    made = [text for text in augment(method, TEXTS, None, copies, 1, written) if text.copy > 0]
    return [[text.text.split(":")[0] for text in made if text.copy == copy] for copy in range(1, copies + 1)]


def test_parts_are_drawn_by_weight_among_those_that_have_a_sample() -> None:
    first, second, third = _parts({"rewrite": 3.0, "implications": 1.0}, copies=3)
    assert abs(Counter(first)["rewrite"] / 300 - 0.75) < 0.13  # five standard errors
    assert set(second) == {"rewrite"} and third == []


def test_the_order_in_which_a_suite_lists_the_parts_does_not_matter() -> None:
    # Keys hold the parts without their order, so two orders share an artifact.
    one = {"original": 1.0, "rewrite": 2.0, "implications": 1.0}
    assert _parts(one) == _parts(dict(reversed(one.items())))
