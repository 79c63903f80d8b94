"""Formulas of activations must equal what autograd keeps, and all others numbers computed by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft.helpers import disable_input_dtype_casting
from torch.autograd.graph import saved_tensors_hooks

from benchmark.memory import formulas
from benchmark.memory.formulas import Arithmetic
from benchmark.memory.shape import Shape, count
from benchmark.models.spec import ModelSpec
from benchmark.training.adaptation import trainable
from benchmark.training.packing import MASK_FREE_LENGTH, pack
from benchmark.training.recipe import Recipe

SPEC = ModelSpec(model="none")
SHAPE = Shape(
    parameters=1000, linear=600, outputs=40, inputs=30, linears=14, largest=100, head=200, layers=2, hidden=10,
    intermediate=20, query=10, key=5, heads=2, vocabulary=20, context=64, eager=False,
)  # fmt: skip


def _model(kind: str, dtype: torch.dtype) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 176,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
    }
    model: Any = Gemma2ForCausalLM(Gemma2Config(**sizes)) if kind == "gemma" else LlamaForCausalLM(LlamaConfig(**sizes))
    return model.to(dtype)


def _kept(model: Any, batch: dict[str, torch.Tensor], autocast: bool) -> int:
    """Bytes that autograd keeps of a pass: each storage once, without the model's own tensors."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (address := tensor.untyped_storage().data_ptr()) not in own:
            kept[address] = tensor  # kept alive, so that no other tensor gets this address
        return tensor

    with (
        disable_input_dtype_casting(model, active=autocast),  # as `fit` does
        saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model(**batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize(
    ("kind", "adaptation", "dtype", "autocast", "within"),
    [
        ("llama", "lora", torch.float32, False, 0.02),
        ("llama", "lora", torch.float32, True, 0.02),
        ("llama", "lora", torch.bfloat16, False, 0.02),
        ("llama", "lora", torch.bfloat16, True, 0.02),
        ("llama", "full", torch.float32, False, 0.02),
        ("llama", "full", torch.float32, True, 0.02),
        ("gemma", "lora", torch.float32, False, 0.2),
        ("gemma", "lora", torch.bfloat16, True, 0.2),
        ("gemma", "full", torch.float32, False, 0.2),
    ],
)
def test_activations_are_what_autograd_keeps(
    kind: str, adaptation: Any, dtype: torch.dtype, autocast: bool, within: float
) -> None:
    recipe = Recipe(adaptation=adaptation, autocast="bfloat16" if autocast else "none")
    spec = ModelSpec(model="none", dtype="bfloat16" if dtype == torch.bfloat16 else "float32")
    model = _model(kind, dtype)
    shape = count(model.config, spec)
    batch = pack([list(range(2, 102))] * 6 + [list(range(3, 53))] * 4, 0)
    rows, length = batch["input_ids"].shape
    how = Arithmetic(4 if dtype == torch.float32 else 2, autocast)
    rank = recipe.lora_rank if adaptation == "lora" else None
    predicted = formulas.activations(shape, how, rows * length, length, rank) + formulas.cast_weights(shape, how)
    predicted += rows * length * shape.vocabulary * formulas.SINGLE  # log-probabilities
    assert predicted == pytest.approx(_kept(trainable(model, recipe, spec), batch, autocast), rel=within)


@pytest.mark.parametrize("length", [MASK_FREE_LENGTH - 1, MASK_FREE_LENGTH, 2 * MASK_FREE_LENGTH])
def test_activations_of_long_texts_do_not_include_a_mask(length: int) -> None:
    model = _model("llama", torch.float32)
    shape, batch = count(model.config, SPEC), pack([[5] * length, [5] * (length - 100)], 0)
    predicted = formulas.activations(shape, Arithmetic(4), 2 * length, length, None, masked=length < MASK_FREE_LENGTH)
    predicted += 2 * length * shape.vocabulary * formulas.SINGLE  # log-probabilities
    assert predicted == pytest.approx(
        _kept(trainable(model, Recipe(adaptation="full"), SPEC), batch, autocast=False), rel=0.02
    )


def test_quantized_weights_take_a_byte_or_half_a_byte_and_their_scales() -> None:
    assert formulas.weights(SHAPE, Arithmetic(2)) == 1000 * 2
    assert formulas.weights(SHAPE, Arithmetic(2, quantization="8bit")) == 400 * 2 + 600 + 40 * 4
    assert formulas.weights(SHAPE, Arithmetic(2, quantization="4bit")) == 400 * 2 + 300 + 9 * 4


def test_only_float32_weights_are_cast_under_autocast() -> None:
    assert formulas.cast_weights(SHAPE, Arithmetic(4)) == formulas.cast_weights(SHAPE, Arithmetic(2, True)) == 0
    assert formulas.cast_weights(SHAPE, Arithmetic(4, True)) == 2 * (200 + 600)
    assert formulas.cast_weights(SHAPE, Arithmetic(4, True, "8bit")) == 2 * 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_and_values_are_as_large_as_the_cache_that_a_model_fills(dtype: torch.dtype) -> None:
    model = _model("llama", dtype)
    shape = count(model.config, SPEC)
    held = model(input_ids=torch.ones(3, 40, dtype=torch.long), use_cache=True).past_key_values
    size = sum(part.nbytes for layer in held.layers for part in (layer.keys, layer.values))
    one_more_layer = (shape.layers + 1) / shape.layers
    assert formulas.key_value_cache(shape, Arithmetic(dtype.itemsize), 3 * 40) == size * one_more_layer


def test_logits_of_losses_are_bounded_by_their_block() -> None:
    large = replace(SHAPE, vocabulary=128256)
    few, many = (formulas.token_losses(large, Arithmetic(2), tokens) for tokens in (10, 100_000))
    assert few == 10 * 128256 * (2 + 4 + 4)
    assert many == 2**26 * (2 + 4 + 4)


def test_scoring_in_blocks_grows_with_the_length_and_whole_matrices_with_its_square() -> None:
    def ratio(whole: bool) -> float:
        short, long = (formulas.attention_scores(SHAPE, Arithmetic(4), 1, n, whole) for n in (1024, 8192))
        return long / short

    assert ratio(whole=False) == pytest.approx(8)
    assert ratio(whole=True) > 20
