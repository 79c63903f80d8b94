"""The measurement of training steps: the plain loop does the same work as training."""

import json
from pathlib import Path

import pytest
import torch

from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.training.adaptation import trainable
from benchmark.training.checkpoints import Checkpoints, ResumeInfo
from benchmark.training.fit import fit
from benchmark.training.recipe import Recipe
from perf.training import PLAIN, main, plain_loop, with_adapter


def test_the_plain_loop_ends_with_the_weights_of_training(tmp_path: Path) -> None:
    spec, recipe = ModelSpec(model="zoo:small"), Recipe(batch_size=3)
    sequences = [[start, *range(5, 5 + length)] for start, length in ((1, 9), (2, 4), (3, 7), (4, 5), (5, 12), (6, 3))]
    base = load_model(spec, "cpu")
    torch.manual_seed(1)
    plain = with_adapter(base, recipe)
    plain_loop(plain, tokenizer_of(spec), sequences, recipe)()
    torch.manual_seed(1)
    ours = trainable(base, recipe, spec)
    checkpoints, params = Checkpoints(tmp_path, {}), {"device": "cpu", "seed": 1}
    fit(ours, sequences, ResumeInfo(3), recipe, params, checkpoints, lambda *steps: None)
    trained = {name: weight for name, weight in plain.named_parameters() if "lora_" in name}
    assert any(bool(weight.any()) for name, weight in trained.items() if "lora_B" in name), "it has learned something"
    for name, weight in ours.named_parameters():
        if "lora_" in name:
            torch.testing.assert_close(weight, trained[name], rtol=1e-3, atol=2e-5)


def test_a_second_table_has_the_ratio_of_a_step_to_that_of_the_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo:small", "--steps", "2", "--batch", "2", "--rounds", "2", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["measured"]
    assert set(first["ways"]) == {"training", "forward and backward pass", PLAIN}
    assert second["to"] == PLAIN and set(second["ways"]) == {"training", PLAIN}
    training, plain = (second["ways"][way]["seconds"] for way in ("training", PLAIN))
    ratios = [mine / other for mine, other in zip(training, plain, strict=True)]
    assert second["ways"]["training"]["ratio"] == pytest.approx(sum(ratios) / 2)
