"""Questions about documents that a writer writes, and the checks that each has to pass."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.data.prompts import read_prompt
from benchmark.data.texts import Text
from benchmark.data.written import Writing
from benchmark.documents.passages import passages
from benchmark.tasks.biography.biography import stands_in
from benchmark.writing.answers import normalised, read_questions, without_thoughts
from benchmark.writing.requests import Request, Writes, seed_of
from benchmark.writing.settings import Writer
from benchmark.writing.write import Journal, Session
from benchmark.writing.writers import open_writers

PROMPTS = Path(__file__).parent / "prompts"
KINDS = ("direct", "reworded", "backwards")
EACH = 3  # questions that a prompt asks for
SETTINGS = {"temperature": 0.3}  # of a writer, unless it is given others: each prompt is answered once, and exactly
_MOST_WORDS = 10  # of an answer
_SAME_WORDS = 6  # a question that repeats this many words of its document in a row is not in other words
_ABOUT_THE_TEXT = re.compile(
    r"\b(?:(?:according to|mentioned in|described in|stated in|given in) (?:the|this|that) (?:\w+ )?"
    r"(?:text|passage|document|article|section|paragraph|page)"
    r"|(?:the|this) (?:given |above )?(?:text|passage)|this (?:document|article|section|paragraph|page))\b",
    re.IGNORECASE,
)

_WORD = re.compile(r"\w+(?:[_./'’-]+\w+)*")
_NAME = re.compile(r"[\d_./-]|\w[A-Z]")
_POSSESSIVE = re.compile(r"['’]s$")
_HEADING = re.compile(r"^#{1,6} (.*)", re.MULTILINE)
_HEADING_WORD = 4  # letters of a word of a heading that can name a subject
_ASKING = {  # words of questions that name no subject, of four letters or more
    "been", "does", "done", "from", "have", "into", "long", "made", "many", "much", "that", "there", "this", "used",
    "were", "what", "when", "where", "which", "whom", "whose", "will", "with",
}  # fmt: skip

Shown = Callable[[str], AbstractContextManager[Progress]]


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


@dataclass
class QuestionReport:
    """What a writer was asked for, and what became of it.

    Attributes:
        passages: Passages of the documents.
        asked: Questions that the prompts asked for: `EACH` for every passage and kind.
        unusable: Answers without a question that can be read, after all tries, by problem (docs/writers.md).
        parsed: Questions that were read.
        left_out: Questions that failed a check, by the first that they failed.
        kept: Questions that passed, by kind.
        documents: Documents with a question.
        prompt_tokens: Tokens of all prompts.
        tokens: Tokens of all answers.
    """

    passages: int = 0
    asked: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    parsed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    prompt_tokens: int = 0
    tokens: int = 0

    def lines(self) -> list[str]:
        """The report in two or three lines."""
        kept = ", ".join(f"{kind} {self.kept[kind]}" for kind in KINDS)
        lines = [
            f"questions: {self.asked} asked for about {self.passages} passages, {self.parsed} read, "
            f"{self.kept.total()} kept ({kept}) about {self.documents} documents"
        ]
        if self.left_out:
            lines.append(f"left out: {_listed(self.left_out)}")
        if self.unusable:
            lines.append(f"answers of the writer without a usable question: {_listed(self.unusable)}")
        return lines


def write_questions(
    documents: Sequence[Text],
    writer: Writer,
    device: str,
    resume_folder: Path,
    shown: Shown = lambda _: nullcontext(lambda *steps: None),
) -> tuple[list[WrittenQuestion], QuestionReport]:
    """Let a writer write questions about documents, and keep those that pass all checks.

    A question is kept if it names something of its document, does not speak of "the text", its answer is short, stands
    in the document and not in the question, nothing asks the same, and the writer answers it with the passage in the
    prompt and not without it.

    Args:
        documents: The documents. Long ones are asked about passage by passage.
        writer: The writer's settings. It answers with the likeliest tokens, whatever its temperature.
        device: "cpu" or "cuda", for a local model.
        resume_folder: Folder that keeps every sample as it arrives; an interrupted call continues from it.
        shown: Shows the progress of a phase: given its name, a context with what is to be called.

    Returns:
        The questions in the order of the documents, and the report.

    Raises:
        UserError: The writer fails, or no question can be used.
    """
    parts = {
        f"{document.id}#{number}": (document, Text(f"{document.id}#{number}", passage))
        for document in documents
        for number, passage in enumerate(passages(document.text))
    }
    folder = resume_folder / _key(writer, documents)
    writing, answering = open_writers(writer, [writer, writer.model_copy(update={"temperature": 0.0})], device)
    asks = Writing(prompts=tuple(str(PROMPTS / f"{kind}.md") for kind in KINDS), form="questions")
    with shown("prompts answered with questions") as progress:
        session = Session(
            writing, asks, len(KINDS), writer.seed, writer.tries, Journal(folder / "questions.jsonl"), progress,
            shows_examples=True,
        )  # fmt: skip
        written = session.write([text for _, text in parts.values()])
    drawn = session.report
    report = QuestionReport(len(parts), EACH * len(KINDS) * len(parts), drawn.left_out)
    report.prompt_tokens, report.tokens = drawn.prompt_tokens, drawn.tokens
    candidates = [
        (WrittenQuestion(parts[text.id][0].id, question, answer, KINDS[text.copy - 1]), parts[text.id][1].text)
        for text in written
        for question, answer in read_questions(text.text, "stop")
    ]
    report.parsed = len(candidates)
    candidates = _checked(candidates, {document.id: document.text for document in documents}, report)
    journal = Journal(folder / "answers.jsonl")
    for with_document in (True, False):
        name = "questions answered with" if with_document else "questions answered without"
        with shown(f"{name} the document") as progress:
            candidates = _answered(candidates, with_document, answering, writer, journal, progress, report)
    questions = [question for question, _ in candidates]
    report.kept = Counter(question.kind for question in questions)
    report.documents = len({question.document for question in questions})
    if not questions:
        raise UserError(
            f"--questions-by: none of {report.parsed} questions can be used ({_listed(report.left_out)}); "
            "use another writer, or write the questions yourself"
        )
    return questions, report


_Candidates = list[tuple[WrittenQuestion, str]]  # with the passage that it was written about


def _checked(candidates: _Candidates, documents: Mapping[str, str], report: QuestionReport) -> _Candidates:
    """The questions that pass all checks that need no writer."""
    texts = {name: normalised(text) for name, text in documents.items()}
    passed: _Candidates = []
    for candidate in candidates:
        question, passage = candidate
        if problem := _problem(question, texts[question.document], passage):
            report.left_out[problem] += 1
        else:
            passed.append(candidate)
    first: dict[str, WrittenQuestion] = {}
    of_several: set[str] = set()
    for question, _ in passed:
        asked = normalised(question.question)
        before = first.setdefault(asked, question)
        if before.document != question.document and normalised(before.answer) != normalised(question.answer):
            of_several.add(asked)
    kept: _Candidates = []
    for question, passage in passed:
        asked = normalised(question.question)
        if asked in of_several:
            report.left_out["has other answers in other documents"] += 1
        elif first[asked] is not question:
            report.left_out["asked already"] += 1
        else:
            kept.append((question, passage))
    return kept


def _problem(question: WrittenQuestion, document: str, passage: str) -> str | None:
    """The first check that a question fails; None if it passes.

    Args:
        question: The question.
        document: Its document's normalised text.
        passage: The passage that it was written about, with the title of the document.
    """
    asked, answer = normalised(question.question), normalised(question.answer)
    if not answer:
        return "answer is empty"
    if len(answer.split()) > _MOST_WORDS:
        return f"answer has more than {_MOST_WORDS} words"
    if _ABOUT_THE_TEXT.search(question.question):
        return "asks about the text itself"
    if not stands_in(answer, document):
        return "answer not in the document"
    if stands_in(answer, asked):
        return "answer in the question"
    if not names_its_subject(question.question, passage):
        return "names nothing of the document"
    if question.kind == "reworded" and _shares_words(asked, document):
        return "reworded in the words of the document"
    return None


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


def _stands(word: str, text: str) -> bool:
    """Whether a text holds a word, as a whole; both in small letters."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _shares_words(question: str, document: str) -> bool:
    """Whether a question has `_SAME_WORDS` words in a row that stand in the document; both are normalised."""
    words, padded = question.split(), f" {document} "
    runs = (" ".join(words[start : start + _SAME_WORDS]) for start in range(len(words) - _SAME_WORDS + 1))
    return any(f" {run} " in padded for run in runs)


