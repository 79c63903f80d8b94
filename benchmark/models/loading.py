"""Load the model, tokenizer or configuration that a model spec names, and refuse it if it would give wrong numbers."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.gguf import check_keys, check_tensors, read_header, rope_scaling
from benchmark.models.spec import ModelSpec
from benchmark.models.special_tokens import remove_appended
from benchmark.models.static_checks import (
    check_config,
    check_finite,
    check_loaded,
    check_one_set_of_weights,
    check_size,
    check_spread,
    check_tied,
    skeleton,
)
from benchmark.models.unpacked import same_config, same_tokenizer, save_tokenizer, through_unpacked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def _source(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """The arguments of `from_pretrained`: the hub id or path, and the keywords that say which revision or file.

    Raises UserError for a GGUF file or a folder that holds no single whole model.
    """
    path = spec.local
    if path is None:
        return spec.model, {"revision": spec.revision}
    if path.is_file():
        read_header(path)
        return str(path.parent), {"gguf_file": path.name}
    check_one_set_of_weights(spec, path)
    return str(path), {}


@lru_cache(maxsize=4)
def load_tokenizer(
    model: str, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerFast":
    """A model's tokenizer, which must be a fast one, since scores belong to character offsets.

    It appends no token to a text, whatever its files say: see `benchmark.models.special_tokens`.

    Raises:
        UserError: If it cannot be loaded, gives no offsets, or splits text differently from its tokenizer.json.
    """
    from transformers import AutoTokenizer

    spec = ModelSpec(model=model, revision=revision)
    name, where = _source(spec)

    def load(folder: Path | str, **options: Any) -> Any:
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, **options)
        except Exception as error:  # libraries raise many kinds for a broken file; each means the same to the user
            raise UserError(f"model {model!r}: its tokenizer cannot be loaded: {library_error(error)}") from None

    tokenizer = through_unpacked(spec, "tokenizer", lambda: load(name, **where), save_tokenizer, load, same_tokenizer)
    if not tokenizer.is_fast:
        raise UserError(
            f"model {model!r}: its tokenizer {type(tokenizer).__name__} gives no character offsets; "
            "add a tokenizer.json (a fast tokenizer) to the model's folder"
        )
    if "gguf_file" not in where:
        _check_splits_as_saved(spec, tokenizer)
    try:
        remove_appended(tokenizer)
    except UserError as error:
        raise UserError(f"model {model!r}: {error}") from None
    return tokenizer  # type: ignore[no-any-return]  # a fast one, as just checked


SPLIT_PROBE = "In 1871, O'Neill's 12,345 birds\n\n  flew\tnorth: don't."


def _check_splits_as_saved(spec: ModelSpec, tokenizer: Any) -> None:
    """Refuse a tokenizer whose class, named in tokenizer_config.json, splits text differently from its tokenizer.json.

    transformers 5 rebuilds the pre-tokenizer of some classes and ignores that of the file.
    """
    from huggingface_hub import try_to_load_from_cache
    from tokenizers import Tokenizer
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    if spec.local is None:
        cached = try_to_load_from_cache(spec.model, "tokenizer.json", revision=spec.revision)
        file = Path(cached) if isinstance(cached, str) else None
    else:
        file = spec.local / "tokenizer.json"
    if file is None or not file.is_file():
        return
    saved = Tokenizer.from_file(str(file))
    saved.no_truncation()
    saved.no_padding()
    ids = saved.encode(SPLIT_PROBE, add_special_tokens=False).ids
    if tokenizer.encode(SPLIT_PROBE, add_special_tokens=False) != ids:
        name, kind = type(tokenizer).__name__, load_config(spec).model_type
        whose = "the tokenizer_class of its tokenizer_config.json"
        remedy = "delete tokenizer_class from tokenizer_config.json"
        if str(TOKENIZER_MAPPING_NAMES.get(kind)).removesuffix("Fast") == name.removesuffix("Fast"):
            whose = f"which transformers takes for model_type {kind} whatever tokenizer_config.json says"
            remedy = "use a tokenizer.json of that family, with which the model must have been trained"
        raise UserError(
            f"model {spec.model!r}: {name}, {whose}, splits text differently from its tokenizer.json; {remedy}"
        )


def tokenizer_of(spec: ModelSpec) -> "PreTrainedTokenizerFast":
    """The tokenizer of a spec's model, see `load_tokenizer`."""
    return load_tokenizer(spec.model, spec.revision, spec.trust_remote_code)


