"""From a model spec to a model and its tokenizer."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.checks import (
    check_config,
    check_finite,
    check_loaded,
    check_one_set_of_weights,
    check_size,
    check_spread,
    check_tied,
    skeleton,
)
from benchmark.models.gguf import check_is_read, check_tensors_are_read, read_header, rope_scaling
from benchmark.models.spec import ModelSpec
from benchmark.models.special_tokens import remove_appended

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def _source(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` takes: name or path, and the arguments that say which files."""
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
    """The model's own tokenizer, a fast one, since scores live on character offsets.

    It appends nothing to a text, whatever its files say: see `benchmark.models.special_tokens`.

    Raises UserError if it cannot be loaded or has no offsets.
    """
    from transformers import AutoTokenizer

    name, where = _source(ModelSpec(model=model, revision=revision))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code, **where)
    except Exception as error:  # the libraries raise many kinds for a broken file; each means the same to the user
        raise UserError(f"model {model!r}: its tokenizer cannot be loaded: {library_error(error)}") from None
    if not tokenizer.is_fast:
        raise UserError(
            f"model {model!r}: its tokenizer {type(tokenizer).__name__} gives no character offsets; "
            "add a tokenizer.json (a fast tokenizer) to the model's folder"
        )
    if "gguf_file" not in where:
        _check_splits_as_saved(model, revision, tokenizer)
    try:
        remove_appended(tokenizer)
    except UserError as error:
        raise UserError(f"model {model!r}: {error}") from None
    return tokenizer  # type: ignore[return-value]  # a fast one, as just checked


_SPLIT_PROBE = "In 1871, O'Neill's 12,345 birds\n\n  flew\tnorth: don't."


def _check_splits_as_saved(model: str, revision: str | None, tokenizer: Any) -> None:
    """Refuse a tokenizer whose class, named in tokenizer_config.json, splits text otherwise than its tokenizer.json.

    transformers 5 builds some classes anew and drops the pre-tokenizer of the file.
    """
    from huggingface_hub import try_to_load_from_cache
    from tokenizers import Tokenizer

    file = Path(tokenizer.name_or_path, "tokenizer.json")
    if not file.is_file():
        cached = try_to_load_from_cache(model, "tokenizer.json", revision=revision) if "/" in model else None
        if not isinstance(cached, str):
            return
        file = Path(cached)
    saved = Tokenizer.from_file(str(file))
    saved.no_truncation()
    saved.no_padding()
    ids = saved.encode(_SPLIT_PROBE, add_special_tokens=False).ids
    if tokenizer.encode(_SPLIT_PROBE, add_special_tokens=False) != ids:
        raise UserError(
            f"model {model!r}: {type(tokenizer).__name__}, the tokenizer_class of its tokenizer_config.json, splits "
            "text otherwise than its tokenizer.json; take tokenizer_class out of tokenizer_config.json"
        )


def tokenizer_of(spec: ModelSpec) -> "PreTrainedTokenizerFast":
    """`load_tokenizer` for a spec."""
    return load_tokenizer(spec.model, spec.revision, spec.trust_remote_code)


def load_config(spec: ModelSpec) -> Any:
    """The model's transformers configuration, as it is without `skip_layers`. No weights are read.

    Raises UserError if it cannot be loaded, or counts what no model has.
    """
    from transformers import AutoConfig

    name, where = _source(spec)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=spec.trust_remote_code, **where)
    except Exception as error:
        raise UserError(f"model {spec.model!r}: its configuration cannot be loaded: {library_error(error)}") from None
    check_config(spec, config)
    if "gguf_file" in where and spec.local:
        header = read_header(spec.local)
        if scaling := rope_scaling(spec.local, header):
            _scale_positions(config, scaling)
        check_is_read(spec.local, header, config)
    return config


def _scale_positions(config: Any, scaling: dict[str, Any]) -> None:
    """Put `rope_parameters` that a GGUF file asks for into its configuration, in place.

    Gemma 3 has one set for each kind of layer, and scales those of full attention alone.
    """
    given = config.rope_parameters
    if "full_attention" in given:
        config.rope_parameters = {**given, "full_attention": {**given["full_attention"], **scaling}}
    else:
        config.rope_parameters = {**given, **scaling}


