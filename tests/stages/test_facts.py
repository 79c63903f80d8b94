"""The facts stage: facts that copies keep, counted by hand."""

from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.corpora.base import Facts
from benchmark.data.texts import AugmentedText, Text
from benchmark.stages.facts import count_facts, invented_share

ADA = Text("ada", "Ada Moss was born in Lagos. She studied Law in 1999.")
DOOR = Text("door", "The door is green.")
FACTS = {
    "ada": Facts("Ada Moss", [["Lagos"], ["Law", "the law"], ["1998"]]),  # the text does not contain the last one
    "door": Facts("", [["green"]]),
}


def words(texts: list[str], **_: object) -> dict[str, list[list[str]]]:
    """Stands in for a tokenizer: a token is a word."""
    return {"input_ids": [text.split() for text in texts]}


def count(*copies: tuple[str, str]) -> dict[str, Any]:
    made = [AugmentedText(name, number + 1, text) for number, (name, text) in enumerate(copies)]
    return count_facts([ADA, DOOR], made, FACTS, words)


def test_facts_are_those_counted_by_hand() -> None:
    counts = count(
        ("ada", "Ada Moss was born in Lagos. She studied Law in 1999."),  # 2 of 2, with the name
        ("ada", "Moss was born Lagos. studied the Law"),  # 2 of 2, without the name; 7 words of 11
        ("ada", "Ada Moss Lag. Lawful"),  # none: a longer or shorter word does not count
        ("door", "The is green."),  # 1 of 1, and there is no name to lose; 3 words of 4
    )
    assert counts == {
        "copies": 4,
        "facts": 2 + 2 + 2 + 1,
        "answer": pytest.approx(5 / 7, abs=1e-6),
        "answer_and_name": pytest.approx(2 / 6, abs=1e-6),
        "tokens": pytest.approx((11 + 7 + 4 + 3) / (3 * 11 + 4) - 1, abs=1e-6),
    }


def test_shares_are_none_where_there_is_nothing_to_count() -> None:
    assert count() == {"copies": 0, "facts": 0, "answer": None, "answer_and_name": None, "tokens": None}
    assert count(("door", "The"))["answer_and_name"] is None


def test_a_piece_of_a_split_text_counts_only_the_facts_in_it() -> None:
    pieces = [Text("ada/0", "Ada Moss was born in Lagos."), Text("ada/1", "She studied Law in 1999.")]
    copies = [AugmentedText("ada/0", 1, "Ada Moss was in Lagos."), AugmentedText("ada/1", 1, "She in 1999.")]
    counts = count_facts(pieces, copies, FACTS, words)
    assert (counts["facts"], counts["answer"], counts["answer_and_name"]) == (2, 0.5, 0.5)


def test_the_command_reports_facts_of_texts_with_entities(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = (
        '{"id": "a", "text": "Ada Moss was born in Lagos. Ada Moss studied Law.", "subject": "Ada Moss", '
        '"entities": [[0, 8], [21, 26], [28, 36], [45, 48]]}\n'
    )
    (tmp_path / "in.jsonl").write_text(line)

    def printed(*more: str) -> str:
        done = CliRunner().invoke(app, ["augment", *more, "--texts", "in.jsonl", "--out", "out.jsonl", "--report"])
        assert done.exit_code == 0, done.output
        return done.output.splitlines()[1]

    nothing = ["random_dropout", "--large", "zoo:small", "--copies", "3", "--set", "alpha=0"]
    assert (
        printed(*nothing) == "3 copies, tokens +0.0%; 100.0% of 6 facts whole; 100.0% whole beside the subject's name"
    )
    everything = ["random_dropout", "--large", "zoo:small", "--copies", "3", "--set", "alpha=1"]
    assert "; 0.0% of 6 facts whole; 0.0% whole beside" in printed(*everything)
    assert printed("plain") == "no copies: this method changes no text"
    assert printed("aeda", "--copies", "2").startswith("2 copies, words +")
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "Ada Moss was born in Lagos."}\n')
    assert printed("aeda").endswith('; no facts counted: no text has "entities"')


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Ada Moss moved to Paris in 1999.", 1 / 3),  # Moss, Paris, 1999; Ada begins the sentence
        ("Question: Where was Ada Moss's mother born?\nAnswer: Lagos", 0 / 3),
        ("Question: Where was Ada Moss’ mother born?\nAnswer: Paris", 1 / 3),
        ("**Answer:** Paris", 1 / 1),
        ("- Place of birth: Paris", 1 / 1),
        ("A: Yes, she was born in Lagos.", 0 / 1),
        ("A: I'm in Lagos.", 0 / 1),
        ("1. Miss Moss studied.\n2) She did so in 1999.", 0 / 2),
        ("Dear [Name of the Friend],\nI met Ada Moss.", 0 / 2),
        ("Everything is green.", None),
    ],
)
def test_the_invented_share_is_the_one_counted_by_hand(text: str, share: float | None) -> None:
    found = invented_share([ADA], [AugmentedText("ada", 1, text)])
    assert found == (None if share is None else pytest.approx(share, abs=1e-6))
