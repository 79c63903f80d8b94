"""Full name: pronouns become the name of the subject."""

import random

import pytest

from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.methods import augment, make_method

NAME = "Ada Moss"


def _named(content: str, subject: str = NAME, *entities: tuple[int, int]) -> str:
    return make_method("full_name", {}).augment_one(Text("t", content, subject, entities), None, random.Random(1))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("She ran.", "Ada Moss ran."),
        ("Then she ran, and he sat.", "Then Ada Moss ran, and Ada Moss sat."),
        ("Her life began on May 4, 1931.", "Ada Moss's life began on May 4, 1931."),
        ("His subject was Botany.", "Ada Moss's subject was Botany."),
        ("In her own house her 3 cats slept.", "In Ada Moss's own house Ada Moss's 3 cats slept."),
        ("They met her.", "They met Ada Moss."),
        ("They met her in Lagos and him at home.", "They met Ada Moss in Lagos and Ada Moss at home."),
        ("It made her a star, and led her to Rome.", "It made Ada Moss a star, and led Ada Moss to Rome."),
        ("The house was hers, the cat his.", "The house was Ada Moss's, the cat Ada Moss's."),
        ("They saw her, her mother and her\nsister.", "They saw Ada Moss, Ada Moss's mother and Ada Moss's\nsister."),
        ("She's old; he'd left.", "Ada Moss's old; Ada Moss'd left."),
        ("She taught herself; he hurt himself.", "Ada Moss taught herself; Ada Moss hurt himself."),
        ("The shepherd of Hershey has a she-wolf, HE said.", "The shepherd of Hershey has a she-wolf, HE said."),
        ("Nobody is meant here.", "Nobody is meant here."),
    ],
)
def test_every_pronoun_becomes_the_name_in_the_right_form(content: str, expected: str) -> None:
    assert _named(content) == expected


def test_a_lower_case_subject_is_capitalised_where_the_pronoun_was() -> None:
    assert _named("She met her.", "the duchess of York") == "The duchess of York met the duchess of York."


def test_a_pronoun_in_an_entity_stays() -> None:
    assert _named("She wrote His Dark Nights.", NAME, (10, 25)) == "Ada Moss wrote His Dark Nights."


def test_other_scripts_stay_as_they_are() -> None:
    for content in ("她出生于上海。", "היא נולדה", "🎉 žena šla"):
        assert _named(content) == content


def test_the_error_for_a_text_without_subject_names_its_id() -> None:
    with pytest.raises(UserError, match="text 'b': full_name needs its \"subject\""):
        list(augment(make_method("full_name", {}), [Text("a", "x", "y"), Text("b", "x")], None, 1, seed=1))
