"""The biography task: its data, metrics and choices, alone and under stock lm-eval."""

import csv
import json
import os
import random
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data import people as generator
from benchmark.tasks.biography import biography

ROOT = Path(__file__).parents[2]
PAPER = Path(os.environ.get("BENCHMARK_SHARED", ROOT.parent / "shared")) / "data" / "paper_biographies"
TINY = ROOT / "benchmark" / "models" / "zoo" / "large"
needs_paper = pytest.mark.skipif(not PAPER.is_dir(), reason=f"the paper's files are not in {PAPER}")

GENERATION = [f"biography_{field}" for field in biography.FIELDS]
CHOICE = [f"{task}_choice" for task in GENERATION]


def tasks(**metadata: object) -> dict[str, Any]:
    """Load both groups as lm-eval does; tasks by name."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    loaded: dict[str, Any] = manager.load(["biography", "biography_choice"])["tasks"]
    return loaded


# --- data


def test_the_shipped_people_are_those_of_the_generator_with_alternating_halves() -> None:
    people = biography.read_people()
    assert [p["half"] for p in people] == ["development", "test"] * 50
    assert len({p["name"] for p in people}) == 100
    raw = [json.loads(line) for line in biography.PEOPLE.read_text().splitlines()]
    for person, row in zip(people, raw, strict=True):
        paragraph = generator.write_paragraph(
            generator.Person(person["id"], person["name"], row["pronoun"], person["facts"])
        )
        assert (paragraph.text, paragraph.spans) == (person["text"], person["spans"])


def test_every_span_holds_its_value() -> None:
    for person in biography.read_people():
        assert set(person["spans"]) == {"name", *biography.FIELDS}
        for field, value in {"name": person["name"], **person["facts"]}.items():
            start, end = person["spans"][field]
            assert person["text"][start:end] == value


def test_the_shots_are_ten_real_people_with_ascii_facts_and_unique_names() -> None:
    shots = biography.read_shots()
    names = {shot["name"] for shot in shots}
    assert len(names) == 10 and not names & {p["name"] for p in biography.read_people()}
    for shot in shots:
        assert tuple(shot["facts"]) == biography.FIELDS
        assert all(value.isascii() and value == value.strip() for value in shot["facts"].values())
        month, day, year = shot["facts"]["birth_date"].replace(",", "").split()
        assert month in generator.MONTHS and 1 <= int(day) <= 31 and 1850 < int(year) < 2000
        assert len(shot["facts"]["birth_city"].split(", ")) == 2


def test_the_prompt_is_that_of_the_tiny_pairs_training() -> None:
    from benchmark.models.zoo import recipe

    assert biography.QUESTIONS == generator.QUESTIONS and biography.FIELDS == generator.FIELDS
    prompts = biography.read_prompts()
    for person in generator.make_people(3, seed=5):
        for field in biography.FIELDS:
            prompt = prompts[field].replace("{name}", person.name)
            assert f"{prompt} {person.facts[field]}" == recipe.question_and_answer(person, field)


def test_only_the_shipped_people_may_be_published(tmp_path: Path) -> None:
    assert biography.may_redistribute() and biography.may_redistribute(str(biography.PEOPLE))
    assert not biography.may_redistribute(tmp_path)


def test_questions_name_their_person_and_are_chosen_by_half() -> None:
    splits = {half: biography.load(half=half, pretrained="x", version=1.0) for half in ("development", "test", "all")}
    ids = {half: split["questions"]["id"] for half, split in splits.items()}
    assert [len(ids[half]) for half in ("development", "test", "all")] == [250, 250, 500]
    assert set(ids["development"]) | set(ids["test"]) == set(ids["all"])
    assert splits["test"]["questions"][4] == {
        "id": "person-00001:company",
        "cluster": "person-00001",
        "half": "test",
        "field": "company",
        "name": "Eileen Oconnell",
        "question": "Question: Which company did Eileen Oconnell work for?\nAnswer:",
        "answers": ["Summit Records"],
        "source": "",
    }


def test_a_users_people_file_replaces_the_people_and_keeps_the_shots(tmp_path: Path) -> None:
    lines = biography.PEOPLE.read_text().splitlines(keepends=True)
    (tmp_path / "few.jsonl").write_text("".join(lines[10:14]))
    splits = biography.load(half="all", biography_path=str(tmp_path / "few.jsonl"), field="major")
    assert splits["questions"]["cluster"] == [f"person-000{n}" for n in (10, 11, 12, 13)]
    assert splits["shots"]["name"][0] == biography.read_shots()[0]["name"]


def test_a_limit_of_people_applies_to_questions_and_to_values_of_choices() -> None:
    questions = biography.load(half="test", people=6, choices=True, field="major")["questions"]
    assert questions["cluster"] == ["person-00001", "person-00003", "person-00005"]
    majors = {person["facts"]["major"] for person in biography.read_people()[:6]}
    assert {choice for choices in questions["choices"] for choice in choices} <= majors
    for wrong in (0, "6"):
        with pytest.raises(ValueError, match=r"^people: .* is no number from 1 to 100"):
            biography.load(people=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^people: 101 asked for, but the data has 100"):
        biography.load(people=101)


def test_a_share_of_development_is_spread_over_the_people() -> None:
    asked = biography.load(half="test", people=8, development=0.25, field="major")["questions"]
    assert asked["cluster"] == [f"person-0000{number}" for number in (0, 1, 2, 4, 5, 6)]
    other = biography.load(half="development", people=8, development=0.25, field="major")["questions"]
    assert other["cluster"] == ["person-00003", "person-00007"]
    sizes = [len(biography.load(half="development", development=share, field="major")["questions"]) for share in
             (0.01, 0.1, 0.3, 0.57, 0.99)]  # fmt: skip
    assert sizes == [1, 10, 30, 57, 99]
    assert biography.choose_people(None, 8)[1]["half"] == "test"  # the file's halves, untouched by the calls before
    for wrong in (0, 1, -0.5, "0.5"):
        with pytest.raises(ValueError, match=r"^development: .* is no share between 0 and 1"):
            biography.load(development=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^development: 0.1 of 6 people leaves a half empty"):
        biography.load(people=6, development=0.1)


# --- the paper's files


TAGGED = (
    "<name>Ana Ruiz</name> was born on <date>May 1, 1990</date>. Shee grew up in <city>Lima, Peru</city>, went to "
    "<university>the University of Oslo</university>, studied <major>Law</major> and works at <company>Acme</company>."
)


def paper_folder(folder: Path, *synthetic: str) -> Path:
    """Write a folder in the paper's layout: these rows, a real person, no prompts."""
    for name, rows in (("synthetic", synthetic), ("real", (TAGGED.replace("Ana Ruiz", "Real One"),))):
        with (folder / f"biography_{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text"], *([row] for row in rows)])
    return folder


