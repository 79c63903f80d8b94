"""From a model spec to a model and its tokenizer."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError, hide
from benchmark.models.checks import check_config, check_gguf, check_loaded, check_size, check_spread
from benchmark.models.spec import ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def _source(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` takes: name or path, and the arguments that say which files."""
    path = spec.local
    if path is None:
        return spec.model, {"revision": spec.revision}
    if path.is_file():
        check_gguf(path)
        return str(path.parent), {"gguf_file": path.name}
    return str(path), {}


@lru_cache(maxsize=4)
def load_tokenizer(
    model: str, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerFast":
    """The model's own tokenizer, a fast one, since scores live on character offsets.

    Raises UserError if it cannot be loaded or has no offsets.
    """
    from transformers import AutoTokenizer

    name, where = _source(ModelSpec(model=model, revision=revision))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code, **where)
    except Exception as error:  # the libraries raise many kinds for a broken file; each means the same to the user
        raise UserError(f"model {model!r}: its tokenizer cannot be loaded: {_first_line(error)}") from None
    if not tokenizer.is_fast:
        raise UserError(
            f"model {model!r}: its tokenizer {type(tokenizer).__name__} gives no character offsets; "
            "add a tokenizer.json (a fast tokenizer) to the model's folder"
        )
    return tokenizer  # type: ignore[return-value]  # a fast one, as just checked


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
        raise UserError(f"model {spec.model!r}: its configuration cannot be loaded: {_first_line(error)}") from None
    check_config(spec, config)
    return config


def context_length(spec: ModelSpec) -> int | None:
    """How many tokens the model takes, or None where its configuration does not say."""
    config = load_config(spec)
    config = getattr(config, "text_config", None) or config
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if length else None


def load_model(spec: ModelSpec, device: str) -> "PreTrainedModel":
    """A fresh causal language model in evaluation mode on `device` ("cpu" or "cuda"), `spec.skip_layers` left out.

    With `spec.device_map` its layers lie on all GPUs of the process. Their hooks move what a layer reads to where it
    lies, and what the whole model gives to where its input was; the decoder's own output stays with its last layer.

    Raises UserError if it cannot be loaded, one line saying what is missing.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for every file and tensor; this project shows its own
    spec.check_device(device)
    if spec.quantization and spec.local and spec.local.is_file():
        raise UserError(f"model {spec.model!r}: quantization: a GGUF file is unpacked when read; leave the field out")
    name, where = _source(spec)
    options: dict[str, Any] = {
        "dtype": getattr(torch, spec.dtype),
        "trust_remote_code": spec.trust_remote_code,
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
        if "gguf_file" not in where:
            check_size(spec, load_config(spec))
        loaded: Any = AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"model {spec.model!r}: cannot be loaded: {_first_line(error)}") from None
    model, told = loaded
    check_loaded(spec, told)
    if spec.device_map:
        check_spread(spec, model)
    if spec.adapter:
        model = _with_adapter(model, spec)
    if spec.skip_layers:
        leave_out(model, spec)
    model.eval()
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


def _with_adapter(model: "PreTrainedModel", spec: ModelSpec) -> "PreTrainedModel":
    """The model with a peft adapter merged into its weights."""
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
        adapted: Any = PeftModel.from_pretrained(model, str(folder))
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"adapter {spec.adapter!r}: does not go with model {spec.model!r}: {_first_line(error)}"
        ) from None
    return merged


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


def _first_line(error: Exception) -> str:
    """An error of a library as one line of bounded length."""
    lines = [line.strip() for line in hide(str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[0][:200]}"
