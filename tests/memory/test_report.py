"""`benchmark plan --memory`: its output, and the input that it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from benchmark import ROOT
from benchmark.cli.app import app
from benchmark.cli.plan import print_memory
from benchmark.core.errors import UserError
from benchmark.memory.report import GPUS, memory_report, sizes_of
from benchmark.suite.schema import Suite, find_suite, load_suite
from tests.memory.conftest import Written
from tests.memory.shapes import LLAMA_3_8B, LLAMA_3_70B


def _suite(large: Path, small: Path, **changes: Any) -> Suite:
    how = {"dtype": "bfloat16", "quantization": "8bit"}
    content = {
        "name": "trial",
        "models": {"large": {"model": str(large), **how}, "small": {"model": str(small), **how}},
        "pairs": {"llama": {"large": "large", "small": "small"}},
        "tasks": [{"name": "biography", "people": 5, "evaluate": ["biography_major"]}],
        "train": ["small", "large"],
        "methods": ["plain", "contrastive_dropout"],
        "budgets": [{"steps": 2}],
        "recipe": {"autocast": "bfloat16"},
        "device": "cuda",
    }
    return Suite.model_validate({**content, **changes})


def test_the_table_has_a_line_for_every_kind_of_stage_with_every_model_and_no_gpu_or_weights(written: Written) -> None:
    suite = _suite(written("large", LLAMA_3_70B), written("small", LLAMA_3_8B))
    text = memory_report(suite, None, as_json=False)
    rows = [line.split()[:3] for line in text.splitlines()[3:-1]]
    assert [" ".join(row[:2]) for row in rows] == [
        "score large", "score small", "train (lora)", "train (lora)", "evaluate large", "evaluate small",
    ]  # fmt: skip
    assert "24" in text and "141" in text and "overhead" in text
    content = json.loads(memory_report(suite, "80g,141g", as_json=True))
    assert [line["model"] for line in content["lines"]] == ["large", "small"] * 3
    counts = [line["stages"] for line in content["lines"]]
    assert counts == [1, 1, 2, 2, 2 + 2, 2 + 2], "each model as it is, without and with the document, too"
    peaks = {(line["stage"], line["model"]): line["needs"][0]["peak"] for line in content["lines"]}
    assert all(peaks[stage, "small"] < peaks[stage, "large"] for stage, _ in peaks)
    (small,) = [cells["cells"] for cells in content["cells"] if cells["size"] == 141]
    assert small == 4 + 4


def test_the_command_of_the_page_prints_the_table_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\nbenchmark (.*)\n```", page, re.M)
    (table,) = re.findall(r"^```text\n(.*?)\n```", page, re.M | re.S)
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.exception
    assert [line.rstrip() for line in done.stdout.splitlines()] == table.splitlines()


@pytest.mark.parametrize(("name", "content"), [("llama-3-70b", LLAMA_3_70B), ("llama-3-8b", LLAMA_3_8B)])
def test_the_folders_of_the_page_hold_the_published_shapes_and_no_weights(name: str, content: dict[str, Any]) -> None:
    folder = ROOT / "docs" / "memory" / name
    assert json.loads((folder / "config.json").read_text()) == content
    assert {file.name for file in folder.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_cells_fit_one_by_one(written: Written) -> None:
    """On 24 GiB only the small model can be trained, by the method that needs no large model."""
    suite = _suite(written("large", LLAMA_3_70B), written("small", LLAMA_3_8B))
    content = json.loads(memory_report(suite, "24", as_json=True))
    assert content["cells"] == [{"size": 24.0, "cells": 3}]


def test_workers_are_as_many_as_fit_one_gpu() -> None:
    suite = load_suite(find_suite("smoke"))
    content = json.loads(memory_report(suite, "24g", as_json=True))
    assert content["device"] == "cuda"
    for line in content["lines"]:
        (fitting,) = line["fits"]
        assert fitting["workers"] == int(24 * 2**30 * 0.94 // line["needs"][0]["peak"]) > 1


def test_gpu_sizes_can_be_written_in_several_ways() -> None:
    assert sizes_of("80g, 23.5 GiB,141", "cuda") == [80, 23.5, 141]
    assert sizes_of(None, "cuda") == list(GPUS)
    (here,) = sizes_of(None, "cpu")
    assert 0.5 < here < 1e5


@pytest.mark.parametrize("gpu", ["", "large", "80m", "0", "-3", "80,,", "nan", "9" * 400])
def test_an_invalid_gpu_size_gives_a_one_line_error(gpu: str) -> None:
    with pytest.raises(UserError, match="--gpu .*expected GiB of a GPU such as 80g"):
        sizes_of(gpu, "cuda")


def test_options_that_do_not_go_together_are_refused_before_anything_is_loaded() -> None:
    suite = load_suite(find_suite("smoke"))
    with pytest.raises(UserError, match="--gpu: is for --memory alone"):
        print_memory(suite, memory=False, gpu="80g", stages=False, as_json=False)
    with pytest.raises(UserError, match="--stages: --memory reads no weights"):
        print_memory(suite, memory=True, gpu=None, stages=True, as_json=False)


def test_the_command_prints_the_prediction_and_gives_one_line_errors(written: Written, tmp_path: Path) -> None:
    suite = _suite(written("large", LLAMA_3_8B), written("small", LLAMA_3_8B)).model_dump(mode="json", by_alias=True)
    (file := tmp_path / "trial.yaml").write_text(yaml.safe_dump({**suite, "recipe": {}, "description": ""}))
    done = CliRunner().invoke(app, ["plan", str(file), "--memory", "--gpu", "80g", "--json"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["lines"]
    wrong = CliRunner().invoke(app, ["plan", str(file), "--memory", "--gpu", "large"])
    assert isinstance(wrong.exception, UserError) and "\n" not in str(wrong.exception)


def test_the_error_for_a_hub_model_that_cannot_be_loaded_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"model 'none/such': .*cannot be loaded") as caught:
        memory_report(_suite(Path("none/such"), Path("none/such")), None, as_json=False)
    assert "\n" not in str(caught.value)
