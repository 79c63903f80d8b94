"""Checks on a model's configuration and weights, without running it: absurd sizes, missing, unused or broken weights.

Libraries make up missing weights at random, drop unused weights, or run out of memory. These checks name the weight or
field instead. Every check raises UserError.
"""

import re
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.models.spec import ModelSpec

MOST_LAYERS_OR_EXPERTS = 1000  # the largest models have some hundreds
MOST_PARAMETERS_PER_BYTE = 16  # weights of 2 bits, the smallest in use, are 4 to a byte


def check_config(spec: ModelSpec, config: Any) -> None:
    """Refuse a configuration with no layers, with more layers or experts than any model, or with a context below 0."""
    text_config = getattr(config, "text_config", None) or config
    layers = getattr(text_config, "num_hidden_layers", 1)
    counts = [value for name, value in vars(text_config).items() if re.search("(layers?|experts?)$", name)]
    for count in (layers, *counts):
        if (isinstance(count, int) and count > MOST_LAYERS_OR_EXPERTS) or layers < 1:
            raise UserError(
                f"model {spec.model!r}: its config.json asks for {count:.0e} layers or experts; correct the number to "
                f"1 to {MOST_LAYERS_OR_EXPERTS:,}"
            )
    length = getattr(text_config, "max_position_embeddings", None)
    if length is not None and length < 0:
        raise UserError(
            f"model {spec.model!r}: its config.json has max_position_embeddings: {length}; give a number above 0"
        )


def skeleton(config: Any) -> Any:
    """A causal language model of this configuration on the meta device, where parameters take no memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_size(spec: ModelSpec, config: Any) -> None:
    """Refuse a configuration with far more parameters than the weight files of the model's folder can hold.

    Models from the hub are not checked: they are not downloaded yet.
    """
    folder = spec.local
    if folder is None or spec.trust_remote_code:
        return
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    parameters = sum(parameter.numel() for parameter in skeleton(config).parameters())
    if parameters > MOST_PARAMETERS_PER_BYTE * size:
        raise UserError(
            f"model {spec.model!r}: cannot be loaded: its config.json asks for {parameters:,} parameters, too many for "
            f"weight files of {size:,} bytes; correct config.json, or download the weights again"
        )


def check_loaded(spec: ModelSpec, info: dict[str, Any]) -> None:
    """Refuse weights that do not match the model: of another shape, missing, or unused.

    Args:
        spec: The model.
        info: transformers' report on the loading (`output_loading_info`).
    """
    if mismatched := sorted(info["mismatched_keys"]):
        name, in_file, expected = mismatched[0]
        raise UserError(
            f"model {spec.model!r}: cannot be loaded: {len(mismatched)} of its weights have another shape than its "
            f"config.json asks for, for example {name}: {list(in_file)}, not {list(expected)}; correct config.json"
        )
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"model {spec.model!r}: its weight files lack {len(missing)} of its parameters, for example {missing[0]}; "
            "give a folder with all of them"
        )
    if unexpected := sorted(info["unexpected_keys"]):
        raise UserError(
            f"model {spec.model!r}: its config.json leaves {len(unexpected)} of its weights unused, for example "
            f"{unexpected[0]}; give the config.json that was saved with them, or delete them from the file"
        )


def check_tied(spec: ModelSpec, model: Any) -> None:
    """Refuse two weights that the configuration ties together but that differ in the file.

    transformers keeps one of the two and drops the other. Models from the hub are not checked.
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
    for target, source in tied.items():
        if target in values and source in values and not values[target].equal(values[source]):
            raise UserError(
                f"model {spec.model!r}: its config.json ties {target} to {source}, but the two differ in its weight "
                "file; set tie_word_embeddings to false in config.json if both were trained"
            )


def check_finite(spec: ModelSpec, model: Any) -> None:
    """Refuse weights that are not finite in the precision they were loaded in."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not parameter.isfinite().all():
            raise UserError(
                f"model {spec.model!r}: {name} has numbers that are not finite in {spec.dtype}; set dtype: bfloat16 or "
                "float32, or download the weights again"
            )


def check_one_set_of_weights(spec: ModelSpec, folder: Path) -> None:
    """Refuse a folder with the weights both in one file and in shards: transformers would ignore the shards."""
    if all((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise UserError(
            f"model {spec.model!r}: has both model.safetensors and shards with an index; delete the set that is not "
            "meant"
        )


def check_spread(spec: ModelSpec, model: Any) -> None:
    """Refuse a model of which accelerate, for lack of GPU memory, put parts on the CPU or the disk.

    It would run a hundred times slower, and could not be trained.
    """
    if offloaded := [part for part, device in model.hf_device_map.items() if device in ("cpu", "disk")]:
        raise UserError(
            f"model {spec.model!r}: device_map: {spec.device_map}: {len(offloaded)} of its parts do not fit on the "
            f"GPUs, for example {offloaded[0]}; use more GPUs, or quantization (`benchmark plan --memory` says what "
            "fits)"
        )