def load_config(spec: ModelSpec) -> Any:
    """The configuration of a spec's model in transformers, before `skip_layers` is applied; weights are not read.

    It is read once per process: the header of a GGUF file with a large vocabulary takes transformers half a minute.

    Raises:
        UserError: If it cannot be loaded, has absurd sizes, or comes from a GGUF file that transformers reads in part.
    """
    return copy.deepcopy(_config(spec.model, spec.revision, spec.trust_remote_code, _last_change(spec)))


@lru_cache(maxsize=16)
def _config(model: str, revision: str | None, trust_remote_code: bool, last_change: tuple[int, int] | None) -> Any:
    from transformers import AutoConfig

    spec = ModelSpec(model=model, revision=revision, trust_remote_code=trust_remote_code)
    name, where = _source(spec)

    def load(folder: Path | str, **options: Any) -> Any:
        try:
            return AutoConfig.from_pretrained(folder, trust_remote_code=spec.trust_remote_code, **options)
        except Exception as error:
            raise UserError(
                f"model {spec.model!r}: its configuration cannot be loaded: {library_error(error)}"
            ) from None

    config = through_unpacked(
        spec,
        "config",
        lambda: load(name, **where),
        lambda read, folder: read.save_pretrained(folder),
        load,
        same_config,
    )
    check_config(spec, config)
    if "gguf_file" in where and spec.local:
        header = read_header(spec.local)
        if scaling := rope_scaling(spec.local, header):
            _scale_positions(config, scaling)
        check_keys(spec.local, header, config)
    return config


def _last_change(spec: ModelSpec) -> tuple[int, int] | None:
    """Time and size of the local file that holds a model's configuration; None for a hub id or without such a file."""
    file = spec.local
    if file is not None and file.is_dir():
        file = file / "config.json"
    if file is None or not file.is_file():
        return None
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _scale_positions(config: Any, scaling: dict[str, Any]) -> None:
    """Add the scaling of a GGUF file to a configuration's `rope_parameters`, in place.

    Gemma 3 has parameters for each kind of layer, and scales those of full attention alone.
    """
    unscaled = config.rope_parameters
    if "full_attention" in unscaled:
        config.rope_parameters = {**unscaled, "full_attention": {**unscaled["full_attention"], **scaling}}
    else:
        config.rope_parameters = {**unscaled, **scaling}


# Names of the context length in configurations, the most usual first.
_CONTEXT_NAMES = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_seq_length",
    "seq_length", "seq_len", "context_length", "max_context_length", "block_size",
)  # fmt: skip


def context_of(config: Any) -> int | None:
    """The context length in tokens of a model of this configuration; None if the configuration does not say."""
    text_config = getattr(config, "text_config", None) or config
    lengths = (getattr(text_config, name, None) for name in _CONTEXT_NAMES)
    return next((length for length in lengths if type(length) is int and length > 0), None)


def context_length(spec: ModelSpec) -> int | None:
    """The context length in tokens of a spec's model; None if its configuration does not say."""
    return context_of(load_config(spec))


def load_model(spec: ModelSpec, device: str) -> "PreTrainedModel":
    """Load the causal language model of a spec, in evaluation mode, with its adapter and without its skipped layers.

    With `spec.device_map` the layers are spread over all GPUs of the process. accelerate's hooks then move the input of
    a layer to its GPU, and the model's output to the GPU of its input. The decoder's output stays on its last layer's
    GPU.

    Args:
        spec: The model.
        device: "cpu" or "cuda".

    Raises:
        UserError: If the model cannot be loaded, or fails a check of its weights or of its first logits.
    """
    from transformers.utils import logging

    from benchmark.models.adapters import with_adapter
    from benchmark.models.forward_checks import check_causal

    logging.disable_progress_bar()  # transformers shows a bar for every file; this project has bars of its own
    spec.check_device(device)
    if spec.quantization and spec.is_gguf:
        raise UserError(
            f"model {spec.model!r}: quantization: a GGUF file is dequantized when loaded; leave the field out"
        )
    model = through_unpacked(
        spec,
        spec.dtype,
        lambda: _read_model(spec, device),
        lambda read, folder: read.save_pretrained(folder),
        lambda folder: _read_model(spec, device, folder),
    )
    if spec.device_map:
        check_spread(spec, model)
    if spec.adapter:
        model = with_adapter(model, spec)
    if spec.skip_layers:
        remove_layers(model, spec)
    model.eval()
    check_causal(spec, model)
    return model  # type: ignore[no-any-return]


