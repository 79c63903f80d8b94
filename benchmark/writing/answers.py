"""Reading a writer's answers: which cannot be used and why, lists of items, questions with their answers."""

import json
import re
from collections.abc import Collection
from typing import Any, Literal

Problem = Literal["empty", "cut", "copied", "refused", "unreadable", "gold"]

_REFUSALS = re.compile(
    r"^\W*(i(['’]m| am) (sorry|afraid|unable|not able)|i (cannot|can['’]t|can not|won['’]t|apologi[sz]e)|sorry|as an ai"
    r"|unfortunately, i)\b",
    re.IGNORECASE,
)
_ENUMERATION = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):]|\[\d{1,3}\])\s+")
_CITATION = re.compile(r"\[\d{1,3}\]")
_QUESTION = re.compile(r"^\W*(?:q(?:uestion)?\s*\d*)\**\s*[.:)]", re.IGNORECASE)
_ANSWER = re.compile(r"^\W*(?:(?:answer\s*\d*|a\s*\d+)\**\s*[.:)]|a\**\s*:)", re.IGNORECASE)  # "A)", "A." is an option
_OPTION = re.compile(r"^\(?[A-H]\)\s+")
# The beginning is missing where the chat template, and so the prompt, ends with it; the end then has a line of its own.
_THOUGHTS = re.compile(r"\A(?:\s*<think>.*?(?:</think>|\Z)|.*?^</think>[ \t]*$)", re.DOTALL | re.MULTILINE)
_COPIED_WORDS = 12  # as many words of the prompt in a row, outside of the document, count as copied
_MOST_ITEMS = 30
_LONGEST_ITEM = 300  # characters


def problem_of(answer: str, ended: str, instruction: str, document: str) -> Problem | None:
    """Why an answer cannot be used as a text; None if it can.

    Args:
        answer: The answer.
        ended: "stop", or "length" if the limit of tokens cut it.
        instruction: The prompt without the document.
        document: The document that it is about.
    """
    if not answer.strip():
        return "empty"
    if ended == "length":
        return "cut"
    return refused_or_copied(answer, instruction, document)


def refused_or_copied(answer: str, instruction: str, document: str) -> Problem | None:
    """Whether an answer is a refusal, or repeats the document as it is or a piece of the instruction."""
    if _REFUSALS.match(answer.strip()):
        return "refused"
    words, given = _words(answer), _words(instruction)
    if words == _words(document):
        return "copied"
    pieces = {tuple(given[start : start + _COPIED_WORDS]) for start in range(len(given) - _COPIED_WORDS + 1)}
    if any(tuple(words[start : start + _COPIED_WORDS]) in pieces for start in range(len(words) - _COPIED_WORDS + 1)):
        return "copied"
    return None


def without_thoughts(answer: str) -> str:
    """An answer without the thoughts between <think> and </think> before it; empty if it ends among them."""
    return _THOUGHTS.sub("", answer).strip()


def read_items(answer: str, ended: str) -> list[str]:
    """The items of a list: a JSON list, also one that is not quite valid, or a line for each item.

    Repeated items count once. The last item of a cut answer is left out, since it may be a piece.
    """
    uncited = _CITATION.sub("", answer)  # a citation such as [1] is no list
    listed = uncited[uncited.find("[") :] if "[" in uncited else ""
    items: list[str] = []
    try:
        items = [_item(entry) for entry in json.loads(listed[: listed.rfind("]") + 1])]
    except (ValueError, AttributeError, TypeError, RecursionError):
        items = re.findall(r'"((?:[^"\\\n]|\\.)*)"', listed)
        if not items:
            lines = [line for line in answer.splitlines() if line.strip()]
            marked = [line for line in lines if _ENUMERATION.match(line)]
            items = [_ENUMERATION.sub("", line) for line in (marked or lines)]
            items = items[:-1] if ended == "length" else items
    cleaned = (" ".join(item.split()).strip(" *\"'`,;") for item in items)
    return [item for item in dict.fromkeys(cleaned) if item and len(item) <= _LONGEST_ITEM][:_MOST_ITEMS]


def read_questions(answer: str, ended: str) -> list[tuple[str, str]]:
    """The questions and answers in a text of lines "Question: …" and "Answer: …".

    A question without an answer is left out, and so is the last pair of a cut answer, since it may be a piece.
    """
    pairs: list[tuple[str, str]] = []
    question = ""
    for line in answer.splitlines():
        stripped = _ENUMERATION.sub("", line).strip().strip("*").strip()
        if _QUESTION.match(stripped):
            question = _clean(_QUESTION.sub("", stripped))
        elif _ANSWER.match(stripped) and question:
            if text := _OPTION.sub("", _clean(_ANSWER.sub("", stripped))):
                pairs.append((question, text))
            question = ""
        elif stripped.endswith("?") and not question:
            question = _clean(stripped)
    if ended == "length" and pairs and not question:
        pairs = pairs[:-1]
    return list(dict.fromkeys(pairs))


def without_gold(pairs: Collection[tuple[str, str]], gold: Collection[str]) -> list[tuple[str, str]]:
    """The pairs whose question neither is nor ends with a gold question, as where a label stands before it.

    Args:
        pairs: Questions and their answers.
        gold: Gold questions, each as `compared_with_gold` gives it.
    """

    def is_gold(question: str) -> bool:
        words = compared_with_gold(question).split()
        return any(" ".join(words[start:]) in gold for start in range(len(words)))

    return [(question, answer) for question, answer in pairs if not is_gold(question)]


def compared_with_gold(question: str) -> str:
    """A question as it is compared with gold questions: `normalised`, and without the apostrophe ’."""
    return normalised(question).replace("’", "")


def normalised(text: str) -> str:
    """A text in small letters, without punctuation, articles and repeated white space, as SQuAD's metrics compare."""
    from benchmark.tasks.biography.biography import normalise

    return str(normalise(text))


def _item(entry: Any) -> str:
    """An item of a JSON list: a text or a number, or the first value of an object."""
    return str(entry if isinstance(entry, (str, int, float)) else next(iter(entry.values()), ""))


def _clean(text: str) -> str:
    """A question or answer without marks of bold type, repeated white space, and quotes around the whole of it."""
    cleaned = " ".join(text.strip().strip("*").split())
    quoted = re.fullmatch(r'"([^"]+)"|“([^“”]+)”', cleaned)
    return (quoted[1] or quoted[2]).strip() if quoted else cleaned


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
