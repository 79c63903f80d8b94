"""Token views, against hand-made scores, Equation 1 and the texts that `augment` makes; and the command."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import app as cli
from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores
from benchmark.data.token_views import TokenView, read_views
from benchmark.inspection import token_view
from benchmark.inspection.token_view import ScoredPair, make_views
from benchmark.methods import augment, make_method
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.contrast import contrast
from benchmark.scoring.scores import score_texts
from tests.tiny import make_tiny_model

TEXT = Text("a", "Ana Lee was born in Oslo, Norway. She left.")
LARGE = [(0, 3, 0.9), (3, 7, 0.5), (7, 11, 0.2), (11, 16, 0.7), (16, 19, 0.1), (19, 24, 0.3), (24, 25, 0.05)]
LARGE += [(25, 32, 0.6), (32, 33, 0.4), (33, 37, 0.0), (37, 42, 0.15), (42, 43, 0.25)]
SMALL = [(0, 7, 0.4), (7, 16, 0.3), (16, 24, 0.2), (24, 25, 0.2), (25, 32, 0.2), (32, 43, 0.1)]  # cut otherwise
PAIR = ScoredPair("p", ("big", ModelSpec(model="big")), ("little", ModelSpec(model="little")), prefix="Text: ")


def scores(rows: list[tuple[int, int, float]]) -> TokenScores:
    starts, ends, values = (list(column) for column in zip(*rows, strict=True))
    return TokenScores("a", [TEXT.text[s:e] for s, e, _ in rows], starts, ends, values)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand-made scores in place of models."""

    def hand_made(pair: ScoredPair, spec: ModelSpec, *rest: Any) -> list[TokenScores]:
        return [scores(LARGE if spec.model == "big" else SMALL)]

    monkeypatch.setattr(token_view, "_scores", hand_made)
    monkeypatch.setattr(token_view, "_tokens", lambda pair, texts: [scores([(s, e, 0.0) for s, e, _ in LARGE])])


@pytest.mark.usefixtures("by_hand")
def test_small_scores_are_carried_over_by_characters_and_keep_is_one_minus_equation_1() -> None:
    (view,) = make_views([TEXT], PAIR, make_method("contrastive_dropout", {"alpha": 0.6, "beta": 0.1}))
    small = [0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1]
    difference = [large - off for (_, _, large), off in zip(LARGE, small, strict=True)]
    assert [token.small for token in view.tokens] == pytest.approx(small)
    assert [token.difference for token in view.tokens] == pytest.approx(difference)
    order = sorted(range(12), key=lambda place: -round(difference[place], 9))
    for rank, place in enumerate(order):
        token = view.tokens[place]
        kept = view.text[token.start : token.end] in (",", ".")
        expected = 1 if kept else 1 - 0.6 * (1 - math.exp(-0.1 * rank))
        assert token.keep == pytest.approx(expected, abs=1e-6), place
    assert (view.large, view.small, view.prefix) == ("big", "little", "Text: ")


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("name", ["contrastive_dropout", "random_dropout", "attention_dropout", "released_difference"])
def test_copies_are_those_of_augment_and_hold_the_tokens_they_keep(name: str) -> None:
    method = make_method(name, {"alpha": 0.8, "dropped": "blank"})
    (view,) = make_views([TEXT], PAIR, method, copies=6, seed=5)
    tokens = {"attention_dropout": scores(LARGE), "random_dropout": scores(LARGE)}
    seen = tokens.get(name) or contrast([scores(LARGE)], [scores(SMALL)])[0]
    made = [copy.text for copy in augment(method, [TEXT], [seen], 6, 5) if copy.copy > 0]
    assert [copy.text for copy in view.copies] == made
    dropped = 0
    for copy in view.copies:
        assert copy.kept
        for token, kept in zip(view.tokens, copy.kept, strict=True):
            original = TEXT.text[token.start : token.end]
            assert copy.text[token.start : token.end] == (original if kept else " " * len(original))
            dropped += not kept
    assert dropped > 6