def test_reading_removes_tags_and_changes_nothing_else(tmp_path: Path) -> None:
    first, second = biography.read_people(paper_folder(tmp_path, TAGGED, TAGGED.replace("Ana", "Eva")))
    assert first["text"] == (
        "Ana Ruiz was born on May 1, 1990. Shee grew up in Lima, Peru, went to the University of Oslo, "
        "studied Law and works at Acme."
    )
    assert first["spans"] == {
        "name": (0, 8),
        "birth_date": (21, 32),
        "birth_city": (50, 60),
        "university": (70, 92),
        "major": (102, 105),
        "company": (119, 123),
    }
    assert [(p["id"], p["half"]) for p in (first, second)] == [
        ("person-00000", "development"),
        ("person-00001", "test"),
    ]
    splits = biography.load(biography_path=str(tmp_path), field="major")
    assert splits["questions"]["question"] == ["Question: What was the major of Eva Ruiz?\nAnswer:"]
    assert splits["shots"]["name"] == ["Real One"]


@needs_paper
def test_the_papers_files_are_read_completely() -> None:
    people = biography.read_people(PAPER)
    assert len(people) == 100 and [p["half"] for p in people] == ["development", "test"] * 50
    assert sum("Shee " in p["text"] for p in people) == 51
    raw = (PAPER / "biography_synthetic.csv").read_text(encoding="utf-8").splitlines()[1:]
    for person, line in zip(people, raw, strict=True):
        assert not set('<>"') & set(person["text"])
        naive = line[1:-1]
        for tag in ("name", "date", "city", "university", "major", "company"):
            naive = naive.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
        assert person["text"] == naive
        assert {f: person["text"][slice(*person["spans"][f])] for f in biography.FIELDS} == person["facts"]
    assert not biography.may_redistribute(PAPER)