def load_trained(spec: ModelSpec, device: str, weights: Path | None) -> Any:
    """The model of a spec as training left it, in evaluation mode.

    An adapter gets the precision of its base model. peft's default, float32 beside bfloat16, doubles the time.

    Args:
        spec: The model before training.
        device: "cpu" or "cuda".
        weights: The folder with the trained adapter, or with all weights; None for the model before training.

    Raises:
        UserError: As `load_model` does.
    """
    if weights is None:
        return load_model(spec, device)
    if (weights / "adapter_config.json").is_file():
        from peft import PeftModel

        return PeftModel.from_pretrained(load_model(spec, device), weights, autocast_adapter_dtype=False).eval()
    options = spec.model_dump(include={"dtype", "trust_remote_code", "device_map"})
    return load_model(ModelSpec(model=str(weights.resolve()), **options), device)


def parameter_count(model: Any) -> int:
    """The number of a model's parameters without those of LoRA adapters. Packed weights of 4 bits count singly."""
    adapter = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    return int(model.num_parameters() - adapter)


def _read_model(spec: ModelSpec, device: str, unpacked: Path | None = None) -> Any:
    """Load the weights of a spec and check them.

    Args:
        spec: The model.
        device: "cpu" or "cuda".
        unpacked: A folder with the unpacked weights of its GGUF file, which were checked when they were unpacked.

    Raises:
        UserError: If the weights cannot be loaded or fail a check.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    name, where = (str(unpacked), {}) if unpacked else _source(spec)
    options: dict[str, Any] = {
        "dtype": getattr(torch, spec.dtype),
        "trust_remote_code": spec.trust_remote_code,
        "ignore_mismatched_sizes": True,  # check_loaded refuses them by name
        **where,
    }
    if "gguf_file" in where:
        # Without this, whether transformers dequantizes the weights depends on which other packages are installed.
        options["quantization_config"] = GgufConfig(dequantize=True)
    else:
        options["use_safetensors"] = True
    if spec.quantization:
        options["quantization_config"] = _quantization(spec)
    if spec.quantization or device == "cuda":
        options["device_map"] = spec.device_map or ({"": 0} if device == "cuda" else device)
    try:
        config = load_config(spec)
        if spec.local and spec.is_gguf:
            if not unpacked:
                check_tensors(spec.local, read_header(spec.local), skeleton(config))
            options["config"] = config
        else:
            check_size(spec, config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"model {spec.model!r}: cannot be loaded: {library_error(error)}") from None
    model, info = loaded
    check_loaded(spec, info)
    if not unpacked:
        check_tied(spec, model)
        check_finite(spec, model)
    return model


def _quantization(spec: ModelSpec) -> Any:
    """The configuration of bitsandbytes for 8-bit or 4-bit weights."""
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            f"model {spec.model!r}: quantization {spec.quantization!r} needs bitsandbytes; pip install '.[gpu]'"
        )
    compute = getattr(torch, spec.dtype)
    if spec.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def remove_layers(model: "PreTrainedModel", spec: ModelSpec) -> None:
    """Remove the decoder layers `spec.skip_layers` from a model, in place, and renumber the rest for the cache.

    Raises:
        UserError: If there are no such layers, or none would be left.
    """
    from torch import nn

    decoder: Any = model.get_decoder()
    lists = {
        name: part
        for name, part in decoder.named_children()
        if isinstance(part, nn.ModuleList) and len(part) == decoder.config.num_hidden_layers
    }
    if len(lists) != 1:
        raise UserError(
            f"model {spec.model!r}: skip_layers: this architecture has no list of decoder layers; leave the field out"
        )
    ((name, layers),) = lists.items()
    unknown = [number for number in spec.skip_layers if not 0 <= number < len(layers)]
    if unknown or len(set(spec.skip_layers)) >= len(layers):
        raise UserError(
            f"model {spec.model!r}: skip_layers: {unknown or 'all'} of {len(layers)} layers; name layers from 0 to "
            f"{len(layers) - 1} and keep at least one"
        )
    kept = [number for number in range(len(layers)) if number not in spec.skip_layers]
    remaining = nn.ModuleList(layers[number] for number in kept)
    setattr(decoder, name, remaining)
    config = decoder.config
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in kept]
    config.num_hidden_layers = len(kept)
    for index, layer in enumerate(remaining):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                setattr(module, "layer_idx", index)  # noqa: B010  # a module's attributes are typed as modules
