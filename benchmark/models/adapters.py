"""peft adapters of a model spec: load an adapter, compare it with its file, and merge it into the model's weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.forward_checks import TOKENS, logits_agree, logits_of
from benchmark.models.spec import ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Values of init_lora_weights under which every loading of an adapter leaves the same base weights.
_REPEATABLE_STARTS = {"gaussian", "orthogonal", "pissa", "olora"}


def with_adapter(model: "PreTrainedModel", spec: ModelSpec) -> "PreTrainedModel":
    """The model with the peft adapter of its spec merged into its weights.

    Raises:
        UserError: If the adapter cannot be loaded, its file has weights that the model has no use for or lacks weights
            that it needs, or the merged model computes something else than the unmerged adapter.
    """
    from huggingface_hub import snapshot_download
    from peft import PeftModel

    if spec.quantization:
        raise UserError(
            f"adapter {spec.adapter!r}: cannot be merged into quantized weights; leave quantization out or give a "
            "folder with both merged"
        )
    try:
        # Downloaded here and without pickled weights, which peft would fall back to.
        folder = spec.local_adapter or snapshot_download(
            str(spec.adapter), revision=spec.adapter_revision, allow_patterns=["*.json", "*.safetensors"]
        )
        _check_kind(spec, Path(folder))
        adapted: Any = PeftModel.from_pretrained(model, str(folder)).eval()
        _check_values(spec, Path(folder), adapted)
        expected = logits_of(adapted, [TOKENS])
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except Exception as error:
        raise _does_not_fit(spec, error) from None
    if not logits_agree(logits_of(merged, [TOKENS]), expected):
        raise UserError(
            f"adapter {spec.adapter!r}: merged into model {spec.model!r} it computes something else than unmerged, as "
            "happens to an adapter of embeddings that are tied to the head; merge it yourself and give the merged "
            "folder as model"
        )
    return merged


def check_adapter(spec: ModelSpec, config: Any) -> None:
    """Check the weight names of a local adapter against a model of this configuration, without loading weights.

    Raises:
        UserError: If the adapter cannot be merged, has weights that the model has no use for, or lacks weights.
    """
    from peft import PeftConfig, get_peft_model
    from safetensors import safe_open

    from benchmark.models.static_checks import skeleton

    if (folder := spec.local_adapter) is None:
        return
    try:
        _check_kind(spec, folder)
        adapted = get_peft_model(skeleton(config), PeftConfig.from_pretrained(str(folder)))
    except UserError:
        raise
    except Exception as error:
        raise _does_not_fit(spec, error) from None
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        _check_names(spec, set(file.keys()), adapted)


def _check_kind(spec: ModelSpec, folder: Path) -> None:
    """Refuse adapters that cannot be merged, or that change their base at random whenever they are loaded."""
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    config: Any = PeftConfig.from_pretrained(str(folder))
    tuner = PEFT_TYPE_TO_TUNER_MAPPING.get(config.peft_type)
    if tuner is None or not hasattr(tuner, "merge_and_unload"):
        raise UserError(
            f"adapter {spec.adapter!r}: is of the kind {config.peft_type.value}, which cannot be merged into weights; "
            "give a LoRA adapter or a model"
        )
    start = getattr(config, "init_lora_weights", True)
    if isinstance(start, str) and start not in _REPEATABLE_STARTS:
        raise UserError(
            f"adapter {spec.adapter!r}: its init_lora_weights {start!r} changed the base model when training began, "
            "which cannot be repeated; convert it to plain LoRA with peft's path_initial_model_for_weight_conversion"
        )


def _check_values(spec: ModelSpec, folder: Path, adapted: Any) -> None:
    """Check that every weight of the adapter's file is in the adapted model, with its value."""
    import torch
    from safetensors.torch import load_file

    saved = load_file(folder / "adapter_model.safetensors")
    weights = _check_names(spec, set(saved), adapted)
    for name, value in saved.items():
        if not torch.equal(weights[name].cpu(), value.to(weights[name].dtype)):
            raise UserError(
                f"adapter {spec.adapter!r}: {name} has another value in model {spec.model!r} than in its file; give "
                "the model it was trained on"
            )


def _check_names(spec: ModelSpec, saved: set[str], adapted: Any) -> dict[str, Any]:
    """Compare the weight names of an adapter's file with those of the adapted model; returns the model's weights."""
    from peft import get_peft_model_state_dict

    needed = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    weights = {**adapted.state_dict(), **needed}  # a file may also hold whole embeddings that were resized
    if unknown := sorted(saved - set(weights)):
        raise UserError(
            f"adapter {spec.adapter!r}: model {spec.model!r} has no use for {len(unknown)} of its weights, for example "
            f"{unknown[0]}; give the model it was trained on, and an adapter that peft saved of an uncompiled model"
        )
    if missing := sorted(set(needed) - saved):
        raise UserError(
            f"adapter {spec.adapter!r}: its adapter_model.safetensors lacks {len(missing)} of the weights that its "
            f"adapter_config.json asks for in model {spec.model!r}, for example {missing[0]}; download or save it again"
        )
    return weights


def _does_not_fit(spec: ModelSpec, error: Exception) -> UserError:
    return UserError(f"adapter {spec.adapter!r}: does not fit model {spec.model!r}: {library_error(error)}")