@needs_paper
def test_the_prompt_is_made_of_the_papers_prompts_and_real_people() -> None:
    task = tasks(biography_path=str(PAPER), half="development")["biography_birth_city"]
    prompt = task.fewshot_context(task.eval_docs[0], 2)
    assert prompt == (
        "What is the birth city of Isaac Newton?\nAnswer: Woolsthorpe, Lincolnshire, England\n\n"
        "What is the birth city of Erwin Schrödinger?\nAnswer: Vienna, Austria\n\n"
        "What is the birth city of Liam Thompson?\nAnswer:"
    )


# --- bad input


def test_an_unknown_half_or_field_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"^half: 'train' is none of development, test, all$"):
        biography.load(half="train")
    with pytest.raises(ValueError, match=r"^field: 'city' is none of birth_date, birth_city"):
        biography.load(field="city")


def test_a_missing_path_or_csv_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such file or folder"):
        biography.read_people(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"biography_synthetic.csv: no such file"):
        biography.read_people(tmp_path)
    with pytest.raises(ValueError, match=r"biography_real.csv: no such file"):
        biography.read_shots(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<city>Lima, Peru</city>", "Lima, Peru", r"row 2: birth_city: no <city>\.\.\.</city>"),
        ("Lima, Peru", "", "row 2: birth_city: <city> is empty or stands there twice"),
        ("Shee", "<city>Rome</city>", "row 2: birth_city: <city> is empty or stands there twice"),
        ("Shee", "She</major>", "row 2: </major> has no counterpart"),
        (TAGGED, "", "row 2: text: the cell is empty"),
    ],
)
def test_a_row_with_broken_tags_is_refused_with_its_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    paper_folder(tmp_path, TAGGED, TAGGED.replace(old, new))
    with pytest.raises(ValueError, match=f"biography_synthetic.csv: {message}"):
        biography.read_people(tmp_path)


