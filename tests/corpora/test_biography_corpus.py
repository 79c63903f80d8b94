"""The corpus of the biography task and its hashes."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.corpora import Corpus
from benchmark.corpora.base import tree_hash
from benchmark.corpora.biography import Biography
from benchmark.data.people import (
    ParagraphStyle,
    make_people,
    people_lines,
    place_universities,
    university_lines,
    write_paragraph,
)
from benchmark.tasks.biography import biography, other_questions

PEOPLE = list(make_people(6, 8))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(people_lines(PEOPLE)), encoding="utf-8")
    return path


def _load(path: Path | None = None, people: int | None = None) -> Corpus:
    return Biography(path=path, people=people).load()


def test_the_shipped_corpus_has_a_hundred_texts_in_two_halves() -> None:
    corpus = _load()
    assert len(corpus.texts) == 100
    assert list(corpus.halves) == [text.id for text in corpus.texts]
    assert sorted(corpus.halves.values()).count("test") == 50
    assert corpus.may_redistribute
    assert corpus.metadata == {"half": "all"}


def test_a_users_file_is_read_in_order_and_may_not_be_published(file: Path) -> None:
    corpus = _load(file)
    assert [(text.id, text.text) for text in corpus.texts] == [(p.id, write_paragraph(p).text) for p in PEOPLE]
    assert corpus.metadata == {"half": "all", "biography_path": str(file)}
    assert not corpus.may_redistribute


def test_the_first_people_are_kept_with_their_halves(file: Path) -> None:
    corpus = _load(file, 3)
    assert [text.id for text in corpus.texts] == ["person-00000", "person-00001", "person-00002"]
    assert list(corpus.halves.values()) == ["development", "test", "development"]
    assert corpus.metadata["people"] == 3


def test_a_share_of_development_changes_halves_and_key_and_is_no_part_of_it_otherwise() -> None:
    from benchmark.evaluation.asking import load_by_shots, task_manager

    task = Biography(people=8, development=0.25, evaluate=["biography_major"])
    corpus = task.load()
    assert list(corpus.halves.values()).count("development") == 2
    assert task.identity()["development"] == 0.25 and "development" not in Biography(people=8).identity()
    ((_, loaded),) = load_by_shots(task_manager(corpus.metadata), task.evaluate, [0])
    asked = loaded["tasks"]["biography_major"].dataset["questions"]
    assert dict(zip(asked["cluster"], asked["half"], strict=True)) == corpus.halves


@pytest.mark.parametrize("asked", ["biography_two_hop", "biography_first_born_two_hop"])
def test_examples_that_compare_two_people_are_half_as_many(asked: str) -> None:
    alone, both = (Biography(universities=True, evaluate=["biography", *more]) for more in ([], [asked]))
    assert (alone.examples, both.examples) == (10, 5)
    couples = other_questions.load(kind="first_born", half="all")["shots"]
    assert len(couples) == both.examples


def test_too_many_people_are_reported_with_the_number_available(file: Path) -> None:
    with pytest.raises(UserError, match="people: 7 asked for, but the data has 6"):
        _load(file, 7)


def test_the_data_hash_follows_the_bytes_and_not_the_folder(file: Path, tmp_path: Path) -> None:
    before = _load(file).data_hash
    (tmp_path / "elsewhere").mkdir()
    assert _load(Path(shutil.copy(file, tmp_path / "elsewhere"))).data_hash == before
    file.write_bytes(file.read_bytes().replace(b"Person", b"person") + b"\n")
    assert _load(file).data_hash != before


def test_the_hash_of_the_papers_files_covers_shots_and_prompts(tmp_path: Path) -> None:
    text = (
        "<name>{}</name> was born on <date>May 4, 1931</date>. He grew up in <city>Lagos</city>. He went to "
        "<university>A College</university>, for <major>Botany</major>, then to <company>Cedar Foods</company>."
    )
    rows = [f'"{text.format(name)}"' for name in ("Al Ba", "Ce De")]
    for name in ("biography_synthetic.csv", "biography_real.csv"):
        (tmp_path / name).write_text("text\n" + "\n".join(rows) + "\n")
    before = _load(tmp_path)
    assert before.texts[0].text.startswith("Al Ba was born on May 4, 1931. ")
    assert not before.may_redistribute
    real = tmp_path / "biography_real.csv"
    real.write_text(real.read_text().replace("Al Ba", "Al Bo"))
    assert _load(tmp_path).data_hash != before.data_hash


def test_other_data_changes_the_data_hash_and_not_the_definition_hash(file: Path) -> None:
    assert _load(file).definition_hash == _load().definition_hash
    assert _load(file).data_hash != _load().data_hash


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "nobody"), ("{}\n", ":1: half"), ("no JSON\n", ":1: not JSON")],
)
def test_invalid_data_is_reported_in_one_line_with_the_file(file: Path, content: str, says: str) -> None:
    file.write_text(content)
    with pytest.raises(UserError, match=says) as error:
        _load(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file") as error:
        _load(tmp_path / "none.jsonl")
    assert str(tmp_path / "none.jsonl") in str(error.value)


def test_every_mention_of_a_name_is_an_entity_and_gaps_begin_at_the_last_mention_before_the_fact(
    tmp_path: Path,
) -> None:
    path = tmp_path / "people.jsonl"
    style = ParagraphStyle(order=None, wordings=5, full_name=True)
    path.write_text("".join(people_lines(PEOPLE, style)), encoding="utf-8")
    corpus = _load(path)
    for text, person in zip(corpus.texts, PEOPLE, strict=True):
        expected = sorted([person.name] * 5 + list(person.facts.values()))
        assert sorted(text.text[start:end] for start, end in text.entities) == expected
        assert list(text.entities) == sorted(text.entities)
        for field, value in person.facts.items():
            _, subject, answer = corpus.gaps[f"{person.id}:{field}"]
            assert text.text[subject - len(person.name) : subject] == person.name
            assert text.text.startswith(value, answer)
            between = text.text[subject:answer]
            if subject <= answer:
                assert person.name not in between
            else:
                assert person.name not in text.text[:answer]


def test_a_name_inside_a_fact_or_a_longer_word_is_no_mention(tmp_path: Path) -> None:
    facts = {**PEOPLE[0].facts, "company": "Ada Moss & Sons", "university": "Ada Mossley College"}
    ada = replace(PEOPLE[0], name="Ada Moss", facts=facts)
    path = tmp_path / "people.jsonl"
    path.write_text("".join(people_lines([ada, PEOPLE[1]])), encoding="utf-8")
    corpus = _load(path)
    text = corpus.texts[0]
    assert text.text.count("Ada Moss") == 3
    assert [text.text[start:end] for start, end in text.entities] == ["Ada Moss", *facts.values()]
    assert {subject for name, subject, _ in corpus.gaps.values() if name == ada.id} == {len("Ada Moss")}


def test_gaps_of_the_shipped_people_begin_at_their_only_mention() -> None:
    corpus = _load()
    for row in biography.read_people():
        for field in biography.FIELDS:
            assert corpus.gaps[f"{row['id']}:{field}"] == (row["id"], row["spans"]["name"][1], row["spans"][field][0])
    assert all(len(text.entities) == 6 for text in corpus.texts)


# --- universities


@pytest.fixture
def universities(tmp_path: Path) -> Path:
    path = tmp_path / "universities.jsonl"
    path.write_text("".join(university_lines(place_universities(PEOPLE))), encoding="utf-8")
    return path


def _table_of_shipped(folder: Path) -> Path:
    """A copy of the shipped table."""
    return Path(shutil.copy(other_questions.UNIVERSITIES, folder / "copy.jsonl"))


def test_universities_are_further_documents_in_alternating_halves() -> None:
    corpus = Biography(universities=True, people=10).load()
    people, universities = corpus.texts[:10], corpus.texts[10:]
    assert people == Biography(people=10).load().texts
    attended = [row["facts"]["university"] for row in biography.read_people()[:10]]
    assert len(universities) == len(set(attended)) == 10
    assert universities[0].text == "Karachi College lies in Peshawar, Pakistan."
    assert universities[0].subject == "Karachi College"
    for text, name in zip(universities, attended, strict=True):
        assert text.text.lower().startswith(f"{name.lower()} lies in ")
        assert [text.text[start:end] for start, end in text.entities] == [
            text.subject,
            text.text[:-1].split(" in ")[-1],
        ]
        assert corpus.facts[text.id].answers == [[text.text[:-1].split(" in ")[-1]]]
    assert [corpus.halves[text.id] for text in universities] == ["development", "test"] * 5
    assert corpus.metadata["universities"] is True
    assert corpus.may_redistribute


def test_without_universities_hash_options_and_metadata_are_as_before_the_option() -> None:
    assert Biography().identity() == {"people": None}
    assert "universities" not in _load().metadata
    assert _load().data_hash == tree_hash([biography.PEOPLE])
    assert Biography(universities=True).identity() == {"people": None, "universities": True}
    assert Biography(universities=True).load().data_hash != _load().data_hash


def test_a_users_universities_are_hashed_and_not_published(file: Path, universities: Path, tmp_path: Path) -> None:
    task = Biography(path=file, universities=universities)
    corpus = task.load()
    assert len(corpus.texts) == 6 + 5 and corpus.metadata["universities"] == str(universities)
    assert task.identity() == {"people": None, "universities": True}
    assert not Biography(universities=_table_of_shipped(tmp_path)).load().may_redistribute
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(universities, tmp_path / "elsewhere" / "table.jsonl"))
    assert Biography(path=file, universities=moved).load().data_hash == corpus.data_hash
    moved.write_text(moved.read_text() + "\n")
    assert Biography(path=file, universities=moved).load().data_hash != corpus.data_hash


def test_a_writer_may_ask_no_question_of_any_group_once_universities_are_read() -> None:
    asked = Biography(universities=True, people=10).load().questions
    assert asked["person-00000"] == [
        *_load(people=10).questions["person-00000"],
        *(
            f"{begin} Barry Valenzuela{end}"
            for begin, end in (
                ("When was", " born?"),
                ("On which day did", " come into the world?"),
                ("What is the full date on which the life of", " began?"),
                ("What is the home town of", "?"),
                ("Which city was", " raised in?"),
                ("Where did", " spend the years of childhood?"),
                ("Where did", " study?"),
                ("From which university does", " hold a degree?"),
                ("At which institution was", " enrolled as a student?"),
                ("What subject did", " study?"),
                ("In which field did", " specialize?"),
                ("Which discipline did", " choose at university?"),
                ("Who was the employer of", "?"),
                ("At which firm did", " have a job?"),
                ("Where was", " employed?"),
            )
        ),
        "In which city is the university that Barry Valenzuela attended?",
        "Who was born on March 20, 1992 and grew up in Chicago, United States?",
        "Who attended Karachi College and majored in Dentistry?",
        "Who grew up in Chicago, United States and worked for Raven Chemicals?",
        "Who was born first, Barry Valenzuela or Whitney Lynch?",
    ]
    assert asked["university-000"] == ["In which city is Karachi College?"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"name": "', '"name": "Old ', ":1: spans.name"),
        ('"city": "', '"city": "', "name: no line for"),
        ('"id": "university-001"', '"id": "university-000"', ":2: id: 'university-000' stands in"),
        ('"university-000"', '"person-00000"', "'person-00000' is the id of a person"),
    ],
)
def test_invalid_universities_are_reported_in_one_line_with_the_file(
    file: Path, universities: Path, old: str, new: str, says: str
) -> None:
    lines = universities.read_text().replace(old, new).splitlines(keepends=True)
    universities.write_text("".join(lines[:-1] if old == new else lines))
    with pytest.raises(UserError, match=says) as error:
        Biography(path=file, universities=universities).load()
    assert str(universities) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("asked", "options", "says"),
    [
        ("biography_two_hop", {}, "biography_two_hop asks about universities.*set universities: true"),
        ("biography_university_city_one_hop", {}, "asks about universities"),
        ("biography_first_born_two_hop", {"people": 3}, "the half 'development' has no two|the half 'test' has no two"),
    ],
)
def test_questions_about_what_the_corpus_lacks_are_refused(asked: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Biography(evaluate=["biography", asked], **options).load()


def test_who_was_born_first_needs_no_universities() -> None:
    corpus = Biography(evaluate=["biography", "biography_first_born_two_hop"], people=8).load()
    assert "Who was born first, Barry Valenzuela or Whitney Lynch?" in corpus.questions["person-00000"]
    assert corpus.questions_hash is not None and _load(people=8).questions_hash is None


def test_the_shipped_universities_are_not_those_of_other_people(file: Path) -> None:
    with pytest.raises(UserError, match="add it, or give the table of these people as universities"):
        Biography(path=file, universities=True).load()
