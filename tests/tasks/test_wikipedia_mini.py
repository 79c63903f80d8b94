"""The shipped paragraphs of the wikipedia task: enough of them, well formed, and every answer stands in its text."""

import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

MINI = Path(__file__).parents[2] / "tasks" / "wikipedia" / "mini.jsonl"
PARAGRAPHS: list[dict[str, Any]] = [json.loads(line) for line in MINI.read_text(encoding="utf-8").splitlines()]
QUESTIONS = [(paragraph, question) for paragraph in PARAGRAPHS for question in paragraph["questions"]]
COREFERENCE = [(paragraph, question) for paragraph, question in QUESTIONS if question["kind"] == "coreference"]
PRONOUNS = (
    {"he", "him", "his", "himself"},
    {"she", "her", "hers", "herself"},
    {"it", "its", "itself"},
    {"they", "them", "their", "theirs", "themselves"},
)


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation and articles."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [word for word in plain.split() if word not in {"a", "an", "the"}]


def runs(sequence: list[str], length: int) -> set[tuple[str, ...]]:
    """All runs of `length` neighbours."""
    return {tuple(sequence[start : start + length]) for start in range(len(sequence) - length + 1)}


def sentences_with(answer: str, text: str) -> list[str]:
    """The sentences of `text` in which `answer` stands as a whole; no text has a full stop inside a sentence."""
    return [one for one in re.split(r"(?<=[.!?]) ", text) if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", one)]


def test_there_are_at_least_sixty_paragraphs_and_four_questions_on_each() -> None:
    assert len(PARAGRAPHS) >= 60 and len(QUESTIONS) >= 240
    assert {len(paragraph["questions"]) for paragraph in PARAGRAPHS} == {4}


def test_every_line_has_the_agreed_fields_and_nothing_else() -> None:
    for paragraph in PARAGRAPHS:
        assert list(paragraph) == ["id", "title", "subject", "half", "text", "questions"]
        for question in paragraph["questions"]:
            assert list(question) == ["id", "question", "answers", "kind"]
            assert question["kind"] in {"direct", "coreference"} and question["question"].endswith("?")


def test_ids_count_up_and_halves_take_turns() -> None:
    for number, paragraph in enumerate(PARAGRAPHS):
        assert paragraph["id"] == f"mini-{number:03d}"
        assert paragraph["half"] == ("development", "test")[number % 2]
        assert [question["id"] for question in paragraph["questions"]] == [f"mini-{number:03d}:{n}" for n in range(4)]


def test_paragraphs_are_short_and_written_in_letters_that_tokenizers_know() -> None:
    for paragraph in PARAGRAPHS:
        text = paragraph["text"]
        assert 50 <= len(text.split()) <= 90 and len(text) <= 700, paragraph["id"]
        assert text == " ".join(text.split()) and text.endswith(".")
        for said in (text, *(question["question"] for question in paragraph["questions"])):
            assert all(letter.isascii() or (letter.isalpha() and letter < "\u0180") for letter in said), said


def test_every_first_answer_stands_in_its_text_once_and_is_short() -> None:
    for paragraph, question in QUESTIONS:
        first = question["answers"][0]
        assert len(re.findall(rf"(?<!\w){re.escape(first)}(?!\w)", paragraph["text"])) == 1, question["id"]
        assert all(0 < len(answer) <= 40 and len(answer.split()) <= 6 for answer in question["answers"]), question["id"]


def test_no_gold_answer_stands_in_its_question() -> None:
    for _, question in QUESTIONS:
        asked = words(question["question"])
        for answer in question["answers"]:
            gold = words(answer)
            assert gold and tuple(gold) not in runs(asked, len(gold)), (question["id"], answer)


def test_no_question_is_asked_twice_and_no_title_comes_twice() -> None:
    for values in ([question["question"] for _, question in QUESTIONS], [one["title"] for one in PARAGRAPHS]):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def test_every_question_names_something_of_its_subject() -> None:
    for paragraph, question in QUESTIONS:
        names = {word for word in words(paragraph["subject"] or paragraph["title"]) if len(word) > 1}
        assert names & set(words(question["question"])), question["id"]


def test_subjects_stand_in_their_texts_and_the_pronouns_of_a_text_are_of_one_kind() -> None:
    for paragraph in PARAGRAPHS:
        assert paragraph["subject"] in paragraph["text"], paragraph["id"]
        if paragraph["subject"]:
            used = set(words(paragraph["text"]))
            assert len([kind for kind in PRONOUNS if kind & used]) <= 1, paragraph["id"]


def test_at_least_a_quarter_of_the_questions_need_coreference() -> None:
    assert len(COREFERENCE) * 4 >= len(QUESTIONS)


@pytest.mark.parametrize(("paragraph", "question"), COREFERENCE, ids=[one["id"] for _, one in COREFERENCE])
def test_the_sentence_of_a_coreference_answer_has_no_word_of_the_name(
    paragraph: dict[str, Any], question: dict[str, Any]
) -> None:
    subject = paragraph["subject"]
    names = {subject or paragraph["title"], *(word for word in subject.split() if word[0].isupper() and len(word) > 3)}
    (sentence,) = sentences_with(question["answers"][0], paragraph["text"])
    assert [name for name in names if re.search(rf"(?<!\w){re.escape(name)}", sentence)] == []


def test_no_two_paragraphs_share_a_run_of_twelve_words() -> None:
    owners: Counter[tuple[str, ...]] = Counter()
    for paragraph in PARAGRAPHS:
        owners.update(runs(re.findall(r"\w+", paragraph["text"].lower()), 12))
    assert [" ".join(run) for run, count in owners.items() if count > 1] == []
