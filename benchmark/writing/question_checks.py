"""Which questions of a writer can be asked: the checks that need no model.

What they cannot see is left to the writer's own answers (`questions.py`) and to a reader.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from benchmark.data.prompts import Prompt
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.tasks.biography.biography import stands_in
from benchmark.writing.answers import normalised

MOST_WORDS = 10  # of an answer
_SAME_WORDS = 6  # a question that repeats this many words of its document in a row is not in other words
# A word in more than this share of the documents tells none of them from the others. Chosen on 61 questions about 20
# pages, labelled by hand: it left 38 of them, and 14 of the 15 that were sound.
_COMMON = 0.3
_DESCRIBING = 2  # words that few documents hold, in a question that describes its subject
_TEXT = r"(?:text|passage|document|documentation|article|section|paragraph|page)"
_ABOUT_THE_TEXT = re.compile(
    rf"\b(?:(?:according to|(?:mentioned|described|stated|given|listed|shown|used) in) (?:the|this|that) (?:\w+ )?"
    rf"(?:{_TEXT}|code|comparison|example|table|chart)s?"
    rf"|(?:name|title|topic|subject|purpose|author) of (?:the|this|that) (?:{_TEXT}|code|file|project)"
    # "the text" alone; "the text column" is a column
    r"|(?:the|this) (?:given |above )?(?:text|passage)"
    r"(?!\s+(?!describe|say|state|mention|speak|about|from|is|was|deal)\w)"
    r"|this (?:document|article|section|paragraph|page))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+(?:[_./'’-]+\w+)*")
_NAME = re.compile(r"[\d_./-]|\w[A-Z]")
_POSSESSIVE = re.compile(r"['’]s$")
_HEADING = re.compile(r"^#{1,6} (.*)", re.MULTILINE)
_HEADING_WORD = 4  # letters of a word of a heading that can name a subject
_ASKING = FUNCTION_WORDS | {"called", "done", "kind", "long", "made", "many", "much", "name", "there", "used"}


@dataclass(frozen=True)
class WrittenQuestion:
    """A question that a writer wrote.

    Attributes:
        document: Id of the document that it is about.
        question: The question.
        answer: Its answer, which stands in the document.
        kind: How it was asked for: "direct", "reworded" (in other words than the document's) or "backwards" (from the
            facts to the name).
    """

    document: str
    question: str
    answer: str
    kind: str

    def row(self) -> dict[str, Any]:
        """The columns of a file of questions for the task `corpus`."""
        return {"document": self.document, "question": self.question, "answers": [self.answer], "kind": self.kind}


Candidates = list[tuple[WrittenQuestion, str]]  # each with the passage that it was written about


def checked(
    candidates: Candidates, documents: Mapping[str, str], examples: Set[str]
) -> tuple[Candidates, Counter[str]]:
    """The questions that pass all checks, and how many fail which.

    Args:
        candidates: All questions that were read.
        documents: The texts of all documents, by id.
        examples: Names in the examples of the prompts (`names_of_examples`).
    """
    left_out: Counter[str] = Counter()
    texts = {name: normalised(text) for name, text in documents.items()}
    common = _common_words(list(documents.values()))
    ambiguous = _ambiguous(candidates)
    asked: set[str] = set()
    kept: Candidates = []
    for question, passage in candidates:
        key = normalised(question.question)
        problem = _problem(question, texts[question.document], passage, common, examples)
        if not problem and key in ambiguous:
            problem = "has several answers"
        if not problem and key in asked:
            problem = "asked already"
        if problem:
            left_out[problem] += 1
        else:
            asked.add(key)
            kept.append((question, passage))
    return kept, left_out


def names_of_examples(prompts: Sequence[Prompt]) -> frozenset[str]:
    """The names in the examples' documents and answers: words that begin with a capital letter inside a sentence.

    A small writer may ask about an example instead of the text that it was given.
    """
    texts = (text for prompt in prompts for example in prompt.examples for text in (example.document, example.answer))
    return frozenset(name for text in texts for name in re.findall(r"(?<=[\w,] )[A-Z]\w{3,}", text))


def about_examples(question: str, answer: str, passage: str, examples: Set[str]) -> bool:
    """Whether a question or its answer has a name of the examples that its passage lacks."""
    return bool(examples & (_words(f"{question} {answer}") - _words(passage)))


def names_its_subject(question: str, passage: str) -> bool:
    """Whether a question holds a name, number or heading of its passage, so that it can be understood without it.

    A name is a word after the first that begins with a capital letter, or any word with a digit, a later capital letter
    or one of `_ . / -`; a possessive 's is no part of it. Of headings, words of four letters or more count. Questions
    in scripts without capital letters pass.

    Examples:
        >>> names_its_subject("Who built the pier of Port Ellery?", "The pier of Port Ellery was built by Ada Moss.")
        True
        >>> names_its_subject("What is the figure?", "The figure is 0.31.")
        False
        >>> names_its_subject("How long is the pier?", "# The pier")
        True
    """
    if question.lower() == question.upper():
        return True
    headings = " ".join(_HEADING.findall(passage)).lower()
    text = passage.lower()
    for number, asked in enumerate(_WORD.findall(question)):
        word = _POSSESSIVE.sub("", asked)
        is_name = bool(_NAME.search(word)) or (number > 0 and word[0].isupper())
        in_heading = len(word) >= _HEADING_WORD and word.lower() not in _ASKING and _stands(word.lower(), headings)
        if in_heading or (is_name and _stands(word.lower(), text)):
            return True
    return False


def _problem(
    question: WrittenQuestion, document: str, passage: str, common: Set[str], examples: Set[str]
) -> str | None:
    """The first check that a question fails; None if it passes.

    Args:
        question: The question.
        document: Its document's normalised text.
        passage: The passage that it was written about, with the title of the document.
        common: Words that many documents hold.
        examples: Names in the examples of the prompts.
    """
    asked, answer = normalised(question.question), normalised(question.answer)
    if not answer:
        return "answer is empty"
    if about_examples(question.question, question.answer, passage, examples):
        return "about the prompt's example"
    if len(answer.split()) > MOST_WORDS:
        return f"answer has more than {MOST_WORDS} words"
    if _ABOUT_THE_TEXT.search(question.question):
        return "asks about the text itself"
    if not stands_in(answer, normalised(passage)):
        return "answer not in its passage"
    if stands_in(answer, asked):
        return "answer in the question"
    backwards = question.kind == "backwards"  # describes its subject and so need not name anything
    if not (backwards or names_its_subject(question.question, passage)):
        return "names nothing of its passage"
    if _telling(question.question, passage, common) < (_DESCRIBING if backwards else 1):
        return "names only what many documents hold"
    if question.kind == "reworded" and _shares_words(asked, document):
        return "reworded in the words of the document"
    return None


def _ambiguous(candidates: Candidates) -> frozenset[str]:
    """The normalised questions that were given answers of which neither is a part of the other."""
    answers: dict[str, set[str]] = defaultdict(set)
    for question, _ in candidates:
        answers[normalised(question.question)].add(normalised(question.answer))
    return frozenset(
        asked
        for asked, given in answers.items()
        if any(not stands_in(one, other) and not stands_in(other, one) for one in given for other in given)
    )


def _common_words(documents: Sequence[str]) -> frozenset[str]:
    """The words that more than one document holds, and more than `_COMMON` of all."""
    holding = Counter(word for text in documents for word in _small_words(text))
    return frozenset(word for word, count in holding.items() if count > max(1, int(_COMMON * len(documents))))


def _telling(question: str, passage: str, common: Set[str]) -> int:
    """How many words of a question stand in its passage and in few documents; enough where no letter is capital."""
    if question.lower() == question.upper():
        return _DESCRIBING
    return len((_small_words(question) & _small_words(passage)) - common - _ASKING)


def _small_words(text: str) -> set[str]:
    return {_POSSESSIVE.sub("", word) for word in _WORD.findall(text.lower())}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _stands(word: str, text: str) -> bool:
    """Whether a text holds a word, as a whole; both in small letters."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _shares_words(question: str, document: str) -> bool:
    """Whether a question has `_SAME_WORDS` words in a row that stand in the document; both are normalised."""
    words, padded = question.split(), f" {document} "
    runs = (" ".join(words[start : start + _SAME_WORDS]) for start in range(len(words) - _SAME_WORDS + 1))
    return any(f" {run} " in padded for run in runs)
