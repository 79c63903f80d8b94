"""The numbers of Figures 2 and 3: kinds of tokens, and shares by rank, against counts by hand."""

from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.people import FIELDS, make_people, write_paragraph
from benchmark.data.texts import Text, TokenScores
from benchmark.inspection import attended
from benchmark.inspection.attended import KINDS, MarkedBiography, attended_kinds, biographies, ranked
from benchmark.inspection.token_view import ScoredPair
from benchmark.models.spec import ModelSpec
from benchmark.scoring.scores import QueryAttention
from benchmark.suite.schema import Suite
from leaderboard.figures.attended import attended_lines
from tests.tiny import tiny_suite

TEXT = "Ana Lee was born on May 1, 1990. She spent her years in St. Paul, USA. She left for Ana Lee Ltd."
WORDS = ["Ana", " Lee", " was", " born", " on", " May", " 1,", " 1990", ".", " She", " spent", " her", " years", " in"]
WORDS += [" St.", " Paul,", " USA", ".", " She", " left", " for", " Ana", " Lee", " Ltd", "."]
KINDS_AT_CITY = ["name"] * 2 + ["other", "earlier relation word", "other"] + ["birth_date"] * 3 + ["other"]
KINDS_AT_CITY += ["other", "relation word", "other", "relation word", "other"] + ["birth_city"] * 3 + ["other"]
KINDS_AT_CITY += ["other", "earlier relation word", "other", "company", "company", "company", "other"]


def span(words: str) -> tuple[int, int]:
    start = TEXT.rindex(words)
    return start, start + len(words)


ANA = MarkedBiography(
    Text("a", TEXT),
    ((0, 7),),
    {"birth_date": span("May 1, 1990"), "birth_city": span("St. Paul, USA"), "company": span("Ana Lee Ltd")},
)


def tokens(scores: list[float]) -> TokenScores:
    assert "".join(WORDS) == TEXT
    ends = [sum(map(len, WORDS[: number + 1])) for number in range(len(WORDS))]
    return TokenScores("a", WORDS, [0, *ends[:-1]], ends, scores)


def test_every_token_has_the_kind_that_a_reader_would_give_it() -> None:
    shown = tokens([0.0] * len(WORDS))
    spans = list(zip(shown.start, shown.end, strict=True))
    assert [ANA.kind(start, end, "birth_city") for start, end in spans] == KINDS_AT_CITY
    # Words before the birth date are its relation words; the full stop of "St." ends no sentence.
    assert ANA.kind(*spans[WORDS.index(" born")], "birth_date") == "relation word"
    assert ANA.kind(*spans[WORDS.index(" years")], "birth_date") == "earlier relation word"
    assert ANA.kind(*spans[WORDS.index(" left")], "company") == "relation word"
    # White space and punctuation are "other" inside names and facts, too.
    assert [ANA.kind(offset, offset + 1, "company") for offset in (3, 25, TEXT.index(",", 30))] == ["other"] * 3


def test_each_fact_of_the_shipped_wording_has_its_own_relation_word() -> None:
    (person,) = make_people(1, 3)
    biography = write_paragraph(person)
    facts = {field: biography.spans[field] for field in FIELDS}
    whole = MarkedBiography(Text("p", biography.text), (biography.spans["name"],), facts)
    relation_words = {}
    for field in FIELDS:
        words = [word for word in ("born", "grew", "studied", "majored", "worked") if word in biography.text]
        spans = [(biography.text.index(word), biography.text.index(word) + len(word)) for word in words]
        relation_words[field] = [
            w for w, at in zip(words, spans, strict=True) if whole.kind(*at, field) == "relation word"
        ]
    assert relation_words == dict(zip(FIELDS, [["born"], ["grew"], ["studied"], ["majored"], ["worked"]], strict=True))


def test_tokens_are_ranked_up_to_the_query_without_the_first_position() -> None:
    shown = tokens([0.9, 0.1, 0.3, 0.3, 0.2, 5.0] + [0.0] * 19)
    assert ranked(QueryAttention(shown, query=4, first=False)) == [0, 2, 3, 4, 1]
    assert ranked(QueryAttention(shown, query=4, first=True)) == [2, 3, 4, 1]


def test_shares_are_counted_over_people_and_the_difference_ranks_the_same_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look(*scores: float) -> QueryAttention:
        return QueryAttention(tokens([*scores] + [0.0] * (len(WORDS) - len(scores))), query=4, first=False)

    # Four people, of whom three have looks for the birth date only; name, name, other, relation word, other.
    large = [look(5, 4, 3, 2, 1), look(1, 2, 3, 5, 4), look(5, 4, 1, 3, 2), None]
    small = [look(5, 0, 0, 0, 0), look(0, 0, 0, 9, 0), look(0, 0, 0, 0, 0), None]
    looks = iter([[[first, None, None] for first in model_looks] for model_looks in (large, small)])
    monkeypatch.setattr(attended, "_looks", lambda *_: next(looks))
    pair = ScoredPair("p", ("big", ModelSpec(model="big")), ("little", ModelSpec(model="little")))
    figures = attended_kinds([ANA] * 4, pair, lambda line: None)
    second, third = (
        [line for counts in figure for line in attended_lines(counts.pair, counts.of, counts.kinds, KINDS)]
        for figure in figures
    )

    def share(lines: list[dict[str, Any]], of: str, rank: int) -> dict[str, Any]:
        return {
            line["kind"]: pytest.approx(line["share"]) for line in lines if (line["of"], line["rank"]) == (of, rank)
        }

    assert share(second, "big", 1) == {"name": 2 / 3, "relation word": 1 / 3}
    assert share(second, "big", 2) == {"name": 2 / 3, "other": 1 / 3}
    assert share(second, "big", 3) == {"other": 2 / 3, "relation word": 1 / 3}
    # Large minus small: 0 4 3 2 1, then 1 2 3 −4 4, then 5 4 1 3 2.
    assert share(third, "big − little", 1) == {"name": 2 / 3, "other": 1 / 3}
    assert share(third, "big − little", 2) == {"other": 2 / 3, "name": 1 / 3}
    assert share(third, "big − little", 5) == {"name": 1 / 3, "relation word": 1 / 3, "other": 1 / 3}
    assert {line["people"] for line in (*second, *third)} == {3}
    assert {line["fact"] for line in (*second, *third)} == {"birth_date"}
    for line in second:
        assert line["ci_low"] <= line["share"] <= line["ci_high"]


def test_the_people_of_the_suite_are_used_and_a_suite_without_people_is_refused(tiny: Any) -> None:
    suite = tiny_suite(tiny)
    people = biographies(suite)
    assert len(people) == 4
    assert all(person.text.text[slice(*person.facts["major"])][0].isupper() for person in people)
    other = Suite.model_validate(
        {
            "name": "other",
            "models": {"tiny": str(tiny)},
            "tasks": ["wikipedia_mini"],
            "train": ["tiny"],
            "methods": ["plain"],
            "budgets": [{"steps": 1}],
        }
    )
    with pytest.raises(UserError, match="biography"):
        biographies(other)