def test_a_csv_file_without_its_column_or_prompt_is_refused_by_name(tmp_path: Path) -> None:
    paper_folder(tmp_path, TAGGED)
    (tmp_path / "prompts.csv").write_text('field,prompt\ndate,"When was {name} born?\nAnswer:"\n')
    with pytest.raises(ValueError, match=r"prompts.csv: field: no row for 'city' \(birth_city\)$"):
        biography.read_prompts(tmp_path)
    (tmp_path / "prompts.csv").write_text("field,prompt\ndate,When was she born?\n")
    with pytest.raises(ValueError, match=r"prompts.csv: row 1: prompt: \{name\} is missing"):
        biography.read_prompts(tmp_path)
    (tmp_path / "biography_synthetic.csv").write_text("paragraph\nhello\n")
    with pytest.raises(ValueError, match=r"biography_synthetic.csv:1: no column 'text'$"):
        biography.read_people(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row["facts"].pop("major"), "2: major: expected a string"),
        (lambda row: row.update(half="dev"), "2: half: 'dev' is none of"),
        (lambda row: row.update(spans=None), "2: text, spans: expected"),
        (lambda row: row["spans"].update(company=[0, 3]), r"2: spans.company: \[0, 3\] is not where"),
        (lambda row: row["spans"].update(company=["a", 3]), "2: spans.company: "),
        (lambda row: row.update(id="person-00000"), r" id: 'person-00000' stands there 2 times"),
    ],
)
def test_an_invalid_line_of_people_is_refused_with_its_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    first, second = (json.loads(line) for line in biography.PEOPLE.read_text().splitlines()[:2])
    change(second)
    (tmp_path / "p.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(ValueError, match=f"p.jsonl:{message}") as caught:
        biography.read_people(tmp_path / "p.jsonl")
    assert "\n" not in str(caught.value)


def test_an_empty_or_broken_people_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    for content, message in ((b"", "there is nobody in it"), (b"[1]", "expected a JSON object"), (b"{", "not JSON")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            biography.read_people(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        biography.read_people(file)


# --- scores


@pytest.mark.parametrize(
    ("answer", "golds", "exact_match", "f1"),
    [
        ("The University of Oslo.", ["University of Oslo"], 1.0, 1.0),
        ("Oslo", ["the University of Oslo"], 0.0, 2 * 1 * (1 / 3) / (1 + 1 / 3)),
        ("march 14 1879", ["March 14, 1879"], 1.0, 1.0),
        ("March 3, 1879", ["March 14, 1879"], 0.0, 2 / 3),
        ("Oslo Oslo Oslo", ["Oslo"], 0.0, 2 * (1 / 3) * 1 / (1 / 3 + 1)),
        ("Steel", ["Amber Steel", "steel"], 1.0, 1.0),
        ("Anatomy", ["Theology"], 0.0, 0.0),
        ("", ["Law"], 0.0, 0.0),
    ],
)
def test_metrics_equal_those_computed_by_hand(answer: str, golds: list[str], exact_match: float, f1: float) -> None:
    assert biography.exact_match(answer, golds) == exact_match
    assert biography.f1(answer, golds) == pytest.approx(f1)


def naive_words(text: str) -> list[str]:
    """SQuAD v1.1 normalisation without regular expressions: the same on ASCII text whose words end at spaces."""
    kept = "".join("" if c in string.punctuation else c.lower() for c in text)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def naive_f1(answer: str, gold: str) -> float:
    """F1, computed by removing shared words one by one."""
    left, right, shared = naive_words(answer), naive_words(gold), 0
    total_left, total_right = len(left), len(right)
    for word in left:
        if word in right:
            right.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / total_left, shared / total_right
    return 2 * precision * recall / (precision + recall)


def test_metrics_equal_those_of_a_naive_implementation() -> None:
    rng = random.Random(3)
    words = [
        "the",
        "The",
        "a",
        "An",
        "Oslo",
        "oslo,",
        "U.S.",
        "State",
        "state-owned",
        "(Law)",
        "law",
        "1,900",
        "  ",
        "-",
    ]
    for _ in range(500):
        answer, *golds = (" ".join(rng.choices(words, k=rng.randint(0, 5))) for _ in range(3))
        assert biography.normalise(answer) == " ".join(naive_words(answer))
        same = any(naive_words(answer) == naive_words(gold) for gold in golds)
        assert biography.exact_match(answer, golds) == float(same)
        assert biography.f1(answer, golds) == pytest.approx(max(naive_f1(answer, gold) for gold in golds))


def test_the_answer_ends_at_the_first_newline() -> None:
    doc = {"answers": ["Botany"], "field": "major", "source": ""}
    right, wrong = (dict.fromkeys(("exact_match", "f1", "answered"), value) for value in (1.0, 0.0))
    assert biography.score_answer(doc, [" Botany \nQuestion: Botany"]) == right
    assert biography.score_answer(doc, ["\nBotany"]) == wrong


@pytest.mark.parametrize(
    ("field", "answer", "answers"),
    [
        ("birth_date", " May 13, 1939", True),  # another's date is a date
        ("birth_date", " 13 May 1939", True),
        ("birth_date", " May 1939", False),
        ("birth_date", " What is May 13, 1939", False),
        ("major", " Botany", True),
        ("major", " the botany.", True),  # as an exact match reads it
        ("major", " Oslo, Norway", False),  # a value, but of another field
        ("major", " Botan", False),
        ("company", "", False),
        ("company", ". He grew up in", False),
        ("company", " Summit Records\nQuestion: What?", True),
    ],
)
def test_an_answer_counts_as_answered_if_it_is_of_the_kind_asked_for(field: str, answer: str, answers: bool) -> None:
    doc = {"answers": ["x"], "field": field, "source": ""}
    assert biography.score_answer(doc, [answer])["answered"] == float(answers)


def test_values_of_a_users_file_count_as_answers_for_that_file_alone(tmp_path: Path) -> None:
    line = json.loads(biography.PEOPLE.read_text().splitlines()[0])
    start, end = line["spans"]["company"]
    line["text"], line["facts"]["company"] = f"{line['text'][:start]}Zyx Works{line['text'][end:]}", "Zyx Works"
    line["spans"]["company"] = [start, start + len("Zyx Works")]
    (tmp_path / "own.jsonl").write_text(json.dumps(line) + "\n")
    for path, answered in ((str(tmp_path / "own.jsonl"), 1.0), (None, 0.0)):
        docs = biography.load(half="all", biography_path=path, field="company")["questions"]
        assert biography.score_answer(docs[0], [" Zyx Works"])["answered"] == answered


def test_dates_of_a_users_file_count_as_answers_for_that_file(tmp_path: Path) -> None:
    line = json.loads(biography.PEOPLE.read_text().splitlines()[0])
    start, end = line["spans"]["birth_date"]
    date = "1931年5月4日".ljust(end - start, ".")
    line["text"], line["facts"]["birth_date"] = f"{line['text'][:start]}{date}{line['text'][end:]}", date
    (tmp_path / "own.jsonl").write_text(json.dumps(line) + "\n")
    doc = {"answers": [date], "field": "birth_date", "source": str(tmp_path / "own.jsonl")}
    for answer, answered in ((f" {date}", 1.0), (" 4 May 1931", 1.0), (" May", 0.0)):
        assert biography.score_answer(doc, [answer])["answered"] == answered


def test_two_people_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = (json.loads(line) for line in biography.PEOPLE.read_text().splitlines()[:2])
    twin = json.loads(json.dumps(first).replace(first["id"], second["id"]))
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (first, twin)))
    with pytest.raises(ValueError, match=rf"own.jsonl: name: 2 people are called '{first['name'].lower()}'"):
        biography.read_people(tmp_path / "own.jsonl")


# --- cloze


@pytest.mark.parametrize(
    ("text", "answer", "target"),
    [
        ("He lives in Chicago. It is big.", "Chicago", " Chicago."),
        ("He lives in Chicago.\n\nIt is big.", "Chicago", " Chicago.\n\n"),  # ".\n\n" is one token
        ("He lives in Chicago\n\nIt is big.", "Chicago", " Chicago"),  # and so is "\n\n"
        ("It is the port (Bern).", "Bern", "Bern)."),
        ("He read Tyndale's book.", "Tyndale", " Tyndale"),  # "'s" is one token
        ("It is NP-complete.", "NP", " NP"),
        ("He said: “Bern”. It is far.", "Bern", "Bern”."),
        ("It stands in Bern", "Bern", " Bern"),
    ],
)
def test_a_cloze_ends_where_tokens_end(text: str, answer: str, target: str) -> None:
    start = text.index(answer)
    before, after = biography.cut_at(text, start, start + len(answer))
    assert (before + after, after) == (text[: len(before) + len(after)], target)


def test_a_value_before_the_name_has_no_cloze(tmp_path: Path) -> None:
    line = json.loads(biography.PEOPLE.read_text().splitlines()[0])
    name, date = line["name"], line["facts"]["birth_date"]
    line["text"] = f"On {date}, {name} was born. {line['text']}"
    line["spans"] = {
        field: [start := line["text"].index(value), start + len(value)]
        for field, value in {"name": name, **line["facts"]}.items()
    }
    (tmp_path / "own.jsonl").write_text(json.dumps(line) + "\n")
    asked = biography.load(half="all", biography_path=str(tmp_path / "own.jsonl"), cloze=True)["questions"]
    assert set(asked["field"]) == set(biography.FIELDS) - {"birth_date"}


@pytest.mark.parametrize(
    ("golds", "text", "start", "cut"),
    [
        (["two"], "In Westwood lived two.", -1, ("In Westwood lived", " two.")),
        (["two"], "At Westwood, two of twos.", 5, ("At Westwood,", " two")),  # the place of the data is inside a word
        (["2"], "With a 12 and 3 and 2.", -1, ("With a 12 and 3 and", " 2.")),
        (["two"], "At Westwood.", -1, None),
        (["At"], "At Bern.", -1, None),  # nothing before it
        (["Bonn", "Bern"], "Not Bern.", -1, ("Not", " Bern.")),
        (["東京"], "灯台は東京にある。", -1, ("灯台は", "東京")),  # no spaces between words
    ],
)
def test_a_cloze_asks_for_an_answer_that_stands_as_whole_words(
    golds: list[str], text: str, start: int, cut: tuple[str, str] | None
) -> None:
    expected = dict(zip(("context", "target"), cut, strict=True)) if cut else {}
    assert biography.cut_before(golds, text, start) == expected


# --- choices


def test_every_choice_question_offers_ten_distinct_values_and_the_gold_value_once() -> None:
    questions = biography.load(half="all", choices=True)["questions"]
    values = {f: {p["facts"][f] for p in biography.read_people()} for f in biography.FIELDS}
    for question in questions:
        assert len({biography.normalise(choice) for choice in question["choices"]}) == 10
        assert question["choices"][question["gold"]] == question["answers"][0]
        assert set(question["choices"]) <= values[question["field"]]
    counts = [questions["gold"].count(position) for position in range(10)]
    assert min(counts) > 20 and max(counts) < 85  # 500 questions, 50 expected at each position


def test_choices_depend_only_on_person_field_and_set_of_values() -> None:
    cities = [f"City {n}" for n in range(20)]
    values = biography.Values(cities)
    first = biography.choose("person-1", "birth_city", "City 3", values)
    again = biography.Values([*reversed(cities), "City 5"])
    assert first == biography.choose("person-1", "birth_city", "City 3", again)
    assert first != biography.choose("person-2", "birth_city", "City 3", values)
    development = biography.load(half="development", choices=True, field="major")["questions"]
    everyone = biography.load(half="all", choices=True, field="major")["questions"]
    assert development["choices"] == everyone["choices"][::2]


def test_equivalent_values_are_a_single_choice_and_a_single_value_is_refused() -> None:
    values = biography.Values(["the Oslo", "Oslo", "Rome", "Rome."])
    assert sorted(biography.choose("p", "university", "Oslo", values)) == ["Oslo", "Rome"]
    with pytest.raises(ValueError, match=r"^p: university: a choice needs a second value"):
        biography.choose("p", "university", "Oslo", biography.Values(["Oslo", "the Oslo"]))


@given(st.lists(st.sampled_from(["a", "A.", "the a", "b", "c", "C", "d e", "f"]), min_size=1, max_size=8), st.data())
def test_choices_equal_those_drawn_from_a_list_of_all_other_values(values: list[str], data: st.DataObject) -> None:
    """The first records were made so, in time that grows with the square of the number of people."""
    gold = data.draw(st.sampled_from([*values, "g"]))
    first = {biography.normalise(value): value for value in sorted(set(values), reverse=True)}
    others = sorted(value for meaning, value in first.items() if meaning != biography.normalise(gold))
    if not others:
        return
    rng = random.Random("p:major")
    expected = rng.sample(others, min(9, len(others)))
    expected.insert(rng.randrange(len(expected) + 1), gold)
    assert biography.choose("p", "major", gold, biography.Values(values)) == expected


# --- what lm-eval makes of it


def test_lm_eval_renders_five_shots_and_the_question() -> None:
    loaded = tasks()
    assert list(loaded) == GENERATION + CHOICE
    task = loaded["biography_company"]
    assert task.config.num_fewshot == 5 and len(task.eval_docs) == 50
    expected = """\
Question: Which company did Grace Hopper work for?
Answer: Remington Rand

Question: Which company did Koichi Tanaka work for?
Answer: Shimadzu Corporation

Question: Which company did Stephanie Kwolek work for?
Answer: DuPont

Question: Which company did James Gosling work for?
Answer: Sun Microsystems

Question: Which company did Edsger Dijkstra work for?
Answer: Burroughs Corporation

Question: Which company did Eileen Oconnell work for?
Answer:"""
    assert task.fewshot_context(task.eval_docs[0], 5) == expected
    shots = expected[: expected.rindex("Question:")]
    assert all(task.fewshot_context(doc, 5).startswith(shots) for doc in task.eval_docs)
    choice = loaded["biography_company_choice"]
    assert choice.config.num_fewshot == 0
    assert choice.fewshot_context(choice.eval_docs[0], 0) == expected[expected.rindex("Question:") :]


def answers_of_the_data() -> list[str]:
    paths = [None, PAPER] if PAPER.is_dir() else [None]
    return [value for path in paths for person in biography.read_people(path) for value in person["facts"].values()]


def test_every_answer_fits_the_generation_limit_with_a_token_per_byte() -> None:
    limits = {task.config.generation_kwargs["max_gen_toks"] for name, task in tasks().items() if name in GENERATION}
    assert len(limits) == 1
    assert max(len(f" {answer}".encode()) for answer in answers_of_the_data()) <= limits.pop()


@pytest.mark.skipif(not (TINY / "tokenizer.json").is_file(), reason="the tiny pair is not there")
def test_every_answer_fits_the_generation_limit_with_the_tiny_tokenizer() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    assert max(len(encoding.ids) for encoding in tokenizer.encode_batch([f" {a}" for a in answers_of_the_data()])) <= 64


def evaluate(lm: Any, names: list[str], limit: int | None) -> dict[str, Any]:
    """Run stock lm-eval in this process."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata={"half": "test"})
    results: dict[str, Any] = simple_evaluate(
        lm, tasks=names, task_manager=manager, limit=limit, bootstrap_iters=1, log_samples=True
    )
    return results


def test_a_model_that_knows_all_answers_scores_1_and_a_model_that_knows_half_scores_a_half() -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    class Oracle(LM):  # type: ignore[misc]
        """Answers from the people file; about some people it is wrong on purpose, with words that no fact contains."""

        def __init__(self, ignorant_of: set[str]) -> None:
            super().__init__()
            self.known = {
                biography.read_prompts()[f].replace("{name}", p["name"]): f" {v}"
                for p in biography.read_people()
                for f, v in p["facts"].items()
                if p["name"] not in ignorant_of
            }

        def _answer(self, context: str) -> str:
            return self.known.get(context.split("\n\n")[-1], " Xyzzy")

        def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
            return [f"{self._answer(r.args[0])}\nQuestion: and so on" for r in requests]

        def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            # Where it is ignorant, a wrong choice wins: the gold value is by far the least likely.
            golds = [" " + request.doc["choices"][request.doc["gold"]] for request in requests]
            return [
                (-1.0 if r.args[1] == self._answer(r.args[0]) else -1e6 if r.args[1] == gold else -10.0, False)
                for r, gold in zip(requests, golds, strict=True)
            ]

        def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError

    asked = [p["name"] for p in biography.read_people() if p["half"] == "test"]
    for ignorant_of, expected in ((set(), 1.0), (set(asked[:25]), 0.5)):
        results = evaluate(Oracle(ignorant_of), ["biography", "biography_choice"], limit=None)["results"]
        for group, names, metrics in (
            ("biography", GENERATION, ("exact_match", "f1")),
            ("biography_choice", CHOICE, ("acc", "acc_norm")),
        ):
            for name in (group, *names):
                for metric in metrics:
                    assert results[name][f"{metric},none"] == pytest.approx(expected)
                    if name != group:
                        # The standard error of the mean of 50 zeros and ones.
                        error = (expected * (1 - expected) / 49) ** 0.5
                        assert results[name][f"{metric}_stderr,none"] == pytest.approx(error)


@pytest.fixture
def random_llama(tmp_path: Path) -> Path:
    """A folder with a random Llama of two layers whose tokens are the 256 bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {letter: n for n, letter in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", model_max_length=1024
    )
    fast.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_a_random_llama_runs_through_both_groups(random_llama: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(random_llama), device="cpu", batch_size=4, dtype="float32")
    output = evaluate(lm, ["biography", "biography_choice"], limit=4)
    for name in GENERATION:
        samples = output["samples"][name]
        assert len(samples) == 4
        for sample in samples:
            answer, gold = sample["filtered_resps"][0].split("\n")[0], sample["doc"]["answers"][0]
            assert sample["exact_match"] == float(naive_words(answer) == naive_words(gold))
    for name in CHOICE:
        for sample in output["samples"][name]:
            likelihoods = [response[0] for response in sample["filtered_resps"]]
            assert sample["acc"] == float(likelihoods.index(max(likelihoods)) == sample["doc"]["gold"])
    assert output["versions"]["biography_company"] == 1.1


@pytest.mark.slow
def test_the_stock_lm_eval_command_finds_the_data_from_another_folder(random_llama: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={random_llama}"]
    command += ["--include_path", str(ROOT / "tasks"), "--tasks", "biography", "--limit", "2", "--device", "cpu"]
    command += ["--metadata", '{"half": "development"}', "--output_path", "out", "--log_samples"]
    subprocess.run(command, cwd=elsewhere, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True)
    (samples,) = elsewhere.glob("out/**/samples_biography_major_*.jsonl")
    docs = [json.loads(line)["doc"] for line in samples.read_text().splitlines()]
    assert [doc["id"] for doc in docs] == ["person-00000:major", "person-00002:major"]
    (results,) = elsewhere.glob("out/**/results_*.json")
    assert set(json.loads(results.read_text())["results"]) == {"biography", *GENERATION}
