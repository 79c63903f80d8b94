"""Questions about people that are not direct: what they ask, alone and under stock lm-eval."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmark.data import people as generator
from benchmark.tasks.biography import biography, other_questions

ROOT = Path(__file__).parents[2]
GROUPS = ("biography_paraphrased", "biography_reverse", "biography_two_hop", "biography_one_hop")
SMALL = ROOT / "benchmark" / "models" / "zoo" / "small"


def loaded(*groups: str, **metadata: object) -> dict[str, Any]:
    """Load groups as lm-eval does; tasks by name."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    tasks: dict[str, Any] = manager.load(list(groups))["tasks"]
    return tasks


def asked(kind: str, half: str = "all", universities: bool = True, **options: Any) -> list[dict[str, Any]]:
    """The questions of a kind."""
    questions: list[dict[str, Any]] = other_questions.load(kind, half, universities=universities, **options)[
        "questions"
    ].to_list()
    return questions


def facts() -> dict[str, dict[str, Any]]:
    """The lines of people.jsonl by id."""
    rows = [json.loads(line) for line in biography.PEOPLE.read_text().splitlines()]
    return {row["id"]: row for row in rows}


def test_every_group_has_its_tasks_with_golds_and_real_examples() -> None:
    tasks = loaded(*GROUPS, half="all", universities=True)
    assert {name: (len(task.dataset["questions"]), len(task.dataset["shots"])) for name, task in tasks.items()} == {
        **{f"biography_{field}_paraphrased": (300, 10) for field in biography.FIELDS},
        "biography_birth_date_birth_city_reverse": (100, 10),
        "biography_university_major_reverse": (100, 10),
        "biography_birth_city_company_reverse": (100, 10),
        "biography_university_city_two_hop": (100, 10),
        "biography_first_born_two_hop": (100, 5),
        "biography_university_city_one_hop": (84, 10),
    }
    for task in tasks.values():
        for split in ("questions", "shots"):
            for row in task.dataset[split]:
                assert row["question"].startswith("Question: ") and row["question"].endswith("?\nAnswer:")
                assert row["answers"] and all(row["answers"]) and "{" not in row["question"]
        assert all(row["id"].startswith("real-") for row in task.dataset["shots"])
        config = task.config
        assert (config.num_fewshot, config.output_type) == (5, "generate_until")
        assert [metric["metric"] for metric in config.metric_list] == ["exact_match", "f1", "answered"]


def test_no_other_question_is_a_direct_one_or_in_a_training_text_of_the_tiny_pair() -> None:
    from benchmark.models.zoo.recipe import documents

    patterns = {
        wording: re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording)))
        for wording in (
            *(wording for of_field in other_questions.PARAPHRASES.values() for wording in of_field),
            *other_questions.REVERSE.values(),
            other_questions.CITY_OF,
            other_questions.CITY_OF_THEIRS,
            other_questions.FIRST_BORN,
        )
    }
    assert len(patterns) == 15 + 3 + 3
    assert re.search(patterns["When was {name} born?"], "Question: When was Ada Moss born?")
    people = list(generator.make_people(40, 1))
    stream = documents(people, people[::2], random.Random(0))
    trained_on = [next(stream) for _ in range(3000)]
    trained_on += [question.format(name="Ada Moss") for question in generator.QUESTIONS.values()]
    trained_on += [
        wording.format(who="Ada Moss", whose="Ada Moss's", value="Oslo")
        for of_field in generator.WORDINGS.values()
        for wording in of_field
    ]
    for text in trained_on:
        for pattern in patterns.values():
            assert not pattern.search(text)
    for question in biography.QUESTIONS.values():
        assert question not in patterns


def test_paraphrases_ask_for_the_same_fact_three_times() -> None:
    people = facts()
    for field in biography.FIELDS:
        rows = asked("paraphrased", fields=[field])
        assert Counter(row["cluster"] for row in rows) == Counter(dict.fromkeys(people, 3))
        for row in rows:
            person, asked_field, number = row["id"].split(":")
            assert (person, asked_field, row["half"]) == (row["cluster"], field, people[person]["half"])
            assert row["answers"] == [people[person]["facts"][field]] and people[person]["name"] in row["question"]
            assert number in "123"
    assert "When was Barry Valenzuela born?" in asked("paraphrased", fields=["birth_date"])[0]["question"]
    shots = other_questions.load("paraphrased", fields=["company"])["shots"]
    assert shots[0]["question"] == "Question: Who was the employer of Grace Hopper?\nAnswer:"


