"""Masking hides in the input exactly what the dropout of the same name removes from the text."""

from collections.abc import Callable, Mapping

import pytest

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.methods import METHODS, augment, make_method
from benchmark.methods.masking import Masking

Tokenize = Callable[[Text], TokenScores]
TEXTS = [
    Text("a", "Ada Moss was born on May 4, 1931. She studied Botany at Lagos College, in Lagos."),
    Text("b", "李雷出生于上海,在北京大学学习化学。"),
    Text("c", "Quartz"),
    Text("d", "One line\nand another\n\tand a tab."),
]
OPTIONS: list[Mapping[str, object]] = [
    {},
    {"alpha": 1.0},
    {"alpha": 0.0},
    {"unit": "word"},
    {"keep_punctuation": False, "alpha": 0.9},
]
RANKED: list[Mapping[str, object]] = [{"beta": 2.0, "first_rank": 1}, {"beta": 0.001}]


def _copies(name: str, parameters: Mapping[str, object], tokenize: Tokenize) -> list[AugmentedText]:
    made = augment(make_method(name, parameters), TEXTS, [tokenize(text) for text in TEXTS], copies=20, seed=7)
    return [row for row in made if row.copy > 0]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(kind, options) for kind in ("random", "attention", "contrastive") for options in OPTIONS]
    + [(kind, options) for kind in ("attention", "contrastive") for options in RANKED]
    + [("random", {"rate": "as contrastive_dropout", "alpha": 0.4, "beta": 0.2})],
)
def test_the_hidden_spans_are_what_the_dropout_of_the_same_parameters_and_seed_deletes(
    kind: str, parameters: Mapping[str, object], tokenize: Tokenize
) -> None:
    whole = {text.id: text.text for text in TEXTS}
    deleted = _copies(f"{kind}_dropout", parameters, tokenize)
    hidden = _copies(f"{kind}_masking", parameters, tokenize)
    for short, full in zip(deleted, hidden, strict=True):
        assert (full.id, full.copy, full.text) == (short.id, short.copy, whole[short.id])
        characters = {at for start, end in full.hidden for at in range(start, end)}
        left = "".join(character for at, character in enumerate(full.text) if at not in characters)
        assert (left.strip() if full.hidden else left) == short.text
    assert any(row.hidden for row in hidden) == (parameters != {"alpha": 0.0})


def test_originals_have_no_hidden_spans(tokenize: Tokenize) -> None:
    rows = augment(make_method("contrastive_masking", {}), TEXTS, [tokenize(text) for text in TEXTS], 3, seed=1)
    assert not any(row.hidden for row in rows if row.copy == 0)


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if issubclass(method, Masking)))
def test_deleting_or_blanking_is_no_choice_where_tokens_are_hidden(name: str) -> None:
    with pytest.raises(UserError, match=f"^method '{name}': unknown parameter 'dropped'"):
        make_method(name, {"dropped": "blank"})
    assert "dropped" not in make_method(name, {}).key_parameters()
