"""Checks on a model before and after its libraries read it: absurd sizes, and weights that did not land in it."""

import re
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.models.spec import ModelSpec

MOST_PARTS = 1000  # layers, or experts of a layer; the largest models have some hundreds
PER_BYTE = 16  # parameters that a byte of weights may stand for; 2 bits each, the fewest in use, are 4


def check_config(spec: ModelSpec, config: Any) -> None:
    """Raise UserError if a configuration has no layers, more layers or experts than any model, or a context below 0."""
    text = getattr(config, "text_config", None) or config
    layers = getattr(text, "num_hidden_layers", 1)
    counts = [value for name, value in vars(text).items() if re.search("(layers?|experts?)$", name)]
    for count in (layers, *counts):
        if (isinstance(count, int) and count > MOST_PARTS) or layers < 1:
            raise UserError(
                f"model {spec.model!r}: its configuration counts {count:.0e} layers or experts, not 1 to "
                f"{MOST_PARTS:,}; mend its config.json"
            )
    length = getattr(text, "max_position_embeddings", None)
    if length is not None and length < 0:
        raise UserError(f"model {spec.model!r}: its configuration says max_position_embeddings: {length}; mend it")


def skeleton(config: Any) -> Any:
    """A causal language model of this configuration without memory for its parameters."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_size(spec: ModelSpec, config: Any) -> None:
    """Raise UserError if a configuration asks for far more parameters than the weights beside it can hold.

    Only of a folder: what comes from the hub is not there yet. The model is built without memory for its parameters.
    """
    folder = spec.local
    if folder is None or spec.trust_remote_code:
        return
    held = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    asked = sum(parameter.numel() for parameter in skeleton(config).parameters())
    if asked > PER_BYTE * held:
        raise UserError(
            f"model {spec.model!r}: cannot be loaded: its configuration asks for {asked:,} parameters, which weights "
            f"of {held:,} bytes cannot hold; mend its config.json, or fetch the weights anew"
        )


def check_loaded(spec: ModelSpec, info: dict[str, Any]) -> None:
    """Raise UserError if the weights lack a parameter of the model, or the model has no place for one of the weights.

    transformers makes up the first at random and drops the second. `info` is its report on the loading.
    """
    if unlike := sorted(info["mismatched_keys"]):
        name, there, asked = unlike[0]
        raise UserError(
            f"model {spec.model!r}: cannot be loaded: {len(unlike)} of its weights are not of the size that its "
            f"configuration asks for, as {name}: {list(there)}, not {list(asked)}; mend its config.json"
        )
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"model {spec.model!r}: its weights lack {len(missing)} of its parameters, as {missing[0]}; give a folder "
            "with all of them"
        )
    if unexpected := sorted(info["unexpected_keys"]):
        raise UserError(
            f"model {spec.model!r}: its configuration has no place for {len(unexpected)} of its weights, as "
            f"{unexpected[0]}; give the configuration that they were saved with, or take them out of the file"
        )


def check_tied(spec: ModelSpec, model: Any) -> None:
    """Raise UserError if a weight that the configuration ties to another one has other values in the file.

    transformers keeps one of the two and drops the other. Only of a folder: the hub's files are not looked for.
    """
    from safetensors import safe_open

    folder = spec.local
    tied = getattr(model, "_tied_weights_keys", None)
    if folder is None or folder.is_file() or not isinstance(tied, dict):
        return
    if not model.config.get_text_config(decoder=True).tie_word_embeddings:
        return
    names = {name for pair in tied.items() for name in pair}
    values = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            values.update({name: weights.get_tensor(name) for name in names & set(weights.keys())})
    for one, other in tied.items():
        if one in values and other in values and not values[one].equal(values[other]):
            raise UserError(
                f"model {spec.model!r}: its configuration ties {one} to {other}, but its file has other values for the "
                "two; set tie_word_embeddings to false in its config.json if both were trained"
            )


def check_finite(spec: ModelSpec, model: Any) -> None:
    """Raise UserError if a weight is not a finite number in the precision it was loaded in."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not parameter.isfinite().all():
            raise UserError(
                f"model {spec.model!r}: {name} has numbers that are not finite in {spec.dtype}; set dtype: bfloat16 or "
                "float32, or fetch the weights anew"
            )


def check_one_set_of_weights(spec: ModelSpec, folder: Path) -> None:
    """Raise UserError if a folder has whole weights both in one file and in shards: only the one file would be read."""
    if all((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise UserError(
            f"model {spec.model!r}: has both model.safetensors and shards with an index; take away the set that is not "
            "meant"
        )


def check_spread(spec: ModelSpec, model: Any) -> None:
    """Raise UserError if accelerate, short of GPU memory, put parts of a model on the CPU or the disk.

    It would work there, a hundred times slower, and could not be trained.
    """
    if beside := [part for part, place in model.hf_device_map.items() if place in ("cpu", "disk")]:
        raise UserError(
            f"model {spec.model!r}: device_map: {spec.device_map}: the GPUs have no room for {len(beside)} of its "
            f"parts, as {beside[0]}; use more GPUs, or quantization (`benchmark plan --memory` says what fits)"
        )
