"""LoRA adapters on every linear layer of a model but its embedding and head."""

from typing import Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.spec import ModelSpec
from benchmark.training.recipe import Recipe


def with_lora(model: Any, recipe: Recipe, spec: ModelSpec) -> Any:
    """The model with a fresh LoRA adapter on it, in training mode.

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
