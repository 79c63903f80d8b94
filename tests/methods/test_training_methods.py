"""Methods that change training or scoring: their settings, and the values on their texts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores, read_augmented
from benchmark.methods import METHODS, augment, make_method
from benchmark.methods.base import Practice, Training
from benchmark.stages import run_stage
from benchmark.store.artifacts import Store
from tests.tiny import make_tiny_model, tiny_suite

FOUR = Text("t", "One two, three")
SCORES = TokenScores("t", ["One", " two", ",", " three"], [0, 3, 7, 8], [3, 7, 8, 14], [0.5, 2.0, -1.0, 1.0])
CHANGING = ["contrastive_loss", "forgetful_masking", "input_noise", "neftune", "practice_questions", "selective_loss"]
COPYING = ["random_masking", "attention_masking", "contrastive_masking", "masked_reconstruction"]


@pytest.mark.parametrize(
    ("name", "parameters", "training"),
    [
        ("neftune", {}, Training(embedding_noise=5)),
        ("neftune", {"noise_alpha": 15}, Training(embedding_noise=15)),
        ("input_noise", {}, Training(replaced=(0.2, 0.2), replacement="random")),
        ("input_noise", {"share": 0.4}, Training(replaced=(0.4, 0.4), replacement="random")),
        ("forgetful_masking", {}, Training(replaced=(0, 0.15), replacement="mask")),
        ("forgetful_masking", {"low": 0.2, "high": 0.2}, Training(replaced=(0.2, 0.2), replacement="mask")),
        ("selective_loss", {}, Training(loss="selected", selected=0.6)),
        ("selective_loss", {"share": 0.3}, Training(loss="selected", selected=0.3)),
        ("contrastive_loss", {}, Training(loss="weighted")),
        ("contrastive_blend", {"low": 0.5}, Training()),
        ("masked_reconstruction", {}, Training(loss="weighted")),
        ("practice_questions", {}, Training(practice=Practice(source="questions", share=0.3, order="mixed"))),
        (
            "practice_questions",
            {"share": 0.5, "order": "first"},
            Training(practice=Practice(source="questions", share=0.5, order="first")),
        ),
        ("random_masking", {}, Training(hidden=True)),
        ("attention_masking", {}, Training(hidden=True)),
        ("contrastive_masking", {"unit": "word"}, Training(hidden=True)),
    ],
)
def test_methods_change_training_as_they_say(name: str, parameters: Mapping[str, object], training: Training) -> None:
    assert make_method(name, parameters).training() == training


@pytest.mark.parametrize("name", CHANGING)
def test_methods_that_change_training_train_on_the_originals_for_the_matched_steps(name: str) -> None:
    assert METHODS[name].originals and not METHODS[name].makes_copies and METHODS[name].matched
    (row,) = augment(make_method(name, {}), [FOUR], [SCORES], 5, seed=1)
    assert (row.id, row.copy, row.text) == ("t", 0, FOUR.text)
    assert bool(row.values) == (name in ("contrastive_loss", "selective_loss"))


def test_the_values_of_selective_loss_are_the_reference_losses() -> None:
    method = make_method("selective_loss", {})
    assert (method.needs, method.reduction) == ("large", "loss")
    assert method.values(FOUR, SCORES) == ((0, 3, 0.5), (3, 7, 2.0), (7, 8, -1.0), (8, 14, 1.0))


def test_the_weights_of_contrastive_loss_are_the_probabilities_that_dropout_keeps_a_token() -> None:
    """Ranks 2, 0, 3, 1; with α .5 and β ln 2, 1 − p(r) = 1 − .5 (1 − 2^−r) = 1, .75, .625, .5625; mean .734375."""
    method = make_method("contrastive_loss", {"alpha": 0.5, "beta": 0.6931471805599453})
    values = method.values(FOUR, SCORES)
    assert [(start, end) for start, end, _ in values] == [(0, 3), (3, 7), (7, 8), (8, 14)]
    expected = [0.625 / 0.734375, 1 / 0.734375, 0.5625 / 0.734375, 0.75 / 0.734375]
    assert [value for _, _, value in values] == pytest.approx(expected)


def test_the_weights_of_contrastive_loss_do_not_change_with_the_scale_of_the_scores() -> None:
    method = make_method("contrastive_loss", {})
    scaled = TokenScores("t", SCORES.token, SCORES.start, SCORES.end, [7 + 1000 * score for score in SCORES.score])
    assert method.values(FOUR, scaled) == method.values(FOUR, SCORES)
    assert {value for _, _, value in make_method("contrastive_loss", {"alpha": 0}).values(FOUR, SCORES)} == {1.0}


def test_contrastive_blend_uses_the_given_heads_or_else_the_layers() -> None:
    method = make_method("contrastive_blend", {"low": 0.5, "small_heads": "L10H3 L2H0"})
    assert method.attention("large") == AttentionPart(depth=(0.5, 1.0))
    assert method.attention("small") == AttentionPart(heads=((2, 0), (10, 3)))
    assert make_method("contrastive_blend", {}).attention("large") == AttentionPart(depth=(0.5, 1.0))
    assert make_method("contrastive_blend", {"low": 0.0}).attention("large") == AttentionPart()
    named = make_method("contrastive_blend", {"large_heads": "L0H0", "small_heads": "L0H1"})
    assert make_method("contrastive_blend", named.model_dump(mode="json")) == named


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("neftune", {"noise_alpha": 0}, "noise_alpha: "),
        ("neftune", {"noise_alpha": True}, "noise_alpha: "),
        ("input_noise", {"share": 1.1}, "share: "),
        ("forgetful_masking", {"low": 0.2}, "low must not be above high"),
        ("forgetful_masking", {"high": -0.1}, "high: "),
        ("masked_reconstruction", {"low": 0.6, "high": 0.5}, "low must not be above high"),
        ("practice_questions", {"share": 0}, "share: "),
        ("practice_questions", {"share": 1}, "share: "),
        ("practice_questions", {"order": "last"}, "order: "),
        ("practice_questions", {"source": ""}, "source: "),
        ("selective_loss", {"share": "most"}, "share: "),
        ("contrastive_blend", {"low": 0.6, "high": 0.5}, "low must not be above high"),
        ("contrastive_blend", {"large_heads": 3.1}, "large_heads: "),
        ("contrastive_blend", {"large_heads": "L3"}, "large_heads: "),
        ("contrastive_blend", {"large_heads": "L3H1  L3H2"}, "large_heads: "),
        ("contrastive_blend", {"large_heads": "L0H0", "small_heads": "L0H0", "low": 0.4}, "no effect"),
    ],
)
def test_contradictory_parameters_give_a_one_line_error(name: str, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"^method '{name}': .*{says}") as error:
        make_method(name, parameters)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_every_method_runs_from_suite_to_trained_model(tiny: Path, tmp_path: Path) -> None:
    from benchmark.suite.plan import make_plan

    other = make_tiny_model(tmp_path / "other", seed=1)
    blends: list[dict[str, Any]] = [
        {"name": "contrastive_blend", "low": [0.0, 0.5]},
        {"name": "contrastive_blend", "large_heads": "L1H2"},
    ]
    # The reference model of selective_loss is the large one, which must be another than the trained one.
    entries: list[dict[str, Any]] = [*({"name": name} for name in (*CHANGING, *COPYING)), *blends]
    methods = [
        {**entry, "pairs": ["back" if entry["name"] == "selective_loss" else "two"]}
        if METHODS[entry["name"]]().uses_pair
        else entry
        for entry in entries
    ]
    suite = tiny_suite(
        tiny,
        models={"tiny": str(tiny), "other": str(other)},
        pairs={"two": {"large": "tiny", "small": "other"}, "back": {"large": "other", "small": "tiny"}},
        methods=["plain_matched", *methods],
    )
    store, weights = Store(tmp_path / "store"), {}
    for cell in make_plan(suite).cells:
        call = cell.stages["train"]
        run_stage(store, call, lambda *steps: None)
        weights[cell.method.label] = (store.path(call) / "model" / "model.safetensors").read_bytes()
        rows = read_augmented(store.path(cell.stages["augment"]) / "augmented.jsonl")
        valued = ("contrastive_loss", "selective_loss", "masked_reconstruction")
        assert any(row.values for row in rows) == (cell.method.name in valued)
        assert any(row.hidden for row in rows) == (cell.method.name in COPYING[:3])
    assert len(weights) == len(set(weights.values())) == 14
