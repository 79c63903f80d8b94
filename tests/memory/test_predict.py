"""Predicted memory: computed by hand for the paper's largest model, and larger where it should be."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.corpora.biography import Biography
from benchmark.data.prompts import read_prompt
from benchmark.memory.needs import Need, loading_overhead, training_need
from benchmark.memory.predict import CUDA_CONTEXT, LIBRARIES, MemoryEstimate, predict
from benchmark.memory.report import GIB, fit, lines_of, predictions
from benchmark.memory.shape import shape_of
from benchmark.methods import augment, make_method
from benchmark.methods.rewrite import Rewrite
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from benchmark.training.out_of_memory import micro_batches
from benchmark.training.recipe import Recipe
from benchmark.writing.requests import Request
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


def _needs(suite: Suite, device: str = "cuda") -> dict[str, MemoryEstimate]:
    """The prediction of each role of the suite's only trained cell."""
    plan = make_plan(suite, dry_on=device)
    predicted = predictions(plan)
    return {role: predicted[call.key] for role, call in plan.cells[-1].stages.items() if call.key in predicted}


def _train(spec: dict[str, Any], longest: int = 100, micro: int = 8, **recipe: Any) -> Need:
    model = ModelSpec.model_validate(spec)
    return training_need(
        model, shape_of(model), Recipe.model_validate({"batch_size": 8, **recipe}), micro, longest, weighted=False
    )


def test_llama_3_70b_in_8_bit_needs_the_bytes_computed_by_hand(written: Written) -> None:
    """68.4 billion weights of a byte, embedding and head of 1.05 billion each in float32, and the adapter."""
    spec = {"model": str(written("llama", LLAMA_3_70B)), "dtype": "bfloat16", "quantization": "8bit"}
    need = _train(spec, autocast="bfloat16")
    adapter = 207.1e6
    assert need.weights == pytest.approx(68.45e9 + 2 * 1.0507e9 * 4 + adapter * 4, rel=0.002)
    assert need.training == pytest.approx(adapter * 8, rel=0.001)
    alone = _train(spec, autocast="bfloat16", micro=1)
    assert alone.training == pytest.approx(adapter * 12, rel=0.001)
    assert alone.on() < need.on()


def test_llama_3_70b_fits_more_gpus_with_device_map(written: Written) -> None:
    spec = {"model": str(written("llama", LLAMA_3_70B)), "dtype": "bfloat16", "quantization": "8bit"}
    alone = _needs(_suite(spec))
    several = _needs(_suite({**spec, "device_map": "auto"}))
    assert set(alone) == {"trained", "train", "evaluate", "untouched", "retained"}
    assert not any(fit(need, 24).gpus for need in alone.values())
    assert fit(alone["train"], 141).gpus == 1
    for role, need in several.items():
        assert 4 <= fit(need, 24).gpus <= 8, role
    assert {role: fit(need, 80).gpus for role, need in several.items()} == {**dict.fromkeys(several, 1), "train": 2}


def test_a_smaller_micro_batch_can_make_training_fit(written: Written) -> None:
    folder = written("llama", {**LLAMA_3_70B, "num_hidden_layers": 8})
    prediction = _needs(_suite({"model": str(folder), "dtype": "bfloat16"}))["train"]
    peaks = [need.on() for need in prediction.needs]
    assert [need.micro_batch for need in prediction.needs] == [8, 4, 2, 1]
    assert peaks == sorted(peaks, reverse=True)
    predicted = fit(prediction, peaks[1] / GIB / 0.94 + 0.01)
    assert (predicted.gpus, predicted.micro_batch) == (1, 4)
    assert fit(prediction, peaks[0] / GIB / 0.94 + 0.01).micro_batch is None
    assert fit(prediction, peaks[-1] / GIB / 0.94 - 0.01).gpus == 0


@pytest.mark.parametrize(("batch", "tried"), [(8, [8, 4, 2, 1]), (6, [6, 3, 1]), (1, [1]), (10, [10, 5, 2, 1])])
def test_micro_batches_are_halved_down_to_one(batch: int, tried: list[int]) -> None:
    assert micro_batches(Recipe(batch_size=batch)) == tried