def test_reverse_questions_have_every_person_with_both_facts_as_gold(tmp_path: Path) -> None:
    people = list(facts().values())
    for fields in (["birth_date", "birth_city"], ["university", "major"], ["birth_city", "company"]):
        for row, person in zip(asked("reverse", fields=fields), people, strict=True):
            both = [p["name"] for p in people if all(p["facts"][f] == person["facts"][f] for f in fields)]
            assert row["answers"] == both and person["name"] in both
            assert all(person["facts"][field] in row["question"] for field in fields)
            assert person["name"] not in row["question"]
    twins = [{**people[0]}, {**people[1], "facts": people[0]["facts"], "text": people[0]["text"]}]
    twins[1] |= {"name": "Al Other", "text": people[0]["text"].replace("Barry Valenzuela", "Al Other")}
    shift = len("Al Other") - len("Barry Valenzuela")
    twins[1]["spans"] = {f: [s + shift, e + shift] for f, (s, e) in people[0]["spans"].items()} | {"name": [0, 8]}
    file = tmp_path / "people.jsonl"
    file.write_text("".join(f"{json.dumps(person)}\n" for person in twins))
    rows = asked("reverse", fields=["university", "major"], biography_path=str(file))
    assert [row["answers"] for row in rows] == [["Barry Valenzuela", "Al Other"]] * 2


def test_two_hops_lead_over_the_table_and_one_hop_asks_for_its_cities() -> None:
    table = [json.loads(line) for line in other_questions.UNIVERSITIES.read_text().splitlines()]
    cities = {row["name"]: row["city"] for row in table}
    for row, person in zip(asked("two_hop"), facts().values(), strict=True):
        assert row["answers"] == [cities[person["facts"]["university"]]]
        assert row["question"] == (
            f"Question: In which city is the university that {person['name']} attended?\nAnswer:"
        )
        assert person["facts"]["birth_city"] not in row["answers"]
    rows = asked("one_hop")
    assert [(row["cluster"], row["answers"]) for row in rows] == [(row["id"], [row["city"]]) for row in table]
    assert rows[0]["question"] == "Question: In which city is Karachi College?\nAnswer:"
    assert [row["half"] for row in rows] == ["development", "test"] * 42
    assert len(asked("one_hop", half="test")) == 42


@pytest.mark.parametrize("half", ["development", "test", "all"])
def test_first_born_is_won_by_half_with_the_first_name_and_by_half_with_the_last(half: str) -> None:
    people = {row["name"]: row for row in facts().values()}
    born = {name: datetime.strptime(row["facts"]["birth_date"], "%B %d, %Y") for name, row in people.items()}
    rows = asked("first_born", half=half)
    firsts = []
    for row in rows:
        first, last = (
            row["question"].removeprefix("Question: Who was born first, ").removesuffix("?\nAnswer:").split(" or ")
        )
        assert row["among"] == [first, last] and people[first]["half"] == people[last]["half"] == row["half"]
        assert row["answers"] == [min(first, last, key=born.__getitem__)]
        assert row["cluster"] in (people[first]["id"], people[last]["id"])
        assert row["id"] == f"{people[first]['id']}:first_born"
        firsts.append(first)
    assert len(set(firsts)) == len(firsts) == (100 if half == "all" else 50)
    assert sum(row["answers"] == row["among"][:1] for row in rows) == len(rows) / 2


def test_the_examples_of_first_born_name_the_elder_by_turns() -> None:
    shots = other_questions.load("first_born")["shots"]
    assert [row["answers"][0] == row["among"][0] for row in shots] == [True, False, True, False, True]
    assert shots[0]["question"] == "Question: Who was born first, Grace Hopper or Koichi Tanaka?\nAnswer:"


