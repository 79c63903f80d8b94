"""Write texts about a corpus: ask for items where a method needs them, draw samples, redraw unusable ones."""

import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from benchmark.core.progress import Progress
from benchmark.data.texts import Text, questions_as_text
from benchmark.data.written import Writing, WrittenText
from benchmark.writing.answers import (
    compared_with_gold,
    problem_of,
    read_items,
    read_questions,
    refused_or_copied,
    without_gold,
    without_thoughts,
)
from benchmark.writing.question_checks import about_examples, names_of_examples
from benchmark.writing.requests import Request, Sample, Writes, seed_of

_W = TypeVar("_W")


@dataclass
class Report:
    """What was drawn, and what was left out.

    Attributes:
        texts: Texts that are used.
        samples: Answers drawn, also those that were not used, and lists of items.
        left_out: Texts that are missing after all tries, by the problem of the last one; "items" if no items were
            found for a document.
        drawn_again: Answers that could not be used and were drawn again, by problem.
        gold_questions: Questions left out since a task asks them.
        prompt_tokens: Tokens of all prompts.
        tokens: Tokens of all answers.
    """

    texts: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    drawn_again: Counter[str] = field(default_factory=Counter)
    gold_questions: int = 0
    prompt_tokens: int = 0
    tokens: int = 0

    def __add__(self, other: "Report") -> "Report":
        """The sums of both."""
        return Report(**{name: value + getattr(other, name) for name, value in vars(self).items()})