@pytest.mark.usefixtures("by_hand")
def test_a_copy_that_would_be_empty_keeps_one_token() -> None:
    method = make_method("random_dropout", {"alpha": 1, "keep_punctuation": False})
    (view,) = make_views([TEXT], PAIR, method, copies=1)
    (copy,) = view.copies
    assert copy.kept
    assert [number for number, kept in enumerate(copy.kept) if kept] == [0]
    assert copy.text == "Ana"


@pytest.mark.usefixtures("by_hand")
def test_copies_of_a_method_that_drops_no_tokens_have_no_gaps() -> None:
    (view,) = make_views([TEXT], PAIR, make_method("sentence_shuffle", {}), copies=2)
    assert {token.keep for token in view.tokens} == {None}
    assert [copy.kept for copy in view.copies] == [None, None]
    assert sorted(view.copies[0].text) == sorted(TEXT.text)


@pytest.mark.usefixtures("by_hand")
def test_a_single_model_shows_its_scores_and_no_difference() -> None:
    alone = ScoredPair("big", PAIR.large, None)
    (view,) = make_views([TEXT], alone, make_method("attention_dropout", {}), copies=1)
    assert [token.large for token in view.tokens] == [score for _, _, score in LARGE]
    assert {(token.small, token.difference) for token in view.tokens} == {(None, None)}
    with pytest.raises(UserError, match="--small"):
        make_views([TEXT], alone, make_method("contrastive_dropout", {}), copies=1)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark", "show", "tokens", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(str(end.code or 0))
    return 0


def test_the_command_shows_the_scores_of_both_models(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    texts = tmp_path / "in.jsonl"
    texts.write_text('{"id": "x", "text": "Ana was born in Oslo."}\n{"id": "y", "text": "She left."}\n')
    common = ("--texts", str(texts), "--large", str(tiny), "--small", str(other), "--device", "cpu")
    assert _run(monkeypatch, *common, "--id", "x", "--prefix", "So: ", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    text = Text("x", "Ana was born in Oslo.")
    for role, folder in (("large", tiny), ("small", other)):
        spec = ModelSpec(model=str(folder))
        (scored,) = score_texts(load_model(spec, "cpu"), tokenizer_of(spec), [text], prefix="So: ")
        assert [token[role] for token in shown["tokens"]] == pytest.approx(scored.score, rel=1e-4)
        assert [token["start"] for token in shown["tokens"]] == scored.start
    assert _run(monkeypatch, *common, "--out", str(tmp_path / "views.json")) == 0
    assert [view.id for view in read_views(tmp_path / "views.json")] == ["x", "y"]
    assert "2 texts" in capsys.readouterr().out
    (tmp_path / "views").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _run(monkeypatch, *common[:2], "--large", str(tiny), "--method", "plain", "--out", "views") == 0
    (file,) = (tmp_path / "views").iterdir()
    assert file.suffix == ".json"
    assert "/" not in file.stem
    assert TokenView.model_validate(shown).prefix == "So: "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "a"], "--large"),
        (["--large", "zoo:large"], "--text"),
        (["--text", "a", "--texts", "b", "--large", "zoo:large"], "one of the two"),
        (["--text", " ", "--large", "zoo:large"], "empty"),
        (["--text", "a", "--suite", "tiny", "--pair", "tini"], "did you mean 'tiny'"),
        (["--text", "a", "--suite", "tiny", "--large", "zoo:large"], "--large"),
        (["--suite", "tiny", "--id", "person-0000"], "person-00000"),
        (["--text", "a", "--pair", "tiny", "--large", "zoo:large"], "--suite"),
        (["--text", "a", "--large", "zoo:large"], "--small"),
        (
            ["--text", "a", "--large", "zoo:large", "--method", "rewrite"],
            "'rewrite': a language model writes",
        ),
        (["--text", "a", "--large", "zoo:large", "--out", "no/such/file.json"], "no/such"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
