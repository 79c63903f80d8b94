"""The suite seal_squad is planned without network from configurations, a tokenizer and SQuAD in the hub's cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import ROOT

COMMIT = "c0ffee" * 6 + "c0ff"
QWEN = {
    "Qwen2.5-7B": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Qwen2.5-1.5B": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
}


def snapshot(hub: Path, repository: str) -> Path:
    """A folder of the hub's cache for a repository's only commit."""
    (hub / repository / "refs").mkdir(parents=True)
    (hub / repository / "refs" / "main").write_text(COMMIT)
    folder = hub / repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


@pytest.mark.slow
def test_seal_squad_is_planned_without_network_and_fits_on_forty_gibibytes(shared: Path, tmp_path: Path) -> None:
    from transformers import Qwen2Tokenizer

    squad = shared / "data" / "squad_v11_dev" / "squad_v11_dev.json"
    if not squad.is_file():
        pytest.skip(f"{squad} is not there")
    hub = tmp_path / "hub"
    data = snapshot(hub, "datasets--rajpurkar--squad") / "plain_text"
    data.mkdir()
    shutil.copy(squad, data / "validation.json")
    tokenizer = Qwen2Tokenizer().train_new_from_iterator([squad.read_text(encoding="utf-8")[:100_000]], 2000)
    for name, shape in QWEN.items():
        folder = snapshot(hub, f"models--Qwen--{name}")
        tokenizer.save_pretrained(folder)
        config: dict[str, Any] = {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "num_hidden_layers": 28,
            "vocab_size": 152064 if name == "Qwen2.5-7B" else 151936,
            "tie_word_embeddings": name != "Qwen2.5-7B",
            "max_position_embeddings": 131072,
            "eos_token_id": tokenizer.eos_token_id,
            **shape,
        }
        (folder / "config.json").write_text(json.dumps(config))
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-m", "benchmark", "plan", "seal_squad", "--memory", "--gpu", "24g,40g", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    needs = {(line["stage"], line["model"]): line["needs"] for line in plan["lines"]}
    assert set(needs) == {
        ("score", "qwen2.5-1.5b"),
        ("score", "qwen2.5-7b"),
        ("write", "itself"),
        ("train (lora)", "qwen2.5-7b"),
        ("evaluate", "qwen2.5-7b"),
    }
    # Qwen publishes 7.61 and 1.54 billion parameters; two bytes each.
    assert needs["score", "qwen2.5-7b"][0]["weights"] == pytest.approx(2 * 7.61e9, rel=0.002)
    assert needs["score", "qwen2.5-1.5b"][0]["weights"] == pytest.approx(2 * 1.54e9, rel=0.005)
    # A cell for each of 11 methods and 3 seeds, and the untouched model without and with the document.
    assert plan["cells"][-1] == {"size": 40.0, "cells": 11 * 3 + 2}
