"""Figures 2 and 3: which kinds of token get the most attention from the word before a fact."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmark.core.errors import UserError
from benchmark.data.people import FIELDS
from benchmark.data.texts import Text
from benchmark.inspection.token_view import ScoredPair
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.models.spec import ModelSpec
from benchmark.scoring.contrast import contrast
from benchmark.scoring.scores import QueryAttention, attention_before
from benchmark.suite.schema import Suite

RANKS = 10  # number of tokens that are counted for a fact
RELATION, EARLIER, OTHER = "relation word", "earlier relation word", "other"
KINDS = ("name", RELATION, EARLIER, *FIELDS, OTHER)

Span = tuple[int, int]  # [start, end) in characters


@dataclass(frozen=True)
class MarkedBiography:
    """A biography with the spans of its parts.

    Attributes:
        text: The biography.
        names: Every mention of the person's name.
        facts: The value of every field.
    """

    text: Text
    names: tuple[Span, ...]
    facts: dict[str, Span]

    def kind(self, start: int, end: int, field: str) -> str:
        """The kind of a token relative to the fact of `field`, one of KINDS.

        A token that overlaps a mention of the name is "name"; one that overlaps a fact is the field of that fact. A
        relation word is any other word that is not a function word (benchmark/methods/function_words.py), such as
        "born" or "studied": it belongs to the fact of its sentence, and is an earlier relation word if that is another
        fact. The rest is other. So is every token without a letter or digit, even inside a name or fact, since white
        space and full stops attract much attention anywhere.
        """
        if not any(map(str.isalnum, self.text.text[start:end])):
            return OTHER
        if any(start < last and first < end for first, last in self.names):
            return "name"
        for other, (first, last) in self.facts.items():
            if start < last and first < end:
                return other
        for word in re.finditer(r"[^\W\d_]+", self.text.text):
            overlaps = start < word.end() and word.start() < end
            if overlaps and word[0].lower() not in FUNCTION_WORDS:
                same = self._sentence(word.start()) == self._sentence(self.facts[field][0])
                return RELATION if same else EARLIER
        return OTHER

    def _sentence(self, position: int) -> int:
        """Number of the sentence at a character; full stops inside names and facts end no sentence."""
        marked = (*self.names, *self.facts.values())
        stops = [
            stop.start()
            for stop in re.finditer(r"\.(?=\s|$)", self.text.text)
            if not any(first <= stop.start() < last for first, last in marked)
        ]
        return bisect_right(stops, position)


def biographies(suite: Suite | None) -> list[MarkedBiography]:
    """The people of the suite's first biography task, or the shipped people if there is no suite.

    Raises UserError if the suite has no biography task: in other texts, names and facts are not marked.
    """
    from benchmark.corpora import make_task
    from benchmark.corpora.biography import Biography, mentions_of
    from benchmark.tasks.biography import biography

    task = make_task({"name": "biography"})
    if suite is not None:
        tasks = [entry for entry in suite.tasks if isinstance(entry, Biography)]
        if not tasks:
            raise UserError(
                f"suite {suite.name!r}: tasks: Figures 2 and 3 need the biography task; add it or leave out 2 3"
            )
        task = tasks[0]
    texts = {text.id: text for text in task.load().texts}
    people = biography.read_people(getattr(task, "path", None))
    return [
        MarkedBiography(
            texts[person["id"]],
            tuple(mentions_of(person)),
            {field: person["spans"][field] for field in biography.FIELDS},
        )
        for person in people
        if person["id"] in texts
    ]


@dataclass(frozen=True)
class AttendedKinds:
    """Which kinds of token one model attends to, or the large model more than the small one.

    Attributes:
        pair: Name of the pair.
        of: Name of the model, or of the difference.
        kinds: By fact and rank (1 is the highest attention), a list with one of KINDS for every person who has a token
            of that rank.
    """

    pair: str
    of: str
    kinds: dict[tuple[str, int], list[str]]


def attended_kinds(
    people: Sequence[MarkedBiography], pair: ScoredPair, report: Callable[[str], None]
) -> tuple[list[AttendedKinds], list[AttendedKinds]]:
    """The numbers of Figure 2, for each model of a pair, and of Figure 3, for the large model minus the small one.

    Tokens are ranked by the attention that they get from the last token before the fact; of equal ones the earlier
    comes first. The model's first position is left out, since it attracts attention whatever its token is.

    Args:
        people: The biographies.
        pair: The models. Without a small one, the second list is empty.
        report: Is called with a line of progress before each model reads.
    """
    figure_2, queries = [], []
    models = [pair.large, pair.small] if pair.small else [pair.large]
    for name, spec in models:
        report(f"{pair.name}: {name} reads {len(people)} biographies")
        queries.append(_looks(people, pair, spec))
        figure_2.append(AttendedKinds(pair.name, name, _kinds(people, queries[-1])))
    if not pair.small:
        return figure_2, []
    title = f"{pair.large[0]} − {pair.small[0]}"
    differences = [_between(large, small) for large, small in zip(*queries, strict=True)]
    return figure_2, [AttendedKinds(pair.name, title, _kinds(people, differences))]


def _looks(people: Sequence[MarkedBiography], pair: ScoredPair, spec: ModelSpec) -> list[list[QueryAttention | None]]:
    """For every person and fact, the attention of the last token before the fact."""
    from benchmark.models.loading import load_model, tokenizer_of

    positions = [[person.facts[field][0] for field in person.facts] for person in people]
    texts = [person.text for person in people]
    return attention_before(load_model(spec, pair.device), tokenizer_of(spec), texts, positions, pair.prefix)


def _between(large: list[QueryAttention | None], small: list[QueryAttention | None]) -> list[QueryAttention | None]:
    """The large model's attention minus the small one's, on the large one's tokens."""
    return [
        QueryAttention(contrast([mine.tokens], [other.tokens])[0], mine.query, mine.first) if mine and other else None
        for mine, other in zip(large, small, strict=True)
    ]


def ranked(look: QueryAttention) -> list[int]:
    """Numbers of the tokens up to the query by falling attention, without the model's first position."""
    candidates = range(1 if look.first else 0, look.query + 1)
    return sorted(candidates, key=lambda number: -look.tokens.score[number])


def _kinds(
    people: Sequence[MarkedBiography], looks: Iterable[list[QueryAttention | None]]
) -> dict[tuple[str, int], list[str]]:
    kinds: dict[tuple[str, int], list[str]] = {}
    for person, of_person in zip(people, looks, strict=True):
        for field, look in zip(person.facts, of_person, strict=True):
            if look is None:
                continue
            for rank, number in enumerate(ranked(look)[:RANKS], start=1):
                start, end = look.tokens.start[number], look.tokens.end[number]
                kinds.setdefault((field, rank), []).append(person.kind(start, end, field))
    return dict(sorted(kinds.items(), key=lambda item: (FIELDS.index(item[0][0]), item[0][1])))
