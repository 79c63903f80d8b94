"""The shipped paragraphs of the wikipedia task: enough, well formed, and with every answer in its text."""

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
    """All runs of `length` consecutive entries."""
    return {tuple(sequence[start : start + length]) for start in range(len(sequence) - length + 1)}


def sentences_with(answer: str, text: str) -> list[str]:
    """The sentences of `text` that contain `answer` as a whole; no text has a full stop inside a sentence."""
    whole = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    return [sentence for sentence in re.split(r"(?<=[.!?]) ", text) if whole.search(sentence)]


def test_there_are_at_least_sixty_paragraphs_and_four_questions_on_each() -> None:
    assert len(PARAGRAPHS) >= 60 and len(QUESTIONS) >= 240
    assert {len(paragraph["questions"]) for paragraph in PARAGRAPHS} == {4}


def test_every_line_has_exactly_the_expected_fields() -> None:
    for paragraph in PARAGRAPHS:
        assert list(paragraph) == ["id", "title", "subject", "half", "text", "questions"]
        for question in paragraph["questions"]:
            assert list(question) == ["id", "question", "answers", "kind"]
            assert question["kind"] in {"direct", "coreference"} and question["question"].endswith("?")


def test_ids_count_up_and_halves_alternate() -> None:
    for number, paragraph in enumerate(PARAGRAPHS):
        assert paragraph["id"] == f"mini-{number:03d}"
        assert paragraph["half"] == ("development", "test")[number % 2]
        assert [question["id"] for question in paragraph["questions"]] == [f"mini-{number:03d}:{n}" for n in range(4)]


def test_paragraphs_are_short_and_have_common_characters_alone() -> None:
    for paragraph in PARAGRAPHS:
        text = paragraph["text"]
        assert 50 <= len(text.split()) <= 90 and len(text) <= 700, paragraph["id"]
        assert text == " ".join(text.split()) and text.endswith(".")
        for said in (text, *(question["question"] for question in paragraph["questions"])):
            assert all(letter.isascii() or (letter.isalpha() and letter < "\u0180") for letter in said), said


def test_every_first_answer_is_short_and_in_its_text_once() -> None:
    for paragraph, question in QUESTIONS:
        first = question["answers"][0]
        assert len(re.findall(rf"(?<!\w){re.escape(first)}(?!\w)", paragraph["text"])) == 1, question["id"]
        assert all(0 < len(answer) <= 40 and len(answer.split()) <= 6 for answer in question["answers"]), question["id"]


def test_no_question_contains_its_gold_answer() -> None:
    for _, question in QUESTIONS:
        asked = words(question["question"])
        for answer in question["answers"]:
            gold = words(answer)
            assert gold and tuple(gold) not in runs(asked, len(gold)), (question["id"], answer)


def test_questions_and_titles_are_unique() -> None:
    for values in (
        [question["question"] for _, question in QUESTIONS],
        [paragraph["title"] for paragraph in PARAGRAPHS],
    ):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def test_every_question_names_its_subject() -> None:
    for paragraph, question in QUESTIONS:
        names = {word for word in words(paragraph["subject"] or paragraph["title"]) if len(word) > 1}
        assert names & set(words(question["question"])), question["id"]


def test_texts_name_their_subject_and_use_pronouns_of_a_single_kind() -> None:
    for paragraph in PARAGRAPHS:
        assert paragraph["subject"] in paragraph["text"], paragraph["id"]
        if paragraph["subject"]:
            used = set(words(paragraph["text"]))
            assert len([kind for kind in PRONOUNS if kind & used]) <= 1, paragraph["id"]


def test_at_least_a_quarter_of_the_questions_need_coreference() -> None:
    assert len(COREFERENCE) * 4 >= len(QUESTIONS)


@pytest.mark.parametrize(("paragraph", "question"), COREFERENCE, ids=[question["id"] for _, question in COREFERENCE])
def test_the_sentence_with_a_coreference_answer_does_not_name_the_subject(
    paragraph: dict[str, Any], question: dict[str, Any]
) -> None:
    subject = paragraph["subject"]
    names = {subject or paragraph["title"], *(word for word in subject.split() if word[0].isupper() and len(word) > 3)}
    (sentence,) = sentences_with(question["answers"][0], paragraph["text"])
    assert [name for name in names if re.search(rf"(?<!\w){re.escape(name)}", sentence)] == []


def test_no_two_paragraphs_share_twelve_consecutive_words() -> None:
    owners: Counter[tuple[str, ...]] = Counter()
    for paragraph in PARAGRAPHS:
        owners.update(runs(re.findall(r"\w+", paragraph["text"].lower()), 12))
    assert [" ".join(run) for run, count in owners.items() if count > 1] == []
