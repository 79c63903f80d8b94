"""What training and inference need of a device's memory, put together from the formulas for one model."""

import math
from dataclasses import dataclass

from benchmark.memory import formulas
from benchmark.memory.formulas import Arithmetic
from benchmark.memory.shape import Shape
from benchmark.models.loading import load_config
from benchmark.models.spec import ModelSpec
from benchmark.training.packing import MASK_FREE_LENGTH
from benchmark.training.recipe import Recipe

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number


@dataclass(frozen=True)
class Need:
    """Bytes that a stage needs at its peak, in parts.

    The first three parts belong to the layers, and are divided where these are spread over GPUs. The other two are on
    one GPU.

    Attributes:
        weights: Weights of the model and of an adapter.
        training: Gradients and AdamW's state.
        kept: Activations that wait for the backward pass, or keys and values.
        passing: Temporary memory of a layer, of the logits or of loading a weight.
        overhead: Memory that the device or, on a CPU, the libraries take.
        layers: Layers of the model.
        micro_batch: Texts of a forward pass of training.
    """

    weights: int
    training: int = 0
    kept: int = 0
    passing: int = 0
    overhead: int = 0
    layers: int = 1
    micro_batch: int | None = None

    def on(self, gpus: int = 1) -> int:
        """The peak of the fullest of several GPUs, which holds its share of the layers, rounded up."""
        share = math.ceil(self.layers / gpus) / self.layers
        return math.ceil((self.weights + self.training + self.kept) * share) + self.passing + self.overhead


def inference_arithmetic(spec: ModelSpec) -> Arithmetic:
    """The number formats in which a model is read with."""
    return Arithmetic(SIZES[spec.dtype], quantization=spec.quantization)


def loading_overhead(spec: ModelSpec, shape: Shape, device: str, own: bool = False) -> int:
    """What loading weights needs beside the weights.

    On a GPU a weight is there twice for a moment. A CPU maps the file into memory. If the file has the dtype asked for,
    its pages are the weights; if not, the whole file is in memory beside them. A GGUF file is in memory, too, and its
    largest weight twice in float32: unpacked by numpy and copied by transformers.

    Args:
        spec: How the model is loaded.
        shape: Shape of the model.
        device: "cpu" or "cuda".
        own: Whether the weights are those of full fine-tuning, which are written in the dtype asked for.
    """
    largest = max(shape.head, shape.largest)
    if device == "cuda":
        return largest * SIZES[spec.dtype]
    if own:
        return 0
    if spec.local and spec.is_gguf:
        return spec.local.stat().st_size + 2 * largest * formulas.SINGLE
    stored_as = getattr(load_config(spec), "dtype", None)
    size = stored_as.itemsize if stored_as else formulas.SINGLE
    return 0 if size == SIZES[spec.dtype] else shape.parameters * size


def inference_need(
    spec: ModelSpec, shape: Shape, device: str, trained_by: Recipe | None, passing: int, kept: int = 0
) -> Need:
    """What inference with a model needs.

    Args:
        spec: How the model is loaded.
        shape: Shape of the model.
        device: "cpu" or "cuda".
        trained_by: The recipe that trained the model, which says whether it has an adapter or its own weights; None for
            the model before training.
        passing: Temporary memory of a pass.
        kept: Keys and values.
    """
    lora = trained_by is not None and trained_by.adaptation == "lora"
    adapter = shape.adapter(trained_by.lora_rank) if trained_by and lora else 0
    weights = formulas.weights(shape, inference_arithmetic(spec)) + adapter * formulas.SINGLE
    loading = loading_overhead(spec, shape, device, own=trained_by is not None and not lora)
    return Need(weights, kept=kept, passing=max(passing, loading))


def training_need(spec: ModelSpec, shape: Shape, recipe: Recipe, micro: int, longest: int, weighted: bool) -> Need:
    """What training needs with rows as long as the longest text.

    The peak is when the backward pass begins, with all activations and the loss, or when it ends, with all gradients.
    With several micro-batches per step, gradients exist from the start.

    Args:
        spec: How the model is loaded.
        shape: Shape of the model.
        recipe: How it is trained.
        micro: Texts of a forward pass.
        longest: Tokens of the longest text.
        weighted: Whether the loss weighs tokens.
    """
    rank = recipe.lora_rank if recipe.adaptation == "lora" else None
    # peft's prepare_model_for_kbit_training makes float32 of what is not quantized.
    weight = formulas.SINGLE if spec.quantization else SIZES[spec.dtype]
    arithmetic = Arithmetic(weight, recipe.autocast == "bfloat16", spec.quantization)
    tokens = micro * longest
    # If each text has its own row; if two share a row, there is a row less and a mask.
    unmasked = longest >= MASK_FREE_LENGTH
    adapter = shape.adapter(rank) if rank else 0
    trained = adapter or shape.parameters
    kept = formulas.activations(shape, arithmetic, tokens, longest, rank, masked=not unmasked)
    if unmasked:
        kept = max(kept, formulas.activations(shape, arithmetic, tokens - longest, longest, rank))
    kept += formulas.cast_weights(shape, arithmetic)
    kept += 2 * adapter if arithmetic.autocast else 0
    gradients = trained * formulas.SINGLE
    layer = formulas.layer_backward(shape, arithmetic, tokens)
    head_gradient = 0 if rank else shape.head * formulas.SINGLE  # comes first; the embedding's gradient comes last
    peak_at_start = kept + max(formulas.loss(shape, tokens, weighted) + head_gradient, layer)
    peak_at_start += gradients if micro < recipe.batch_size else 0
    peak_at_end = gradients + layer + head_gradient
    weights = formulas.weights(shape, arithmetic) + adapter * formulas.SINGLE
    state = trained * formulas.ADAM
    if peak_at_end > peak_at_start:
        return Need(weights, state + gradients, 0, peak_at_end - gradients, micro_batch=micro)
    accumulated = gradients if micro < recipe.batch_size else 0
    return Need(weights, state + accumulated, kept, peak_at_start - kept - accumulated, micro_batch=micro)
