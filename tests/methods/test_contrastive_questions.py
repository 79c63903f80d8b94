"""Contrastive questions: what is asked about, how, and how often."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmark.data.texts import Text, TokenScores
from benchmark.methods import make_method
from benchmark.methods.contrastive_questions import ContrastiveQuestions, names_and_words

Tokenize = Callable[[Text], TokenScores]
TEXT = Text(
    "t", "Ada Moss was born on May 4, 1931. She studied at the University of Mexico City, in Lagos.", "Ada Moss"
)


def _surfaces(text: Text) -> list[str]:
    return [text.text[start:end] for start, end in names_and_words(text)]


def test_names_and_dates_are_wholes_and_function_words_are_left_out() -> None:
    assert _surfaces(TEXT) == ["Ada Moss", "born", "May 4, 1931", "studied", "University of Mexico City", "Lagos"]


def test_a_name_does_not_reach_over_the_end_of_a_sentence_or_another_word() -> None:
    text = Text("t", "He met Ada. Ben Fell and Chris went to Oslo with Dora.")
    assert _surfaces(text) == ["met", "Ada", "Ben Fell", "Chris", "went", "Oslo", "Dora"]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("On August 8, 1906, Pam Low was born.", ["August 8, 1906", "Pam Low", "born"]),
        ("In 1998, Anna Berg left Volvo.", ["1998", "Anna Berg", "left", "Volvo"]),
        ("In Rome, Pam Low met Ben.", ["Rome", "Pam Low", "met", "Ben"]),
        ("She went to Berkeley, California.", ["went", "Berkeley, California"]),
    ],
)
def test_the_subject_and_what_follows_a_number_are_asked_about_alone(sentence: str, expected: list[str]) -> None:
    assert _surfaces(Text("t", sentence, "Pam Low")) == expected


@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_a_text_of_many_words_has_questions_whatever_beta_is(beta: float, tokenize: Tokenize) -> None:
    text = Text("t", " ".join(f"word{number}" for number in range(1500)))
    copy = ContrastiveQuestions(beta=beta, questions=3).augment_one(text, tokenize(text), random.Random(1))
    assert copy.count("Answer: ") == 3


def test_a_question_is_a_sentence_with_a_blank_that_names_the_subject(tokenize: Tokenize) -> None:
    method = ContrastiveQuestions(questions=100)
    copy = method.augment_one(TEXT, tokenize(TEXT), random.Random(1))
    pairs = set(re.findall(r"Question: (.*)\nAnswer: (.*)", copy))
    assert pairs == {
        ("____ was born on May 4, 1931.", "Ada Moss"),
        ("Ada Moss was ____ on May 4, 1931.", "born"),
        ("Ada Moss was born on ____.", "May 4, 1931"),
        ("Ada Moss: She ____ at the University of Mexico City, in Lagos.", "studied"),
        ("Ada Moss: She studied at the ____, in Lagos.", "University of Mexico City"),
        ("Ada Moss: She studied at the University of Mexico City, in ____.", "Lagos"),
    }


def test_without_a_subject_a_question_begins_with_the_first_sentence(tokenize: Tokenize) -> None:
    text = Text("t", "The stone is old. It lies in Cairo.")
    copy = ContrastiveQuestions(questions=9).augment_one(text, tokenize(text), random.Random(1))
    assert "Question: The stone is old. It lies in ____.\nAnswer: Cairo" in copy
    assert "Question: The stone is ____.\nAnswer: old" in copy


def test_the_first_question_is_drawn_by_the_weight_of_the_best_word_of_a_clue() -> None:
    text = Text("t", "Ada Moss likes red Oslo.")
    spans = [(0, 3), (3, 8), (8, 14), (14, 18), (18, 23)]
    scores = [1.0, 5.0, 4.0, 3.0, 2.0]  # ranks: Moss 0, likes 1, red 2, Oslo 3, Ada 4
    tokens = TokenScores("t", [text.text[s:e] for s, e in spans], [s for s, _ in spans], [e for _, e in spans], scores)
    method = ContrastiveQuestions(questions=1, beta=0.5)
    draws = 4000
    answers = Counter(
        method.augment_one(text, tokens, random.Random(seed)).rpartition("Answer: ")[2] for seed in range(draws)
    )
    weights = {"Ada Moss": 1.0, "likes": math.exp(-0.5), "red": math.exp(-1.0), "Oslo": math.exp(-1.5)}
    for answer, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(answers[answer] / draws - share) < 4 * math.sqrt(share * (1 - share) / draws)


def test_random_ranks_need_no_pair_and_depend_on_the_text_alone(tokenize: Tokenize) -> None:
    control = make_method("contrastive_questions", {"by": "random"})
    assert (control.reads, make_method("contrastive_questions", {}).reads) == ("tokens", "difference")
    tokens = tokenize(TEXT)
    other = replace(tokens, score=[0.0] * len(tokens.score))
    first = control.augment_one(TEXT, tokens, random.Random(3))
    assert first == control.augment_one(TEXT, other, random.Random(3))


@pytest.mark.parametrize("content", [". , .", "of the and"])
def test_a_text_without_words_to_ask_about_stays_as_it_is(content: str, tokenize: Tokenize) -> None:
    text = Text("t", content)
    assert ContrastiveQuestions().augment_one(text, tokenize(text), random.Random(1)) == content
