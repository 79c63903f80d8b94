"""What a stage needs: hand-computed for the paper's largest model, and growing with what it should grow with."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.corpora.biography import Biography
from benchmark.memory.predict import (
    CUDA_CONTEXT,
    LIBRARIES,
    Need,
    Prediction,
    loading,
    predict,
    train_need,
)
from benchmark.memory.report import GIB, fit, predictions
from benchmark.memory.shape import shape_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from benchmark.training.out_of_memory import micro_batches
from benchmark.training.recipe import Recipe
from tests.memory.conftest import Written
from tests.memory.shapes import LLAMA_3_70B, SMOLLM2_135M


def _suite(model: dict[str, Any], **changes: Any) -> Suite:
    content = {
        "name": "trial",
        "models": {"model": model},
        "tasks": [{"name": "biography", "people": 10, "evaluate": ["biography_major", "biography_major_choice"]}],
        "train": ["model"],
        "methods": ["attention_dropout"],
        "budgets": [{"steps": 2}],
        "recipe": {"autocast": "bfloat16", "batch_size": 8},
        "retention": [{"name": "licence", "text": "LICENSE"}],
        "device": "cuda",
    }
    return Suite.model_validate({**content, **changes})


def _needs(suite: Suite, device: str = "cuda") -> dict[str, Prediction]:
    """By role in the only cell that is trained."""
    plan = make_plan(suite, dry_on=device)
    found = predictions(plan)
    return {role: found[call.key] for role, call in plan.cells[-1].stages.items() if call.key in found}


def _train(spec: dict[str, Any], longest: int = 100, micro: int = 8, **recipe: Any) -> Need:
    one = ModelSpec.model_validate(spec)
    made = Recipe.model_validate({"batch_size": 8, **recipe})
    return train_need(one, shape_of(one), made, micro, longest, weighted=False)


def test_llama_3_70b_in_8_bit_is_weighed_as_by_hand(written: Written) -> None:
    """68.4 billion weights of a byte, embedding and head of 1.05 billion each in float32, and the adapter."""
    spec = {"model": str(written("llama", LLAMA_3_70B)), "dtype": "bfloat16", "quantization": "8bit"}
    need = _train(spec, autocast="bfloat16")
    adapter = 207.1e6
    assert need.weights == pytest.approx(68.45e9 + 2 * 1.0507e9 * 4 + adapter * 4, rel=0.002)
    assert need.training == pytest.approx(adapter * 8, rel=0.001)
    alone = _train(spec, autocast="bfloat16", micro=1)
    assert alone.training == pytest.approx(adapter * 12, rel=0.001)
    assert alone.on() < need.on()


def test_llama_3_70b_fits_more_gpus_where_its_layers_may_be_spread(written: Written) -> None:
    spec = {"model": str(written("llama", LLAMA_3_70B)), "dtype": "bfloat16", "quantization": "8bit"}
    one = _needs(_suite(spec))
    several = _needs(_suite({**spec, "device_map": "auto"}))
    assert set(one) == {"trained", "train", "evaluate", "untouched", "retained"}
    assert not any(fit(need, 24).gpus for need in one.values())
    assert fit(one["train"], 141).gpus == 1
    for role, need in several.items():
        assert 4 <= fit(need, 24).gpus <= 8, role
    assert {role: fit(need, 80).gpus for role, need in several.items()} == {**dict.fromkeys(several, 1), "train": 2}


def test_a_smaller_micro_batch_is_what_makes_training_fit(written: Written) -> None:
    folder = written("llama", {**LLAMA_3_70B, "num_hidden_layers": 8})
    prediction = _needs(_suite({"model": str(folder), "dtype": "bfloat16"}))["train"]
    peaks = [need.on() for need in prediction.needs]
    assert [need.micro_batch for need in prediction.needs] == [8, 4, 2, 1]
    assert peaks == sorted(peaks, reverse=True)
    found = fit(prediction, peaks[1] / GIB / 0.94 + 0.01)
    assert (found.gpus, found.micro_batch) == (1, 4)
    assert fit(prediction, peaks[0] / GIB / 0.94 + 0.01).micro_batch is None
    assert fit(prediction, peaks[-1] / GIB / 0.94 - 0.01).gpus == 0


@pytest.mark.parametrize(("batch", "tried"), [(8, [8, 4, 2, 1]), (6, [6, 3, 1]), (1, [1]), (10, [10, 5, 2, 1])])
def test_micro_batches_are_those_that_training_tries(batch: int, tried: list[int]) -> None:
    assert micro_batches(Recipe(batch_size=batch)) == tried


def test_training_needs_more_for_longer_texts_larger_batches_ranks_and_all_weights() -> None:
    zoo = {"model": "zoo:large"}
    least = _train(zoo).on()
    assert least < _train(zoo, longest=200).on()
    assert least < _train(zoo, lora_rank=64).on()
    assert least < _train(zoo, adaptation="full").on()
    assert _train(zoo, micro=4).on() < least
    assert _train({**zoo, "dtype": "bfloat16"}).on() < least


def test_quantized_weights_need_less_and_more_in_8_bit_than_in_4(written: Written) -> None:
    folder = str(written("llama", {**LLAMA_3_70B, "num_hidden_layers": 4}))
    peaks = {
        quantization: _needs(_suite({"model": folder, "dtype": "bfloat16", "quantization": quantization}))
        for quantization in ("4bit", "8bit", None)
    }
    for role in ("trained", "evaluate", "untouched"):
        each = [found[role].needs[0].weights for found in peaks.values()]
        assert each == sorted(each) and len(set(each)) == 3


def test_what_bounds_memory_in_a_suite_bounds_what_is_predicted() -> None:
    spec = {"model": "zoo:large"}
    base = _needs(_suite(spec), "cpu")
    small = _needs(_suite(spec, scoring={"tokens_per_batch": 256}, evaluation={"batch_size": 2}), "cpu")
    for role in ("trained", "evaluate"):
        assert small[role].needs[0].on() < base[role].needs[0].on()
    for role in ("train", "untouched"):
        assert small[role].needs[0].on() == base[role].needs[0].on()


def test_more_gpus_need_less_each_and_never_less_than_what_lies_on_one() -> None:
    need = Need(weights=80, training=8, kept=16, passing=5, overhead=3, layers=8)
    assert need.on() == 112 and need.on(2) == 60 and need.on(8) == 13 + 8 == need.on(100)
    assert need.on(3) == -(-104 * 3 // 8) + 8  # three of eight layers


def test_a_gpu_has_a_context_and_a_process_its_libraries() -> None:
    on_gpu, here = (_needs(_suite({"model": "zoo:large"}), device) for device in ("cuda", "cpu"))
    for role in here:
        assert (on_gpu[role].needs[0].overhead, here[role].needs[0].overhead) == (CUDA_CONTEXT, LIBRARIES)


def test_weights_are_loaded_through_a_map_of_their_file_on_a_cpu(written: Written, tmp_path: Path) -> None:
    """Nothing beside a file of the dtype asked for, a file of another one whole, a GGUF file and a weight twice."""
    zoo, half = ModelSpec(model="zoo:large"), ModelSpec(model=str(written("half", SMOLLM2_135M)))
    shape, large = shape_of(zoo), shape_of(half)
    assert loading(zoo, shape, "cpu") == 0
    assert loading(half, large, "cpu") == large.parameters * 2
    assert loading(half, large, "cpu", own=True) == 0
    assert loading(half.model_copy(update={"dtype": "bfloat16"}), large, "cpu") == 0
    assert loading(half, large, "cuda") == 49152 * 576 * 4
    (packed := tmp_path / "packed.gguf").write_bytes(b"GGUF" * 25)
    assert loading(ModelSpec(model=str(packed)), large, "cpu") == 100 + 2 * 49152 * 576 * 4


def test_questions_of_lm_eval_that_are_held_out_are_said_not_to_be_predicted() -> None:
    entry = {"name": "questions", "lm_eval": "piqa", "metric": "acc"}
    call = StageCall(
        "retain", 1, {"device": "cpu"}, {}, {"model": {"model": "zoo:large"}, "entries": [entry]}
    )  # what a dry plan makes, without a look at the hub
    corpus = Biography(people=2).load()
    assert predict(call, corpus).notes == ["questions: questions of lm-eval, not predicted"]


def test_texts_are_measured_with_the_tokens_of_the_model_that_reads_them() -> None:
    longest = max((text.text for text in Biography(people=10).load().texts), key=len)
    short, long = (_train({"model": "zoo:large"}, longest=n).on() for n in (len(longest) // 5, len(longest)))
    found = _needs(_suite({"model": "zoo:large"}, recipe={}), "cpu")["train"].needs[0]
    assert short < found.on() - found.overhead < long