def test_training_needs_more_for_longer_texts_larger_batches_higher_ranks_and_full_fine_tuning() -> None:
    zoo = {"model": "zoo:large"}
    least = _train(zoo).on()
    assert least < _train(zoo, longest=200).on()
    assert least < _train(zoo, lora_rank=64).on()
    assert least < _train(zoo, adaptation="full").on()
    assert _train(zoo, micro=4).on() < least
    assert _train({**zoo, "dtype": "bfloat16"}).on() < least


def test_4_bit_weights_need_less_than_8_bit_and_those_less_than_unquantized(written: Written) -> None:
    folder = str(written("llama", {**LLAMA_3_70B, "num_hidden_layers": 4}))
    peaks = {
        quantization: _needs(_suite({"model": folder, "dtype": "bfloat16", "quantization": quantization}))
        for quantization in ("4bit", "8bit", None)
    }
    for role in ("trained", "evaluate", "untouched"):
        each = [predicted[role].needs[0].weights for predicted in peaks.values()]
        assert each == sorted(each) and len(set(each)) == 3


def test_batch_sizes_of_a_suite_limit_the_prediction() -> None:
    spec = {"model": "zoo:large"}
    base = _needs(_suite(spec), "cpu")
    small = _needs(_suite(spec, scoring={"tokens_per_batch": 256}, evaluation={"batch_size": 2}), "cpu")
    for role in ("trained", "evaluate"):
        assert small[role].needs[0].on() < base[role].needs[0].on()
    for role in ("train", "untouched"):
        assert small[role].needs[0].on() == base[role].needs[0].on()


