"""Made-up people: spans that point at facts, streams that do not shift, names that keep apart."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import people as module
from benchmark.people import FIELDS, MAJORS, QUESTIONS, WORDINGS, as_lines, cities, companies, make_people, tell
from benchmark.people import universities as all_universities
from tasks.biography import biography

ROOT = Path(__file__).resolve().parents[1]
SOME = list(make_people(300, 3))


@settings(max_examples=200)
@given(
    st.sampled_from(SOME),
    st.permutations(FIELDS),
    st.fixed_dictionaries({field: st.integers(0, len(WORDINGS[field]) - 1) for field in FIELDS}),
)
def test_spans_point_at_name_and_facts_in_every_order_and_wording(
    person: module.Person, order: list[str], wording: dict[str, int]
) -> None:
    told = tell(person, order, wording)
    expected = {"name": person.name, **person.facts}
    assert {field: told.text[start:end] for field, (start, end) in told.spans.items()} == expected
    assert sorted(FIELDS, key=lambda field: told.spans[field]) == list(order)
    assert told.text[0].isupper() and told.text.endswith(".") and "  " not in told.text and "{" not in told.text


@pytest.mark.parametrize(("order", "wording"), [*itertools.product(itertools.permutations(FIELDS, 2), range(5))])
def test_the_full_name_stands_in_the_first_sentence_alone(order: tuple[str, ...], wording: int) -> None:
    for person in SOME[:6]:
        first, second = tell(person, order, dict.fromkeys(order, wording)).text.split(". ")
        assert person.name in first and person.name not in second
        pronouns = {"He": {"he", "his"}, "She": {"she", "her"}}[person.pronoun]
        assert pronouns & set(second.lower().rstrip(".").split())


def test_the_paragraph_of_evaluation_reads_as_it_should() -> None:
    facts = dict(zip(FIELDS, ("May 4, 1931", "Lagos, Nigeria", "Lagos College", "Botany", "Cedar Foods"), strict=True))
    told = tell(module.Person("person-00000", "Ada Moss", "She", facts))
    assert told.text == (
        "Ada Moss was born on May 4, 1931. She grew up in Lagos, Nigeria. She studied at Lagos College. "
        "She majored in Botany. She worked for Cedar Foods."
    )


@settings(max_examples=20)
@given(st.integers(), st.integers(0, 60), st.integers(0, 60))
def test_the_first_of_a_larger_set_are_the_smaller_set(seed: int, fewer: int, more: int) -> None:
    assert list(make_people(fewer, seed)) == list(make_people(fewer + more, seed))[:fewer]


def test_names_are_distinct_and_none_is_one_to_avoid() -> None:
    avoid = {person.name for person in SOME[:100]}
    made = list(make_people(3000, 3, avoid))
    names = [person.name for person in made]
    assert len(set(names)) == 3000
    assert not avoid & set(names)
    # Who was not to be avoided, and took nobody's name, is the same as ever.
    assert made[150].facts == SOME[150].facts


def test_another_seed_makes_other_people() -> None:
    assert not {p.name for p in make_people(50, 1)} & {p.name for p in make_people(50, 2)}


def test_more_people_than_names_are_refused_before_the_search_gets_long() -> None:
    with pytest.raises(ValueError, match="more than the name lists can name apart"):
        next(make_people(10**7, 1))


def test_values_are_plentiful_distinct_and_in_plain_letters() -> None:
    for values in (cities(), all_universities(), companies(), MAJORS):
        assert len(set(values)) == len(values) >= 100
        assert all(value.isascii() and value == value.strip() for value in values)


def test_the_shipped_people_are_what_their_seed_gives_byte_for_byte() -> None:
    shipped = (ROOT / "tasks" / "biography" / "people.jsonl").read_bytes()
    assert "".join(as_lines(make_people(100, 2026))).encode() == shipped


def test_what_is_written_is_what_the_task_reads(tmp_path: Path) -> None:
    made = SOME[:5]
    (tmp_path / "p.jsonl").write_text("".join(as_lines(made)), encoding="utf-8")
    read = biography.read_people(tmp_path / "p.jsonl")
    assert [row["half"] for row in read] == ["development", "test", "development", "test", "development"]
    for row, person in zip(read, made, strict=True):
        assert (row["id"], row["name"], row["facts"]) == (person.id, person.name, person.facts)
        assert (row["text"], row["spans"]) == (tell(person).text, tell(person).spans)


def test_the_questions_are_those_of_the_task() -> None:
    assert QUESTIONS == biography.QUESTIONS
    assert FIELDS == biography.FIELDS


def test_the_tiny_pair_was_trained_on_nobody_it_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark import cli
    from benchmark.models.zoo import recipe

    assert module.TRAINED_ON == (recipe.TOKENIZER_PEOPLE, recipe.PEOPLE_SEED)
    assert all(shape.people <= recipe.TOKENIZER_PEOPLE for shape in recipe.SHAPES.values())

    evaluated = {p["name"] for p in biography.read_people()} | {p["name"] for p in biography.read_shots()}
    given_to_recipe: list[set[str]] = []
    monkeypatch.setattr(recipe, "train", lambda name, out, without, *rest: given_to_recipe.append(without))
    cli.zoo_train("small", tmp_path, 1)
    assert given_to_recipe == [evaluated]
    assert not evaluated & {person.name for person in make_people(*module.TRAINED_ON, evaluated)}


def test_the_people_command_gives_the_shipped_people_by_default(tmp_path: Path, capsys: Any) -> None:
    from benchmark import cli

    cli.people(tmp_path / "people.jsonl")
    assert capsys.readouterr().out == f"{tmp_path / 'people.jsonl'}: 100 people\n"
    assert (tmp_path / "people.jsonl").read_bytes() == biography.PEOPLE.read_bytes()


def test_people_of_the_command_share_no_name_with_those_the_tiny_pair_knows(tmp_path: Path) -> None:
    from benchmark import cli

    known = {p["name"] for p in [*biography.read_people(), *biography.read_shots()]}
    known = {p.name for p in make_people(*module.TRAINED_ON, known)}
    # The seed of the tiny pair's people would give those very people.
    assert known & {p.name for p in make_people(50, module.TRAINED_ON[1])}
    cli.people(tmp_path / "people.jsonl", count=50, seed=module.TRAINED_ON[1])
    assert not known & {p["name"] for p in biography.read_people(tmp_path / "people.jsonl")}
