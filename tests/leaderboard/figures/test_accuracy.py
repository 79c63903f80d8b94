"""The numbers of Figure 1, also for records from before distances were recorded."""

from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.data.people import FIELDS
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.records.record import read_record
from benchmark.runs.distances import distances_of_record
from benchmark.suite.schema import find_suite, load_suite
from benchmark.tasks.biography import biography
from leaderboard.figures.accuracy import accuracy_lines
from tests.conftest import ROOT
from tests.leaderboard.factory import write_record

SUITE = load_suite(find_suite("tiny"))


def nearer_is_better(field: str, person: int, seed: int) -> float:
    return float(FIELDS.index(field) < 3)


def test_each_field_and_each_bin_of_distances_has_a_line_with_its_exact_match(tmp_path: Path) -> None:
    write_record(tmp_path, grade=nearer_is_better, distance=lambda field, person: 5 * FIELDS.index(field))
    lines = accuracy_lines(tmp_path, "tiny", lambda record: None)
    fields = [line for line in lines if line["by"] == "field"]
    assert [(line["field"], line["tokens"], line["exact_match"]) for line in fields] == [
        ("birth_date", 0, 1),
        ("birth_city", 5, 1),
        ("university", 10, 1),
        ("major", 15, 0),
        ("company", 20, 0),
    ]
    bins = [line for line in lines if line["by"] == "distance"]
    assert [(line["low"], line["high"], line["exact_match"]) for line in bins] == [
        (0, 0, 1),
        (5, 5, 1),
        (10, 10, 1),
        (15, 15, 0),
        (20, 20, 0),
    ]
    assert {line["questions"] for line in lines} == {8}
    assert {line["distances"] for line in lines} == {"records"}


def test_records_without_distances_of_another_model_have_lines_of_fields_alone(tmp_path: Path) -> None:
    write_record(tmp_path)
    lines = accuracy_lines(tmp_path, "tiny", lambda record: None)
    assert {line["by"] for line in lines} == {"field"}
    assert {line["tokens"] for line in lines} == {None}
    assert {line["distances"] for line in lines} == {""}


def test_the_chart_shows_the_row_that_is_best_on_the_development_half(tmp_path: Path) -> None:
    for alpha, development in ((0.2, 1), (0.6, 7)):

        def grade(field: str, person: int, seed: int, best: int = development) -> float:
            """`best` of the development half (people 0 to 7) are right, and 8 - `best` of the test half."""
            return float(person < best if person < 8 else person - 8 < 8 - best)

        write_record(tmp_path, "random_dropout", grade=grade, method__parameters={"alpha": alpha})
    write_record(tmp_path, "sentence_shuffle")
    lines = accuracy_lines(tmp_path, "tiny", lambda record: None)
    assert {line["row"] for line in lines if line["shown"]} == {"random_dropout α=.6"}
    assert len({line["row"] for line in lines}) == 3


def test_a_suite_without_records_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path, suite="another")
    with pytest.raises(UserError, match="benchmark run tiny"):
        accuracy_lines(tmp_path, "tiny", lambda record: None)


def test_distances_for_older_records_are_measured_in_the_suites_texts_with_the_suites_model() -> None:
    path = next(iter(sorted((ROOT / "leaderboard/results/tiny").glob("*tiny_large-plain_matched*seed1*.json"))))
    record = read_record(path)
    distances = distances_of_record(record, SUITE)
    assert distances is not None and len(distances) == 100 * len(FIELDS)
    tokenizer = tokenizer_of(ModelSpec(model="zoo:large"))
    people = {person["id"]: person for person in biography.read_people()}
    for question in sorted(distances)[::37]:
        name, field = question.split(":")
        text, spans = people[name]["text"], people[name]["spans"]
        between = tokenizer(text[spans["name"][1] : spans[field][0]].rstrip(), add_special_tokens=False)
        assert distances[question] == len(between["input_ids"]), question
    other = record.model_copy(update={"model": record.model.model_copy(update={"fingerprint": "other"})})
    assert distances_of_record(other, SUITE) is None


def test_missing_distances_are_taken_from_the_task(tmp_path: Path) -> None:
    write_record(tmp_path)
    distances = {f"p{person}-{field}": 3 * index for person in range(16) for index, field in enumerate(FIELDS)}
    lines = accuracy_lines(tmp_path, "tiny", lambda record: distances)
    assert {(line["field"], line["tokens"]) for line in lines if line["by"] == "field"} == {
        (field, 3 * index) for index, field in enumerate(FIELDS)
    }
    assert {line["distances"] for line in lines} == {"task"}
