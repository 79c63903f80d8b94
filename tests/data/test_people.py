"""Made-up people: spans point at facts, larger sets begin with smaller ones, names are distinct."""

import hashlib
import itertools
import json
import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data import people as module
from benchmark.data.people import (
    FIELDS,
    MAJORS,
    QUESTIONS,
    WORDINGS,
    ParagraphStyle,
    cities,
    companies,
    make_people,
    people_lines,
    place_universities,
    university_lines,
    write_paragraph,
)
from benchmark.data.people import universities as all_universities
from benchmark.tasks.biography import biography

ROOT = Path(__file__).resolve().parents[2]
SOME = list(make_people(300, 3))
STYLES = [
    ParagraphStyle(),
    ParagraphStyle(order=None, seed=5),
    ParagraphStyle(order=FIELDS[::-1]),
    ParagraphStyle(wordings=3, seed=5),
    ParagraphStyle(full_name=True),
    ParagraphStyle(order=None, wordings=5, full_name=True, seed=5),
]


@settings(max_examples=200)
@given(
    st.sampled_from(SOME),
    st.permutations(FIELDS),
    st.fixed_dictionaries({field: st.integers(0, len(WORDINGS[field]) - 1) for field in FIELDS}),
)
def test_spans_point_at_name_and_facts_in_every_order_and_wording(
    person: module.Person, order: list[str], wording: dict[str, int]
) -> None:
    paragraph = write_paragraph(person, order, wording)
    expected = {"name": person.name, **person.facts}
    assert {field: paragraph.text[start:end] for field, (start, end) in paragraph.spans.items()} == expected
    assert sorted(FIELDS, key=lambda field: paragraph.spans[field]) == list(order)
    assert (
        paragraph.text[0].isupper()
        and paragraph.text.endswith(".")
        and "  " not in paragraph.text
        and "{" not in paragraph.text
    )


@pytest.mark.parametrize(("order", "wording"), [*itertools.product(itertools.permutations(FIELDS, 2), range(5))])
def test_only_the_first_sentence_has_the_full_name(order: tuple[str, ...], wording: int) -> None:
    for person in SOME[:6]:
        first, second = write_paragraph(person, order, dict.fromkeys(order, wording)).text.split(". ")
        assert person.name in first and person.name not in second
        pronouns = {"He": {"he", "his"}, "She": {"she", "her"}}[person.pronoun]
        assert pronouns & set(second.lower().rstrip(".").split())


FACTS = dict(zip(FIELDS, ("May 4, 1931", "Lagos, Nigeria", "Lagos College", "Botany", "Cedar Foods"), strict=True))
ADA = module.Person("person-00000", "Ada Moss", "She", FACTS)


def test_every_sentence_has_the_full_name_on_request() -> None:
    paragraph = write_paragraph(ADA, FIELDS[::-1], {"major": 1, "birth_city": 4}, full_name=True)
    assert paragraph.text == (
        "Ada Moss worked for Cedar Foods. Ada Moss's subject was Botany. Ada Moss studied at Lagos College. "
        "In Lagos, Nigeria, Ada Moss was raised. Ada Moss was born on May 4, 1931."
    )
    assert paragraph.spans["name"] == (0, 8)


