"""Shapes counted from a configuration: published numbers of parameters, and those of weights."""

import json
from typing import Any

import pytest
from safetensors import safe_open

from benchmark.core.errors import UserError
from benchmark.memory.shape import shape_of
from benchmark.models.spec import ZOO, ModelSpec
from tests.memory.conftest import Written
from tests.memory.shapes import GEMMA_2_2B, LLAMA_3_8B, LLAMA_3_70B, SMOLLM2_135M


@pytest.mark.parametrize(
    ("content", "billions"),
    [(LLAMA_3_70B, 70.55), (LLAMA_3_8B, 8.03), (GEMMA_2_2B, 2.61), (SMOLLM2_135M, 0.1345)],
    ids=["LLaMA 3 70B", "LLaMA 3 8B", "Gemma 2 2B", "SmolLM2 135M"],
)
def test_the_number_of_parameters_is_the_published_one(
    written: Written, content: dict[str, Any], billions: float
) -> None:
    shape = shape_of(ModelSpec(model=str(written("model", content))))
    assert shape.parameters == pytest.approx(billions * 1e9, rel=0.002)


@pytest.mark.parametrize("name", ["large", "small"])
def test_the_number_of_parameters_is_that_of_the_weights_file(name: str) -> None:
    with safe_open(ZOO / name / "model.safetensors", framework="pt") as file:
        held = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118  # no mapping
    assert shape_of(ModelSpec(model=f"zoo:{name}")).parameters == held


def test_linear_layers_are_those_of_a_layer_times_the_layers(written: Written) -> None:
    shape = shape_of(ModelSpec(model=str(written("model", LLAMA_3_70B))))
    h, wide, kv = 8192, 28672, 1024
    assert shape.linear == 80 * (2 * h * h + 2 * h * kv + 3 * h * wide)
    assert shape.linears == 80 * 7
    assert shape.adapter(16) == 16 * 80 * (2 * 2 * h + 2 * (h + kv) + 3 * (h + wide))
    assert (shape.layers, shape.query, shape.key, shape.heads) == (80, 8192, 1024, 64)
    assert shape.head == 128256 * h and shape.largest == h * wide


def test_skipped_layers_are_not_counted(written: Written) -> None:
    folder = str(written("model", SMOLLM2_135M))
    whole, part = (shape_of(ModelSpec(model=folder, skip_layers=skip)) for skip in ([], [0, 29]))
    assert part.layers == 28 and part.linear * 30 == whole.linear * 28


def test_soft_capped_attention_counts_as_stored(written: Written) -> None:
    assert shape_of(ModelSpec(model=str(written("gemma", GEMMA_2_2B)))).eager
    assert not shape_of(ModelSpec(model=str(written("llama", SMOLLM2_135M)))).eager


def test_a_model_with_its_own_code_is_refused(written: Written) -> None:
    spec = ModelSpec(model=str(written("model", SMOLLM2_135M)), trust_remote_code=True)
    with pytest.raises(UserError, match="memory cannot be predicted for a model with its own code"):
        shape_of(spec)


def test_an_unreadable_configuration_gives_a_one_line_error(written: Written) -> None:
    folder = written("model", SMOLLM2_135M)
    (folder / "config.json").write_text(json.dumps({"model_type": "none such"}))
    with pytest.raises(UserError, match="its configuration cannot be loaded") as caught:
        shape_of(ModelSpec(model=str(folder)))
    assert "\n" not in str(caught.value)
