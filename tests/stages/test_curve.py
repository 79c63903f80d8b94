"""The curve stage: checkpoints of a training and the scores at each."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from benchmark.records.record import read_record
from benchmark.runs.recording import record_path
from benchmark.runs.runner import run_suite
from benchmark.suite.plan import make_plan
from tests.tiny import InThisProcess, biographies, tiny_suite, train, train_call

STEADY = {"schedule": "constant", "warmup_ratio": 0.0}


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_a_checkpoint_does_not_change_the_training(tiny: Path, tmp_path: Path, adaptation: str) -> None:
    recipe = {**STEADY, "adaptation": adaptation}
    file = "model.safetensors" if adaptation == "full" else "adapter_model.safetensors"
    texts = biographies(6)
    calls = {
        "whole": train_call(tiny, recipe=recipe, budget={"steps": 4}, checkpoints=[2, 4, 9]),
        "plain": train_call(tiny, recipe=recipe, budget={"steps": 4}),
        "short": train_call(tiny, recipe=recipe, budget={"steps": 2}),
    }
    made = {name: train(call, texts, tmp_path / name) for name, call in calls.items()}
    assert (made["whole"] / "model" / file).read_bytes() == (made["plain"] / "model" / file).read_bytes()
    assert [folder.name for folder in (made["whole"] / "checkpoints").iterdir()] == ["2"]
    early, short = (
        load_file(folder / file) for folder in (made["whole"] / "checkpoints" / "2", made["short"] / "model")
    )
    assert early.keys() == short.keys()
    assert all(bool((early[name] == short[name]).all()) for name in early)
    config = made["whole"] / "checkpoints" / "2" / "config.json"
    assert adaptation == "lora" or json.loads(config.read_text())["use_cache"]


def test_a_record_has_the_scores_of_the_checkpoints(tiny: Path, tmp_path: Path) -> None:
    """The scores are those of trainings that end at the step of the checkpoint."""

    def record(name: str, steps: int, **more: object) -> Path:
        recipe = {**STEADY, "adaptation": "full", "learning_rate": 0.01, "batch_size": 4}
        suite = tiny_suite(tiny, methods=["plain_matched"], recipe=recipe, budgets=[{"steps": steps}], **more)
        run_suite(suite, tmp_path / name, tmp_path / name / "records", InThisProcess(), plain=True)
        plan = make_plan(suite)
        return record_path(tmp_path / name / "records", plan, plan.cells[0])

    whole = read_record(record("whole", 3, curve=[2, 1]))
    assert [point.steps for point in whole.curve] == [1, 2]
    for point in whole.curve:
        path = record(f"short{point.steps}", point.steps)
        short = read_record(path)
        assert point.scores == {"biography_major": short.scores["biography_major"]}
        assert pq.read_table(path.with_name(short.answers.file)).num_rows
    assert read_record(record("plain", 3)).scores == whole.scores
