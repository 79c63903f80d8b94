"""Reading a writer's answers."""

import pytest

from benchmark.data.texts import questions_as_text
from benchmark.writing.answers import normalised, problem_of, read_items, read_questions, without_gold, without_thoughts

INSTRUCTION = "Write this text anew as a short entry of an encyclopedia and add nothing that it does not say, please."
DOCUMENT = "Ada Moss was born in Lagos."


@pytest.mark.parametrize(
    ("answer", "ended", "problem"),
    [
        ("Lagos is where Ada Moss was born.", "stop", None),
        ("  \n ", "stop", "empty"),
        ("Ada Moss was born in", "length", "cut"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("I cannot write this.", "stop", "refused"),
        ("I’m sorry, but I can’t help with that.", "stop", "refused"),
        ("I can’t write this.", "stop", "refused"),
        ("I apologize, but this is not possible.", "stop", "refused"),
        ("As an AI language model, I have no opinion.", "stop", "refused"),
        ("ada moss was born in LAGOS", "stop", "copied"),
        ("Sure. " + INSTRUCTION, "stop", "copied"),
        ("I cannotation is a word.", "stop", None),
    ],
)
def test_answers_of_no_use_are_named(answer: str, ended: str, problem: str | None) -> None:
    assert problem_of(answer, ended, INSTRUCTION, DOCUMENT) == problem


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        ("<think>\nWhat to say?\n\n- Ada\n</think>\n\nLagos.", "Lagos."),
        ("<think>\n\n</think>\n\nLagos.", "Lagos."),
        ("<think>Question: Who?\nAnswer: Ada", ""),
        ("What to say?\n- Ada\n</think>\n\nLagos.", "Lagos."),  # the prompt ended with <think>
        ("The mark </think> ends thoughts.", "The mark </think> ends thoughts."),
    ],
)
def test_thoughts_before_an_answer_are_no_part_of_it(answer: str, rest: str) -> None:
    assert without_thoughts(answer) == rest


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ('["Ada Moss", "Lagos"]', ["Ada Moss", "Lagos"]),
        ('Here they are:\n```json\n["Ada Moss", "Lagos",]\n```', ["Ada Moss", "Lagos"]),
        ('["Ada Moss", "Lag', ["Ada Moss"]),
        ('[{"name": "Ada Moss"}, {"name": "Lagos"}]', ["Ada Moss", "Lagos"]),
        ("- Ada Moss\n- Lagos\n- Ada Moss", ["Ada Moss", "Lagos"]),
        ("The things are:\n1. **Ada Moss**\n2) Lagos", ["Ada Moss", "Lagos"]),
        ("Ada Moss\nLagos", ["Ada Moss", "Lagos"]),
        ("1. Ada Moss [1]\n2. Lagos", ["Ada Moss [1]", "Lagos"]),
        ('[1] Ada Moss\n[2] "Lagos"', ["Ada Moss", "Lagos"]),
        ('["Ada Moss", 1951]', ["Ada Moss", "1951"]),
        ("", []),
    ],
)
def test_lists_are_read_from_json_broken_json_and_lines(answer: str, items: list[str]) -> None:
    assert read_items(answer, "stop") == items


def test_the_last_item_of_a_cut_list_of_lines_is_left_out() -> None:
    assert read_items("- Ada Moss\n- Lagos\n- the univ", "length") == ["Ada Moss", "Lagos"]


@pytest.mark.parametrize(
    "answer",
    [
        "Question: Who was born?\nAnswer: Ada Moss\nQuestion: Where?\nAnswer: Lagos",
        "1. Question: Who was born?\n   Answer: Ada Moss\n\n2. Question: Where?\n   Answer: Lagos",
        "**Question:** Who was born?\n**Answer:** Ada Moss\n**Question:** Where?\n**Answer:** Lagos",
        "Q1: Who was born?\nA1: Ada Moss\nQ2: Where?\nA2: Lagos",
        "**Q1**: Who was born?\n**A1**: Ada Moss\n**Q2**: Where?\n**A2**: Lagos",
        "Who was born?\nAnswer: Ada Moss\nWhere?\nAnswer: Lagos\nQuestion: Without an answer?",
    ],
)
def test_questions_are_read_in_the_layouts_that_models_use(answer: str) -> None:
    assert read_questions(answer, "stop") == [("Who was born?", "Ada Moss"), ("Where?", "Lagos")]


@pytest.mark.parametrize("given", ["-5 °C", "$5 million", "(about) ten", '"Ada" Moss', "€20", "±3"])
def test_signs_and_quotes_at_the_beginning_of_an_answer_stay(given: str) -> None:
    assert read_questions(f"Question: How much?\nAnswer: {given}", "stop") == [("How much?", given)]


def test_quotes_around_a_whole_question_or_answer_are_dropped() -> None:
    answer = 'Question: "Who was born?"\nAnswer: “Ada Moss”\nQuestion: What?\nAnswer: "a" or "b"'
    assert read_questions(answer, "stop") == [("Who was born?", "Ada Moss"), ("What?", '"a" or "b"')]


def test_the_last_pair_of_a_cut_answer_is_left_out() -> None:
    answer = "Question: Who was born?\nAnswer: Ada Moss\nQuestion: Where?\nAnswer: Lag"
    assert read_questions(answer, "length") == [("Who was born?", "Ada Moss")]


def test_questions_of_the_task_are_left_out_after_normalisation() -> None:
    pairs = [("Where was THE Ada Moss born", "Lagos"), ("Who was born in Lagos?", "Ada Moss")]
    assert without_gold(pairs, {"where was ada moss born"}) == [("Who was born in Lagos?", "Ada Moss")]


def test_questions_become_a_text_in_the_form_of_the_tasks() -> None:
    assert (
        questions_as_text([("Who?", "Ada"), ("Where?", "Lagos")])
        == "Question: Who?\nAnswer: Ada\n\nQuestion: Where?\nAnswer: Lagos"
    )


def test_the_options_of_a_multiple_choice_are_no_answers() -> None:
    asked = (
        "Question: Where was Ada born?\nA) Oslo\nB) Lagos\nAnswer: B) Lagos\nQuestion: Who?\nA. Moss\nB. Holm\nA: Ada"
    )
    assert read_questions(asked, "stop") == [("Where was Ada born?", "Lagos"), ("Who?", "Ada")]


@pytest.mark.parametrize("before", ["", "Q1: ", "1. ", "#1: ", "Sure! Question: "])
@pytest.mark.parametrize("apostrophe", "'’")
def test_a_gold_question_behind_a_label_is_left_out_as_well(before: str, apostrophe: str) -> None:
    gold = {normalised("What is Tomas Riel's birthplace?")}
    asked = f"{before}What is Tomas Riel{apostrophe}s birthplace?"
    other = "What is Ann's and Tomas Riel's birthplace called?"
    assert without_gold([(asked, "Aarhus"), (other, "Aarhus")], gold) == [(other, "Aarhus")]