# Names that configurations have for the longest text, the most usual first.
_CONTEXT = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_seq_length",
    "seq_length", "seq_len", "context_length", "max_context_length", "block_size",
)  # fmt: skip


def context_of(config: Any) -> int | None:
    """How many tokens a model of this configuration takes, None where it does not say."""
    text = getattr(config, "text_config", None) or config
    lengths = (getattr(text, name, None) for name in _CONTEXT)
    return next((length for length in lengths if type(length) is int and length > 0), None)


def context_length(spec: ModelSpec) -> int | None:
    """How many tokens the model takes, or None where its configuration does not say."""
    return context_of(load_config(spec))


def load_model(spec: ModelSpec, device: str) -> "PreTrainedModel":
    """A fresh causal language model in evaluation mode on `device` ("cpu" or "cuda"), `spec.skip_layers` left out.

    With `spec.device_map` its layers lie on all GPUs of the process. Their hooks move what a layer reads to where it
    lies, and what the whole model gives to where its input was; the decoder's own output stays with its last layer.

    Raises UserError if it cannot be loaded, one line saying what is missing.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils import logging

    from benchmark.models.adapters import with_adapter
    from benchmark.models.behaviour import check_causal

    logging.disable_progress_bar()  # a bar for every file and tensor; this project shows its own
    spec.check_device(device)
    if spec.quantization and spec.local and spec.local.is_file():
        raise UserError(f"model {spec.model!r}: quantization: a GGUF file is unpacked when read; leave the field out")
    name, where = _source(spec)
    options: dict[str, Any] = {
        "dtype": getattr(torch, spec.dtype),
        "trust_remote_code": spec.trust_remote_code,
        "ignore_mismatched_sizes": True,  # they are refused below, by name
        **where,
    }
    if "gguf_file" in where:
        # Said outright: left to itself, transformers unpacks or keeps the blocks by what else is installed.
        options["quantization_config"] = GgufConfig(dequantize=True)
    else:
        options["use_safetensors"] = True
    if spec.quantization:
        options["quantization_config"] = _quantization(spec)
    if spec.quantization or device == "cuda":
        options["device_map"] = spec.device_map or ({"": 0} if device == "cuda" else device)
    try:
        config = load_config(spec)
        if spec.local and spec.local.is_file():
            check_tensors_are_read(spec.local, read_header(spec.local), skeleton(config))
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
    check_tied(spec, model)
    check_finite(spec, model)
    if spec.device_map:
        check_spread(spec, model)
    if spec.adapter:
        model = with_adapter(model, spec)
    if spec.skip_layers:
        leave_out(model, spec)
    model.eval()
    check_causal(spec, model)
    return model  # type: ignore[no-any-return]


def _quantization(spec: ModelSpec) -> Any:
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


def leave_out(model: "PreTrainedModel", spec: ModelSpec) -> None:
    """Take decoder layers out of a model, in place, and renumber the rest for the key-value cache.

    Raises UserError if there are no such layers, or if none would be left.
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
            f"model {spec.model!r}: skip_layers: this architecture has no list of decoder layers; leave it out"
        )
    ((name, layers),) = lists.items()
    unknown = [number for number in spec.skip_layers if not 0 <= number < len(layers)]
    if unknown or len(set(spec.skip_layers)) >= len(layers):
        raise UserError(
            f"model {spec.model!r}: skip_layers: {unknown or 'all'} of {len(layers)} layers; keep one, count from 0"
        )
    kept = [number for number in range(len(layers)) if number not in spec.skip_layers]
    left = nn.ModuleList(layers[number] for number in kept)
    setattr(decoder, name, left)
    config = decoder.config
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in kept]
    config.num_hidden_layers = len(kept)
    for place, layer in enumerate(left):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                setattr(module, "layer_idx", place)  # noqa: B010  # a module's attributes are typed as modules
