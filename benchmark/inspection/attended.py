"""Figures 2 and 3: what the tokens are that models attend to most at the word before a fact."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.core.errors import UserError
from benchmark.data.people import FIELDS
from benchmark.data.texts import Text
from benchmark.inspection.token_view import ScoredPair
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.scoring.contrast import contrast
from benchmark.scoring.scores import QueryAttention, attention_before
from benchmark.suite.schema import Suite

RANKS = 10
RELATION, EARLIER, OTHER = "relation word", "earlier relation word", "other"
KINDS = ("name", RELATION, EARLIER, *FIELDS, OTHER)

Span = tuple[int, int]


@dataclass(frozen=True)
class Told:
    """A biography whose parts are known: `facts` by field and `names`, every mention, as [start, end) characters."""

    text: Text
    names: tuple[Span, ...]
    facts: dict[str, Span]

    def kind(self, start: int, end: int, field: str) -> str:
        """What a token is to the fact of `field`, one of KINDS.

        A token without a letter or digit is other, wherever it stands: white space and full stops draw much attention,
        whatever they are part of. What touches a mention of the name is name, what touches a fact is that field. A
        relation word is any other word with letters that is no function word (benchmark/methods/function_words.py),
        such as "born" or "studied"; it belongs to the fact in whose sentence it stands, and is an earlier one if that
        is not the fact in question. The rest is other, too: pronouns, prepositions.
        """
        if not any(map(str.isalnum, self.text.text[start:end])):
            return OTHER
        if any(start < last and first < end for first, last in self.names):
            return "name"
        for other, (first, last) in self.facts.items():
            if start < last and first < end:
                return other
        for word in re.finditer(r"[^\W\d_]+", self.text.text):
            touches = start < word.end() and word.start() < end
            if touches and word[0].lower() not in FUNCTION_WORDS:
                return RELATION if self._sentence(word.start()) == self._sentence(self.facts[field][0]) else EARLIER
        return OTHER

    def _sentence(self, place: int) -> int:
        """Number of the sentence that a character stands in; full stops inside of names and facts end none."""
        wholes = (*self.names, *self.facts.values())
        stops = [
            stop.start()
            for stop in re.finditer(r"\.(?=\s|$)", self.text.text)
            if not any(first <= stop.start() < last for first, last in wholes)
        ]
        return bisect_right(stops, place)


def biographies(suite: Suite | None) -> list[Told]:
    """The people of the suite's first biography task; without a suite those that ship.

    Raises UserError if the suite has no such task, since in other texts nobody knows what name, relation and facts are.
    """
    from benchmark.corpora import make_task
    from benchmark.corpora.biography import Biography, mentions_of
    from benchmark.tasks.biography import biography

    task = make_task({"name": "biography"})
    if suite is not None:
        found = [one for one in suite.tasks if isinstance(one, Biography)]
        if not found:
            raise UserError(
                f"suite {suite.name!r}: tasks: Figures 2 and 3 need the biography task; add it or leave out 2 3"
            )
        task = found[0]
    texts = {text.id: text for text in task.load().texts}
    people = biography.read_people(getattr(task, "path", None))
    return [
        Told(
            texts[person["id"]],
            tuple(mentions_of(person)),
            {field: person["spans"][field] for field in biography.FIELDS},
        )
        for person in people
        if person["id"] in texts
    ]


@dataclass(frozen=True)
class Attended:
    """What kinds of token one model, or a difference of two, attends to: `kinds` has a list by fact and rank.

    `of` names the model or the difference. A list has an entry, one of KINDS, for every person with a token of that
    rank.
    """

    pair: str
    of: str
    kinds: dict[tuple[str, int], list[str]]


def attended(
    people: Sequence[Told], pair: ScoredPair, say: Callable[[str], None]
) -> tuple[list[Attended], list[Attended]]:
    """What Figure 2 shows, for each model of a pair, and Figure 3, for the large one minus the small one.

    A token's rank is by the attention that the last token before the fact pays it, 1 the highest; of equal ones the
    earlier comes first. The model's first position takes no part, since it draws attention whatever stands there.
    """
    second, looks = [], []
    ends = [pair.large, pair.small] if pair.small else [pair.large]
    for name, spec in ends:
        say(f"{pair.name}: {name} reads {len(people)} biographies")
        looks.append(_looks(people, pair, spec))
        second.append(Attended(pair.name, name, _kinds(people, looks[-1])))
    third = []
    if pair.small:
        of = f"{pair.large[0]} − {pair.small[0]}"
        between = [_between(large, small) for large, small in zip(*looks, strict=True)]
        third = [Attended(pair.name, of, _kinds(people, between))]
    return second, third


def _looks(people: Sequence[Told], pair: ScoredPair, spec: Any) -> list[list[QueryAttention | None]]:
    from benchmark.models.loading import load_model, tokenizer_of

    places = [[told.facts[field][0] for field in told.facts] for told in people]
    model = load_model(spec, pair.device)
    return attention_before(model, tokenizer_of(spec), [told.text for told in people], places, pair.prefix)


def _between(large: list[QueryAttention | None], small: list[QueryAttention | None]) -> list[QueryAttention | None]:
    """The large model's looks with the small one's taken off, on the large one's tokens."""
    return [
        QueryAttention(contrast([one.tokens], [other.tokens])[0], one.query, one.first) if one and other else None
        for one, other in zip(large, small, strict=True)
    ]


def ranked(look: QueryAttention) -> list[int]:
    """Numbers of the tokens up to the query, the one attended to most first, without the model's first position."""
    there = range(1 if look.first else 0, look.query + 1)
    return sorted(there, key=lambda number: -look.tokens.score[number])


def _kinds(people: Sequence[Told], looks: Iterable[list[QueryAttention | None]]) -> dict[tuple[str, int], list[str]]:
    kinds: dict[tuple[str, int], list[str]] = {}
    for told, some in zip(people, looks, strict=True):
        for field, look in zip(told.facts, some, strict=True):
            for rank, number in enumerate(ranked(look)[:RANKS] if look else [], start=1):
                span = look.tokens.start[number], look.tokens.end[number]  # type: ignore[union-attr]
                kinds.setdefault((field, rank), []).append(told.kind(*span, field))
    return dict(sorted(kinds.items(), key=lambda item: (FIELDS.index(item[0][0]), item[0][1])))