def test_more_gpus_need_less_each_but_overhead_and_temporary_memory_stay() -> None:
    need = Need(weights=80, training=8, kept=16, passing=5, overhead=3, layers=8)
    assert need.on() == 112 and need.on(2) == 60 and need.on(8) == 13 + 8 == need.on(100)
    assert need.on(3) == -(-104 * 3 // 8) + 8  # three of eight layers


def test_a_gpu_has_a_context_and_a_process_its_libraries() -> None:
    on_gpu, here = (_needs(_suite({"model": "zoo:large"}), device) for device in ("cuda", "cpu"))
    for role in here:
        assert (on_gpu[role].needs[0].overhead, here[role].needs[0].overhead) == (CUDA_CONTEXT, LIBRARIES)


def test_a_cpu_maps_the_file_of_the_weights_while_loading(written: Written, tmp_path: Path) -> None:
    """Beside the weights: nothing for a file of the same dtype, else the whole file; for GGUF also a weight twice."""
    zoo, half = ModelSpec(model="zoo:large"), ModelSpec(model=str(written("half", SMOLLM2_135M)))
    shape, large = shape_of(zoo), shape_of(half)
    assert loading_overhead(zoo, shape, "cpu") == 0
    assert loading_overhead(half, large, "cpu") == large.parameters * 2
    assert loading_overhead(half, large, "cpu", own=True) == 0
    assert loading_overhead(half.model_copy(update={"dtype": "bfloat16"}), large, "cpu") == 0
    assert loading_overhead(half, large, "cuda") == 49152 * 576 * 4
    (packed := tmp_path / "packed.gguf").write_bytes(b"GGUF" * 25)
    assert loading_overhead(ModelSpec(model=str(packed)), large, "cpu") == 100 + 2 * 49152 * 576 * 4


def test_a_note_says_that_lm_eval_tasks_of_retention_are_not_predicted() -> None:
    entry = {"name": "questions", "lm_eval": "piqa", "metric": "acc"}
    call = StageCall(
        "retain", 1, {"device": "cpu"}, {}, {"model": {"model": "zoo:large"}, "entries": [entry]}
    )  # as a dry plan makes it, without asking the hub
    corpus = Biography(people=2).load()
    assert predict(call, corpus).notes == ["questions: questions of lm-eval, not predicted"]


def test_a_method_with_long_copies_needs_at_least_what_its_longest_copy_needs() -> None:
    zoo, texts = ModelSpec(model="zoo:large"), Biography(people=10).load().texts
    made = augment(make_method("masked_reconstruction", {}), texts, None, copies=20, seed=1)
    longest = max(len(tokenizer_of(zoo)(row.text)["input_ids"]) + 1 for row in made)
    needed = training_need(zoo, shape_of(zoo), Recipe(), 8, longest, weighted=True).on()
    predicted, of_originals = (
        _needs(_suite({"model": "zoo:large"}, recipe={}, methods=[name]), "cpu")["train"].needs[0]
        for name in ("masked_reconstruction", "plain_matched")
    )
    assert of_originals.on() - of_originals.overhead < needed <= predicted.on() - predicted.overhead < 1.3 * needed


def test_text_lengths_are_counted_with_the_model_s_own_tokenizer() -> None:
    longest = max((text.text for text in Biography(people=10).load().texts), key=len)
    short, long = (_train({"model": "zoo:large"}, longest=n).on() for n in (len(longest) // 5, len(longest)))
    predicted = _needs(_suite({"model": "zoo:large"}, recipe={}), "cpu")["train"].needs[0]
    assert short < predicted.on() - predicted.overhead < long


def test_a_writer_needs_the_keys_and_values_of_a_batch_of_its_longest_prompt_and_answer() -> None:
    writers = {
        "local": {"model": "zoo:small", "max_tokens": 40, "batch_size": 8},
        "more": {"model": "zoo:small", "max_tokens": 80, "batch_size": 16},
        "served": {"api": "http://localhost:1/v1", "model": "m"},
    }
    methods = [{"name": "rewrite", "writer": name} for name in writers]
    suite = _suite({"model": "zoo:large"}, writers=writers, methods=methods, references=False)
    plan = make_plan(suite, dry_on="cuda")
    predicted = predictions(plan)
    writes = {cell.method.written_by: cell.stages["write"] for cell in plan.cells}
    assert writes["served"].key not in predicted, "a server's memory is not ours"
    (need,), (most,) = (predicted[writes[name].key].needs for name in ("local", "more"))
    spec = ModelSpec(model="zoo:small")
    tokenizer: Any = tokenizer_of(spec)
    longest = max(
        len(tokenizer(Request("", read_prompt(name), {"document": text.text}, 0).plain)["input_ids"])
        for text in Biography(name="biography", people=10).load().texts
        for name in Rewrite.asks.prompts
    )
    shape = shape_of(spec)
    assert need.kept == 2 * (shape.layers + 1) * shape.key * 8 * (longest + 40) * 4
    assert most.kept == 2 * (shape.layers + 1) * shape.key * 16 * (longest + 80) * 4
    assert need.passing >= 8 * shape.vocabulary * 8, "the logits of all rows, and their copy"
    assert {line.model for line in lines_of(plan, predicted) if line.stage == "write"} == {"local", "more"}


def test_the_trained_model_as_writer_has_its_own_name_in_the_report() -> None:
    plan = make_plan(_suite({"model": "zoo:large"}, methods=["rewrite"], references=False), dry_on="cuda")
    assert [(line.stage, line.model) for line in lines_of(plan, predictions(plan))][:1] == [("write", "model")]


def test_training_and_teaching_read_texts_as_long_as_their_writer_may_make_them() -> None:
    suite = _suite(
        {"model": "zoo:large"},
        writers={"w": {"model": "zoo:small", "max_tokens": 390}},
        methods=[{"name": "context_distillation", "writer": "w"}],
        scoring={"tokens_per_batch": 16},
        references=False,
    )
    predicted = _needs(suite)
    spec = ModelSpec(model="zoo:large")
    of_train = predicted["train"].needs[0]
    assert (
        of_train.on() - of_train.overhead
        == training_need(
            spec, shape_of(spec), Recipe.model_validate({"autocast": "bfloat16"}), 8, 390 + 1, weighted=True
        ).on()
    )
    tokenizer: Any = tokenizer_of(spec)
    longest = max(len(tokenizer(text.text)["input_ids"]) for text in Biography(people=10).load().texts)
    logits = (longest + 390) * shape_of(spec).vocabulary * 4
    assert (
        2 * logits <= predicted["teach"].needs[0].passing <= 3 * logits
    )  # the logits, their log-probabilities, states
