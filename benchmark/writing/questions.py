"""Questions about documents that a writer writes, and the checks that each has to pass."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.data.prompts import read_prompt
from benchmark.data.texts import Text
from benchmark.data.written import Writing
from benchmark.documents.passages import passages
from benchmark.tasks.biography.biography import stands_in
from benchmark.writing.answers import normalised, read_questions, without_thoughts
from benchmark.writing.question_checks import Candidates, WrittenQuestion, checked, names_of_examples
from benchmark.writing.requests import Request, Writes, seed_of
from benchmark.writing.settings import Writer
from benchmark.writing.write import Journal, Session
from benchmark.writing.writers import open_writers

PROMPTS = Path(__file__).parent / "prompts"
KINDS = ("direct", "reworded", "backwards")
EACH = 3  # the most questions that a prompt asks for
SETTINGS = {"temperature": 0.3}  # of a writer, unless it is given others: each prompt is answered once, and exactly
_EXTRA_WORDS = 10  # that an answer may have beside the expected one: a writer that repeats the passage knows nothing

Shown = Callable[[str], AbstractContextManager[Progress]]


@dataclass
class QuestionReport:
    """What a writer was asked for, and what became of it.

    Attributes:
        passages: Passages of the documents.
        asked: The most questions that the prompts asked for: `EACH` for every passage and kind.
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
            f"questions: up to {self.asked} asked for about {self.passages} passages, {self.parsed} read, "
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

    A question is kept if it passes the checks of `question_checks.py`, and if the writer answers it with the passage in
    the prompt and not without it.

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
    examples = names_of_examples(list(asks.contents().values()))
    candidates, report.left_out = checked(candidates, {text.id: text.text for text in documents}, examples)
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


def _answered(
    candidates: Candidates,
    with_document: bool,
    writer: Writes,
    settings: Writer,
    journal: Journal,
    progress: Progress,
    report: QuestionReport,
) -> Candidates:
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
    kept: Candidates = []
    for candidate, request in zip(candidates, requests, strict=True):
        sample = journal.samples[request.name]
        report.prompt_tokens += sample.prompt_tokens
        report.tokens += sample.tokens
        given, expected = normalised(without_thoughts(sample.text)), normalised(candidate[0].answer)
        is_short = len(given.split()) <= len(expected.split()) + _EXTRA_WORDS
        is_right = stands_in(expected, given)
        if (is_right and is_short) if with_document else not is_right:
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