class Journal:
    """The samples that were drawn already, in a file with a line each: an interrupted run continues from it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.samples: dict[str, Sample] = {}
        file.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes() if file.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a kill may leave a piece of a line
        if whole != content:
            file.write_bytes(whole)
        for line in whole.splitlines():
            row = json.loads(line)
            name = row.pop("name")
            self.samples[name] = Sample(**row)

    def add(self, name: str, sample: Sample) -> None:
        """Add a sample, unless it is there already: the first one counts."""
        if name in self.samples:
            return
        self.samples[name] = sample
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, **asdict(sample)}, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class _Wanted:
    """A text that is to be written: copy `copy` of a document, about some items."""

    text: Text
    copy: int
    prompt: str
    about: tuple[str, ...]


class Session:
    """Writes the texts of one stage.

    Args:
        writer: Draws samples.
        writing: What a method asks for.
        number: Texts for each document.
        seed: Seed of the samples.
        tries: How often a sample is drawn until it can be used.
        journal: The samples of an interrupted run.
        progress: Called with the texts that are done and all texts.
        clues: By id of a document, the words that {clues} shows.
        gold: Normalised questions of the tasks.
        shows_examples: Whether chat models get the prompts' examples, too.
    """

    def __init__(
        self,
        writer: Writes,
        writing: Writing,
        number: int,
        seed: int,
        tries: int,
        journal: Journal,
        progress: Progress = lambda *steps: None,
        clues: Mapping[str, str] | None = None,
        gold: Collection[str] = (),
        shows_examples: bool = False,
    ) -> None:
        self._shows_examples = shows_examples
        self._writer, self._writing, self._number, self._seed, self._tries = writer, writing, number, seed, tries
        self._journal, self._progress = journal, progress
        self._clues, self._gold = clues or {}, gold
        self._prompts = writing.contents()
        self._examples = names_of_examples(list(self._prompts.values()))
        self._labels = dict(zip(writing.prompts, writing.labels(), strict=True))
        self.report = Report()

    def write(self, texts: Sequence[Text]) -> list[WrittenText]:
        """The texts, ordered by document and copy. `report` counts what was drawn and left out."""
        items = self._items(texts) if self._writing.items else {}
        wanted = list(self._wanted(texts, items))
        accepted: dict[tuple[str, int], WrittenText] = {}

        def use(sample: Sample, want: _Wanted, attempt: int, request: Request) -> str | None:
            content, problem = self._read(sample, request, want.text)
            if content is not None:
                accepted[want.text.id, want.copy] = WrittenText(
                    want.text.id, want.copy, content, self._labels[want.prompt], want.about, attempt,
                    sample.prompt_tokens, sample.tokens, sample.ended,
                )  # fmt: skip
            return problem

        self._draw(wanted, self._request, use, lambda: len(accepted), len(wanted))
        written = [
            accepted[text.id, copy]
            for text in texts
            for copy in range(1, self._number + 1)
            if (text.id, copy) in accepted
        ]
        self.report.texts = len(written)
        return written

    def _items(self, texts: Sequence[Text]) -> dict[str, list[str]]:
        """The items of each document; a document without enough of them is left out and counted."""
        items: dict[str, list[str]] = {}
        least = 2 if self._writing.pairs else 1

        def use(sample: Sample, text: Text, attempt: int, request: Request) -> str | None:
            if problem := refused_or_copied(sample.text, request.instruction, text.text):
                return problem
            listed = read_items(sample.text, sample.ended)
            if len(listed) < least:
                return "unreadable"
            items[text.id] = listed
            return None

        def request(text: Text, attempt: int) -> Request:
            drawn = self._named(f"items:{text.id}:{attempt}", str(self._writing.items), text, {})
            return replace(drawn, name=f"{text.id}:items:{attempt}")  # no text of a document called "items" has it

        self._draw(list(texts), request, use, lambda: 0, len(texts) * self._number)
        self.report.left_out.clear()
        missing = sum(text.id not in items for text in texts)
        if missing:
            self.report.left_out["items"] = missing * self._number
        return items

    def _wanted(self, texts: Sequence[Text], items: Mapping[str, list[str]]) -> Iterator[_Wanted]:
        prompts = self._writing.prompts
        for text in texts:
            if self._writing.items and text.id not in items:
                continue
            about = self._about(text, items.get(text.id, []))
            for copy in range(1, self._number + 1):
                yield _Wanted(text, copy, prompts[(copy - 1) % len(prompts)], about[(copy - 1) % len(about)])

    def _about(self, text: Text, items: Sequence[str]) -> list[tuple[str, ...]]:
        """What the samples of a document are about, in turn: items or pairs of items in random order."""
        if not items:
            return [()]
        choices: list[tuple[str, ...]] = list(itertools.combinations(items, 2 if self._writing.pairs else 1))
        random.Random(seed_of(self._seed, "about", text.id)).shuffle(choices)
        return choices

    def _request(self, want: _Wanted, attempt: int) -> Request:
        names = dict(zip(("item", "other"), want.about, strict=False))
        return self._named(f"{want.text.id}:{want.copy}:{attempt}", want.prompt, want.text, names)

    def _named(self, name: str, prompt: str, text: Text, values: Mapping[str, str]) -> Request:
        content = hashlib.sha256(text.text.encode()).hexdigest()
        filled = {**values, "document": text.text, "clues": self._clues.get(text.id, "")}
        return Request(name, self._prompts[prompt], filled, seed_of(self._seed, content, name), self._shows_examples)

    def _read(self, sample: Sample, request: Request, text: Text) -> tuple[str | None, str | None]:
        """The text in an answer, or why it cannot be used."""
        if self._writing.form == "text":
            problem = problem_of(sample.text, sample.ended, request.instruction, text.text)
            return (None, problem) if problem else (sample.text, None)
        if problem := refused_or_copied(sample.text, request.instruction, text.text):
            return None, problem
        pairs = read_questions(sample.text, sample.ended)
        if not pairs:
            return None, "unreadable" if sample.text else "empty"
        if request.shows_examples and all(about_examples(*pair, text.text, self._examples) for pair in pairs):
            return None, "copied"
        kept = without_gold(pairs, self._gold)
        self.report.gold_questions += len(pairs) - len(kept)
        return (questions_as_text(kept), None) if kept else (None, "gold")

    def _draw(
        self,
        wanted: Sequence[_W],
        request_for: Callable[[_W, int], Request],
        use: Callable[[Sample, _W, int, Request], str | None],
        done: Callable[[], int],
        total: int,
    ) -> None:
        """Draw a sample for each of `wanted`, and again for those that `use` names a problem of.

        Samples are read in the order of `wanted`, not in that in which they arrive, so that the result is the same.
        """
        pending = list(wanted)
        for attempt in range(1, self._tries + 1):
            requests = [request_for(want, attempt) for want in pending]
            drawn = self._writer.write(requests, dict(self._journal.samples))
            for arrived, (request, sample) in enumerate(drawn, start=1):
                self._journal.add(request.name, sample)
                self._progress(min(done() + arrived, total), total)
            again: list[_W] = []
            problems: Counter[str] = Counter()
            for want, request in zip(pending, requests, strict=True):
                sample = self._journal.samples[request.name]
                self.report.samples += 1
                self.report.prompt_tokens += sample.prompt_tokens
                self.report.tokens += sample.tokens
                read = replace(sample, text=without_thoughts(sample.text))
                if problem := use(read, want, attempt, request):
                    again.append(want)
                    problems[problem] += 1
            pending = again
            if not pending:
                return
            (self.report.left_out if attempt == self._tries else self.report.drawn_again).update(problems)


def gold_questions(questions: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The questions that tasks ask of all documents, as `compared_with_gold` gives them."""
    return frozenset(compared_with_gold(question) for of_text in questions.values() for question in of_text)
