"""Prepare a model for training: with a LoRA adapter on its linear layers, or with all its weights."""

from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.spec import ModelSpec
from benchmark.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def trainable(model: "PreTrainedModel", recipe: Recipe, spec: ModelSpec) -> Any:
    """The model in training mode, with a LoRA adapter or with all its weights marked as trainable.

    Raises:
        UserError: If full fine-tuning meets quantized or low-precision weights, or the model takes no adapter.
    """
    model.config.use_cache = False
    if recipe.adaptation == "full":
        if spec.quantization or spec.dtype != "float32":
            raise UserError(
                f"model {spec.model!r}: full fine-tuning needs plain float32 weights; set recipe.adaptation: lora"
            )
        return model.requires_grad_(True).train()  # merging the spec's adapter has frozen them
    from peft import prepare_model_for_kbit_training

    if spec.quantization:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return with_lora(model, recipe, spec)


def with_lora(model: Any, recipe: Recipe, spec: ModelSpec) -> Any:
    """The model with a new LoRA adapter on every linear layer but embedding and head, in training mode.

    Raises:
        UserError: If the architecture has linear layers that take no adapter, as state-space models do.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config).train()
    except ValueError as error:
        raise UserError(
            f"model {spec.model!r}: LoRA cannot be put on its linear layers ({library_error(error, longest=150)}); set "
            "recipe.adaptation: full"
        ) from None
