"""peft adapters of a model spec: loaded, held against their file, and merged into the weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_PROBE = (3, 1, 4, 1, 5, 9, 2, 6)
# Ways to start a LoRA adapter that leave its base as it was, or change it in the same way each time it is loaded.
_REPEATABLE_STARTS = {"gaussian", "orthogonal", "pissa", "olora"}


def with_adapter(model: "PreTrainedModel", spec: ModelSpec) -> "PreTrainedModel":
    """The model with a peft adapter merged into its weights.

    Raises:
        UserError: If the adapter cannot be loaded, a weight of its file has no place in the model or one that it needs
            is not in the file, or if the merged model computes something else than model and adapter apart.
    """
    from huggingface_hub import snapshot_download
    from peft import PeftModel

    if spec.quantization:
        raise UserError(
            f"adapter {spec.adapter!r}: cannot be merged into quantized weights; leave quantization out or give a "
            "folder with both merged"
        )
    try:
        # Fetched first, without pickled weights, which peft would read where there are no others.
        folder = spec.local_adapter or snapshot_download(
            str(spec.adapter), revision=spec.adapter_revision, allow_patterns=["*.json", "*.safetensors"]
        )
        _check_kind(spec, Path(folder))
        adapted: Any = PeftModel.from_pretrained(model, str(folder)).eval()
        _check_landed(spec, Path(folder), adapted)
        beside = _logits(adapted)
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except Exception as error:
        raise _does_not_fit(spec, error) from None
    if not alike(_logits(merged), beside):
        raise UserError(
            f"adapter {spec.adapter!r}: merged into model {spec.model!r} it computes something else than beside it, as "
            "happens to an adapter of embeddings that the head shares; merge it yourself and give the merged folder as "
            "model"
        )
    return merged


def _check_kind(spec: ModelSpec, folder: Path) -> None:
    """Refuse adapters that cannot be merged, or whose base is made anew at random whenever they are loaded."""
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


def alike(found: "torch.Tensor", expected: "torch.Tensor") -> bool:
    """Whether logits differ by no more than rounding makes them: the root of their precision, beside their spread."""
    import torch

    difference = (found.float() - expected.float()).square().mean().sqrt()
    return bool(difference <= torch.finfo(expected.dtype).eps ** 0.5 * expected.float().std())


def check_adapter(spec: ModelSpec, config: Any) -> None:
    """Hold a local adapter's names against a model of this configuration, without weights.

    Raises UserError if a weight of its file has no place in the model, or one that it needs is not in the file.
    """
    from peft import PeftConfig, get_peft_model
    from safetensors import safe_open

    from benchmark.models.checks import skeleton

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


def _check_landed(spec: ModelSpec, folder: Path, adapted: Any) -> None:
    """Hold the adapter in the model against its file: every weight of one has to be in the other, with its value."""
    import torch
    from safetensors.torch import load_file

    saved = load_file(folder / "adapter_model.safetensors")
    places = _check_names(spec, set(saved), adapted)
    for name, value in saved.items():
        if not torch.equal(places[name].cpu(), value.to(places[name].dtype)):
            raise UserError(
                f"adapter {spec.adapter!r}: {name} is not in model {spec.model!r} as it is in its file; give the model "
                "it was trained on"
            )


def _check_names(spec: ModelSpec, saved: set[str], adapted: Any) -> dict[str, Any]:
    """The weights of an adapted model by the names that a file of the adapter may have; refuses other names."""
    from peft import get_peft_model_state_dict

    loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    places = {**adapted.state_dict(), **loaded}  # a file may also hold whole embeddings that were resized
    if extra := sorted(saved - set(places)):
        raise UserError(
            f"adapter {spec.adapter!r}: model {spec.model!r} has no place for {len(extra)} of its weights, as "
            f"{extra[0]}; give the model it was trained on, and an adapter that peft saved of an uncompiled model"
        )
    if lacking := sorted(set(loaded) - saved):
        raise UserError(
            f"adapter {spec.adapter!r}: its adapter_model.safetensors lacks {len(lacking)} of the weights that its "
            f"adapter_config.json asks for in model {spec.model!r}, as {lacking[0]}; fetch or save it anew"
        )
    return places


def _does_not_fit(spec: ModelSpec, error: Exception) -> UserError:
    return UserError(f"adapter {spec.adapter!r}: does not go with model {spec.model!r}: {library_error(error)}")


def _logits(model: Any) -> "torch.Tensor":
    """Logits of a few tokens, (n, vocabulary)."""
    import torch

    size = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.tensor([[token % size for token in _PROBE]], device=model.device)
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids).logits[0]
    return logits