@settings(max_examples=200)
@given(
    st.sampled_from(SOME),
    st.one_of(st.none(), st.permutations(FIELDS)),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_spans_point_at_name_and_facts_in_every_style(
    person: module.Person, order: list[str] | None, wordings: int, full_name: bool, seed: int
) -> None:
    (line,) = people_lines([person], ParagraphStyle(order, wordings, full_name, seed))
    row = json.loads(line)
    expected = {"name": person.name, **person.facts}
    assert {field: row["text"][start:end] for field, (start, end) in row["spans"].items()} == expected
    actual = sorted(FIELDS, key=lambda field: row["spans"][field][0])
    assert actual == list(order) if order else sorted(actual) == sorted(FIELDS)
    assert row["spans"]["name"][0] == row["text"].index(person.name)
    assert row["text"].count(person.name) == (len(FIELDS) if full_name else 1)
    pronouns = re.findall(r"\b(he|she|his|her)\b", row["text"], re.IGNORECASE)
    assert len(pronouns) == (0 if full_name else len(FIELDS) - 1)


def test_the_style_changes_only_the_text_and_its_spans() -> None:
    plain, *others = ([json.loads(line) for line in people_lines(SOME, style)] for style in STYLES)
    fields = ("id", "half", "name", "pronoun", "facts")
    for rows in others:
        assert [{key: row[key] for key in fields} for row in rows] == [
            {key: row[key] for key in fields} for row in plain
        ]
        assert [row["text"] for row in rows] != [row["text"] for row in plain]


def _order_of(paragraph: module.PersonText) -> tuple[str, ...]:
    return tuple(sorted(FIELDS, key=lambda field: paragraph.spans[field]))


def test_shuffled_orders_are_uniform_and_independent_of_the_wordings() -> None:
    people = list(make_people(2000, 4))
    orders = [_order_of(ParagraphStyle(None, seed=1).write(person)) for person in people]
    first = Counter(order[0] for order in orders)
    assert set(first) == set(FIELDS)
    assert all(330 < times < 470 for times in first.values())  # 400, within four standard deviations
    assert len(set(orders)) == 120
    assert orders == [_order_of(ParagraphStyle(None, 5, True, seed=1).write(person)) for person in people]
    assert orders != [_order_of(ParagraphStyle(None, seed=2).write(person)) for person in people]


@pytest.mark.parametrize("wordings", range(1, 6))
def test_all_requested_wordings_are_used_and_no_others(wordings: int) -> None:
    used: dict[str, Counter[int]] = {field: Counter() for field in FIELDS}
    for person in SOME:
        text = ParagraphStyle(wordings=wordings, full_name=True).write(person).text
        for field, counts in used.items():
            sentences = [write_paragraph(person, [field], {field: i}).text for i in range(5)]
            (wording,) = (i for i, sentence in enumerate(sentences) if sentence in text)
            counts[wording] += 1
    assert all(set(counts) == set(range(wordings)) for counts in used.values())
    assert all(min(counts.values()) > 300 / wordings / 2 for counts in used.values())


def test_every_fact_has_the_five_wordings_that_the_command_offers() -> None:
    assert {len(wordings) for wordings in WORDINGS.values()} == {5}


def test_the_default_paragraph_reads_as_expected() -> None:
    paragraph = write_paragraph(ADA)
    assert paragraph.text == (
        "Ada Moss was born on May 4, 1931. She grew up in Lagos, Nigeria. She studied at Lagos College. "
        "She majored in Botany. She worked for Cedar Foods."
    )


@settings(max_examples=20)
@given(st.integers(), st.integers(0, 60), st.integers(0, 60))
def test_a_larger_set_begins_with_the_smaller_set(seed: int, fewer: int, more: int) -> None:
    assert list(make_people(fewer, seed)) == list(make_people(fewer + more, seed))[:fewer]


@pytest.mark.parametrize("style", STYLES)
def test_a_larger_file_begins_with_the_smaller_file(style: ParagraphStyle) -> None:
    larger = list(people_lines(make_people(1200, 6), style))
    for count in (10, 99, 1000):
        assert list(people_lines(make_people(count, 6), style)) == larger[:count]


def test_lines_are_made_one_at_a_time() -> None:
    list(people_lines(make_people(1, 1)))  # loads the lists of values
    tracemalloc.start()
    size = sum(map(len, people_lines(make_people(1000, 1), STYLES[-1])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 3  # only the names stay in memory, a sixth of the text


def test_names_are_distinct_and_none_is_a_name_to_avoid() -> None:
    avoid = {person.name for person in SOME[:100]}
    made = list(make_people(3000, 3, avoid))
    names = [person.name for person in made]
    assert len(set(names)) == 3000
    assert not avoid & set(names)
    # Avoiding names leaves the other people unchanged.
    assert made[150].facts == SOME[150].facts


def test_people_have_a_middle_name_once_half_of_the_short_names_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = (("Ada", "Bea", "Cleo"), ("Al", "Bob"), ("Moss", "Lee"))
    monkeypatch.setattr(module, "_given_and_family_names", lambda: lists)
    # 10 short names; with a middle name other than the first name, 12 of women and 4 of men.
    people = list(make_people(5 + 8, 1))
    assert len({person.name for person in people}) == 13
    for number, person in enumerate(people):
        *given, family = person.name.split()
        assert len(given) == len(set(given)) == (1 if number < 5 else 2)
        assert set(given) <= set(lists[0] if person.pronoun == "She" else lists[1]) and family in lists[2]
    with pytest.raises(ValueError, match="14 people need more"):
        next(make_people(14, 1))


@pytest.mark.slow
def test_names_are_distinct_at_any_size() -> None:
    names = [person.name for person in make_people(353_000, 1)]
    assert len(set(names)) == 353_000
    assert {len(name.split()) for name in names[:351_500]} == {2}  # 381 + 322 given names, 1000 family names, the half
    assert {len(name.split()) for name in names[351_500:]} == {3}


def test_another_seed_makes_other_people() -> None:
    assert not {p.name for p in make_people(50, 1)} & {p.name for p in make_people(50, 2)}


def test_more_people_than_names_are_rejected_at_once() -> None:
    with pytest.raises(ValueError, match="more distinct names than the name lists give"):
        next(make_people(10**9, 1))


def test_every_list_has_at_least_100_distinct_ascii_values() -> None:
    for values in (cities(), all_universities(), companies(), MAJORS):
        assert len(set(values)) == len(values) >= 100
        assert all(value.isascii() and value == value.strip() for value in values)


def test_the_shipped_people_equal_those_of_their_seed_byte_for_byte() -> None:
    shipped = (ROOT / "tasks" / "biography" / "people.jsonl").read_bytes()
    assert "".join(people_lines(make_people(100, 2026))).encode() == shipped


def test_people_made_by_earlier_versions_stay_the_same_byte_for_byte() -> None:
    """Hashes from the first version: of the people that the tiny pair was trained on, and of others."""
    avoid = {p["name"] for p in [*biography.read_people(), *biography.read_shots()]}
    hashes = [
        hashlib.sha256("".join(people_lines(people)).encode()).hexdigest()
        for people in (make_people(*module.TRAINED_ON, avoid), make_people(3000, 7))
    ]
    assert hashes == [
        "f568b72b098a76e53164eef61eeef0712e4b4e89ab956a6a6b28cbc67b14029a",
        "2a3ca33ecaab78a0e9014b31ffaeca4ef833ce9fdac72a4365e885b6ca3250fd",
    ]


@pytest.mark.parametrize("style", STYLES)
def test_the_task_reads_people_in_every_style(tmp_path: Path, style: ParagraphStyle) -> None:
    (tmp_path / "p.jsonl").write_text("".join(people_lines(SOME[:40], style)), encoding="utf-8")
    assert [row["text"] for row in biography.read_people(tmp_path / "p.jsonl")] == [
        style.write(p).text for p in SOME[:40]
    ]


def test_the_task_reads_what_people_lines_writes(tmp_path: Path) -> None:
    made = SOME[:5]
    (tmp_path / "p.jsonl").write_text("".join(people_lines(made)), encoding="utf-8")
    read = biography.read_people(tmp_path / "p.jsonl")
    assert [row["half"] for row in read] == ["development", "test", "development", "test", "development"]
    for row, person in zip(read, made, strict=True):
        assert (row["id"], row["name"], row["facts"]) == (person.id, person.name, person.facts)
        assert (row["text"], row["spans"]) == (write_paragraph(person).text, write_paragraph(person).spans)


def test_the_questions_are_those_of_the_task() -> None:
    assert QUESTIONS == biography.QUESTIONS
    assert FIELDS == biography.FIELDS


def test_the_tiny_pair_was_trained_on_no_person_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.cli.zoo import zoo_train
    from benchmark.models.zoo import recipe

    assert module.TRAINED_ON == (recipe.TOKENIZER_PEOPLE, recipe.PEOPLE_SEED)
    assert all(shape.people <= recipe.TOKENIZER_PEOPLE for shape in recipe.SHAPES.values())

    evaluated = {p["name"] for p in biography.read_people()} | {p["name"] for p in biography.read_shots()}
    given_to_recipe: list[set[str]] = []
    monkeypatch.setattr(recipe, "train", lambda name, out, without, *rest: given_to_recipe.append(without))
    zoo_train("small", tmp_path, 1)
    assert given_to_recipe == [evaluated]
    assert not evaluated & {person.name for person in make_people(*module.TRAINED_ON, evaluated)}


def test_the_people_command_gives_the_shipped_people_by_default(tmp_path: Path, capsys: Any) -> None:
    from benchmark.cli.people import people

    people(tmp_path / "people.jsonl")
    assert capsys.readouterr().out == f"{tmp_path / 'people.jsonl'}: 100 people\n"
    assert (tmp_path / "people.jsonl").read_bytes() == biography.PEOPLE.read_bytes()


def test_people_of_the_command_share_no_name_with_those_the_tiny_pair_was_trained_on(tmp_path: Path) -> None:
    from benchmark.cli.people import people

    known = {p["name"] for p in [*biography.read_people(), *biography.read_shots()]}
    known = {p.name for p in make_people(*module.TRAINED_ON, known)}
    # Without avoiding names, this seed would give the tiny pair's people.
    assert known & {p.name for p in make_people(50, module.TRAINED_ON[1])}
    people(tmp_path / "people.jsonl", count=50, seed=module.TRAINED_ON[1])
    assert not known & {p["name"] for p in biography.read_people(tmp_path / "people.jsonl")}


def test_the_people_command_writes_in_the_requested_style(tmp_path: Path) -> None:
    from benchmark.cli.people import people

    order = "company,major,birth_date,university,birth_city"
    cases: dict[str, tuple[dict[str, Any], ParagraphStyle]] = {
        "order": ({"order": order}, ParagraphStyle(order=order.split(","))),
        "shuffled": ({"order": "shuffled"}, ParagraphStyle(order=None, seed=2026)),
        "wordings": ({"wordings": 4}, ParagraphStyle(wordings=4, seed=2026)),
        "names": ({"names": "full"}, ParagraphStyle(full_name=True)),
    }
    shipped = [module.Person(p["id"], p["name"], p["pronoun"], p["facts"]) for p in _rows(biography.PEOPLE)]
    for name, (options, style) in cases.items():
        people(tmp_path / name, **options)
        assert (tmp_path / name).read_text(encoding="utf-8") == "".join(people_lines(shipped, style))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_measuring_script_prints_a_row_per_step_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    from scripts import measure_generator

    measure_generator.main(["--counts", "10", "--steps", "read", "write", "--options", "--names", "full"])
    *_, first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (first[:2], second[:2]) == (["write", "10"], ["read", "10"])
    assert all(float(row[2]) > 0 and float(row[4]) > 5 for row in (first, second))


def test_the_shipped_universities_are_those_of_the_generator() -> None:
    rows = [json.loads(line) for line in biography.PEOPLE.read_text().splitlines()]
    people = [module.Person(*(row[key] for key in ("id", "name", "pronoun", "facts"))) for row in rows]
    table = ROOT / "tasks" / "biography" / "universities.jsonl"
    assert "".join(university_lines(place_universities(people))) == table.read_text()


def test_a_university_with_people_from_every_city_lies_where_fewest_grew_up() -> None:
    first = next(make_people(1, 4))
    college = {**first.facts, "university": "Nowhere College"}
    rare = cities()[7]
    people = [
        replace(first, facts={**college, "birth_city": city})
        for city in cities()
        for _ in range(1 if city == rare else 2)
    ]
    assert [place.city for place in place_universities(people)] == [rare]


def test_a_university_lies_neither_in_the_city_of_its_name_nor_where_its_students_grew_up() -> None:
    people = list(make_people(2000, 4))
    placed = list(place_universities(people))
    assert {place.name for place in placed} == {person.facts["university"] for person in people}
    city_of = {place.name: place.city for place in placed}
    assert set(city_of.values()) <= set(cities())
    assert not any(city.split(",")[0] in name for name, city in city_of.items())
    assert not any(city_of[person.facts["university"]] == person.facts["birth_city"] for person in people)
    for line in map(json.loads, university_lines(placed)):
        spans = {field: line["text"][slice(*span)] for field, span in line["spans"].items()}
        assert spans["city"] == line["city"] and spans["name"].lower() == line["name"].lower()
        assert line["text"] == f"{spans['name']} lies in {spans['city']}." and line["text"][0].isupper()