def _answered(
    candidates: _Candidates,
    with_document: bool,
    writer: Writes,
    settings: Writer,
    journal: Journal,
    progress: Progress,
    report: QuestionReport,
) -> _Candidates:
    """The questions that the writer answers with the document, or does not answer without it."""
    prompt = read_prompt(str(PROMPTS / "answer.md"))
    shown = "with" if with_document else "without"
    requests = []
    for question, passage in candidates:
        name = f"{shown}:{question.document}:{question.question}"
        values = {"document": f"Text: {passage}\n\n" if with_document else "", "item": question.question}
        requests.append(Request(name, prompt, values, seed_of(settings.seed, name), shows_examples=True))
    for done, (request, sample) in enumerate(writer.write(requests, dict(journal.samples)), start=1):
        journal.add(request.name, sample)
        progress(done, len(requests))
    kept: _Candidates = []
    for candidate, request in zip(candidates, requests, strict=True):
        sample = journal.samples[request.name]
        report.prompt_tokens += sample.prompt_tokens
        report.tokens += sample.tokens
        given = normalised(without_thoughts(sample.text))
        if stands_in(normalised(candidate[0].answer), given) == with_document:
            kept.append(candidate)
        else:
            report.left_out[f"{'not ' if with_document else ''}answered {shown} the document"] += 1
    return kept


def _key(writer: Writer, documents: Iterable[Text]) -> str:
    """Hash of what the samples depend on, so that those of another call are not taken for this one's."""
    prompts = [read_prompt(str(PROMPTS / f"{name}.md")).sha256 for name in (*KINDS, "answer")]
    content = [writer.identity(), prompts, [(document.id, document.text) for document in documents]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