def test_the_cities_of_the_real_universities_are_in_the_country_style_of_the_others() -> None:
    rows = [json.loads(line) for line in biography.REAL_PEOPLE.read_text().splitlines()]
    assert {row["facts"]["university"]: row["university_city"] for row in rows} == {
        "Yale University": "New Haven, United States",
        "Tohoku University": "Sendai, Japan",
        "Carnegie Mellon University": "Pittsburgh, United States",
        "the University of Calgary": "Calgary, Canada",
        "Leiden University": "Leiden, Netherlands",
        "the University of Helsinki": "Helsinki, Finland",
        "Stanford University": "Stanford, United States",
        "Osaka Imperial University": "Osaka, Japan",
        "Leipzig University": "Leipzig, Germany",
        "the City College of New York": "New York City, United States",
    }


@pytest.mark.parametrize(
    ("answer", "kind", "options", "answered"),
    [
        ("March 3, 1950", "paraphrased", {"fields": ["birth_date"]}, 1.0),
        ("Dentistry", "paraphrased", {"fields": ["birth_date"]}, 0.0),
        ("Eileen Oconnell", "reverse", {"fields": ["university", "major"]}, 1.0),
        ("Grace Hopper", "reverse", {"fields": ["university", "major"]}, 1.0),
        ("Karachi College", "reverse", {"fields": ["university", "major"]}, 0.0),
        ("Nagoya, Japan", "two_hop", {}, 1.0),
        ("Oslo, Norway", "two_hop", {}, 0.0),
        ("Karachi College", "one_hop", {}, 0.0),
        ("Whitney Lynch", "first_born", {}, 1.0),
        ("Eileen Oconnell", "first_born", {}, 0.0),
    ],
)
def test_answered_says_whether_the_answer_is_of_the_kind(
    answer: str, kind: str, options: dict[str, Any], answered: float
) -> None:
    doc = asked(kind, **options)[0]
    assert doc["cluster"] in ("person-00000", "university-000")
    assert other_questions.score_answer(doc, [f" {answer}\nmore"])["answered"] == answered
    assert other_questions.score_answer(doc, [doc["answers"][0]]) == {"exact_match": 1.0, "f1": 1.0, "answered": 1.0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "backwards"}, "kind: 'backwards' is none of paraphrased"),
        ({"kind": "first_born", "half": "third"}, "half: 'third' is none of"),
        ({"kind": "first_born", "people": 0}, "people: 0 is no number from 1 to 100"),
        ({"kind": "two_hop"}, "universities: two_hop asks about universities.*set universities: true"),
        ({"kind": "first_born", "people": 2}, "take more people"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        other_questions.load(**options)


def test_equal_and_unreadable_birth_dates_make_no_couple() -> None:
    people = biography.read_people()[:4:2]
    same = [{**people[0]}, {**people[1], "facts": people[0]["facts"]}]
    assert other_questions.couples(same) == []  # type: ignore[arg-type]
    odd: Any = [{**people[0], "facts": {**people[0]["facts"], "birth_date": "3/4/1950"}}, people[1]]
    with pytest.raises(ValueError, match=r"person-00000: birth_date: '3/4/1950' cannot be compared; write dates as"):
        other_questions.couples(odd)


@pytest.mark.slow
def test_stock_lm_eval_gives_our_numbers_for_every_other_group(tmp_path: Path) -> None:
    from benchmark.evaluation.asking import ask
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec

    metadata = {"half": "all", "people": 4, "universities": True}
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={SMALL},dtype=float32"]
    command += ["--include_path", str(ROOT / "tasks"), "--tasks", ",".join(GROUPS), "--device", "cpu"]
    command += ["--metadata", json.dumps(metadata), "--num_fewshot", "1", "--batch_size", "8"]
    command += ["--output_path", "out", "--log_samples"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True)
    spec = ModelSpec(model="zoo:small")
    ours = ask(load_model(spec, "cpu"), tokenizer_of(spec), list(GROUPS), metadata, 8, [1]).samples
    assert len(ours) == 11
    for (task, shots), samples in ours.items():
        assert shots == 1
        (file,) = tmp_path.glob(f"out/**/samples_{task}_*.jsonl")
        stock = {row["doc"]["id"]: row for row in map(json.loads, file.read_text().splitlines())}
        assert len(stock) == len(samples)
        for sample in samples:
            row = stock[sample["doc"]["id"]]
            for key in ("filtered_resps", "exact_match", "f1", "answered"):
                assert row[key] == sample[key], (task, key, sample["doc"]["id"])
