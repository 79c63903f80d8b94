"""GGUF files: read what their header says, and refuse a header of which transformers ignores a part that matters.

transformers reads the header and loads the tensors. It ignores keys and tensors that it has no name for, without a
word. An ignored key may change every logit: a scaling of positions, a soft cap, a window. Here a scaling of positions
is copied into the configuration; any other ignored key that matters is refused by name.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, library_error
from benchmark.models.static_checks import MOST_LAYERS_OR_EXPERTS

ROPE_FREQS = "rope_freqs.weight"

# Names of ways to split text into tokens that are GPT-2's own, which transformers takes for names it does not know.
_SPLIT_LIKE_GPT2 = {"default", "gpt-2", "gpt2", "jais", "mpt", "olmo", "phi-2"}
# These also split off every digit. Their vocabularies have no token of two digits, so the tokens are the same.
_SPLIT_DIGITS = {"smollm"}

# Keys of an architecture that describe the file or repeat the shapes of tensors.
_WITHOUT_EFFECT = {
    "attention.causal", "block_count", "context_length", "embedding_length", "expert_count",
    "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_used_count", "feed_forward_length",
    "pooling_type", "rope.scaling.finetuned", "tensor_data_layout",
}  # fmt: skip
_COPIED_BY_ROPE_SCALING = {
    "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scale_linear"
}  # fmt: skip

_Value = int | float | bool | str


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file.

    Attributes:
        values: Numbers, truth values and strings by key; arrays are left out.
        tensors: Names of the tensors.
    """

    values: dict[str, _Value]
    tensors: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """The architecture's name in GGUF, which is the prefix of its keys."""
        return str(self.values["general.architecture"])

    def of_architecture(self) -> dict[str, _Value]:
        """The architecture's keys without their prefix, with their values."""
        prefix = f"{self.architecture}."
        return {key.removeprefix(prefix): value for key, value in self.values.items() if key.startswith(prefix)}


def read_header(path: Path) -> Header:
    """The header of a GGUF file.

    Raises:
        UserError: If it is no whole GGUF file, has more layers than any model, or holds a part of a model or something
            else than a model.
    """
    try:
        state = path.stat()
        header = _read_header(path, state.st_mtime_ns, state.st_size)
    except Exception as error:  # the reader raises many kinds for a broken file; each means the same to the user
        raise UserError(
            f"model {str(path)!r}: is no whole GGUF file: {library_error(error)}; download it again"
        ) from None
    _check_kind(path, header)
    return header


@lru_cache(maxsize=8)  # keyed by time and size as well, so that a changed file is read again
def _read_header(path: Path, changed: int, size: int) -> Header:
    from transformers.integrations.gguf.reader import read_gguf_metadata

    values, tensors = read_gguf_metadata(str(path))
    return Header({key: value for key, value in values.items() if isinstance(value, _Value)}, tensors)


def _check_kind(path: Path, header: Header) -> None:
    """Refuse a part of a split model, a file of something else than a model, and an absurd number of layers."""
    kind, parts = header.values.get("general.type", "model"), header.values.get("split.count", 1)
    if type(parts) is int and parts > 1:
        raise UserError(
            f"model {str(path)!r}: is one of {parts} parts of a split model; merge them with llama-gguf-split --merge "
            "and give the whole"
        )
    if kind != "model":
        raise UserError(
            f"model {str(path)!r}: its general.type is {kind!r}, so it holds no whole model; give the model's own file"
        )
    layers = header.of_architecture().get("block_count")
    if type(layers) is int and not 1 <= layers <= MOST_LAYERS_OR_EXPERTS:
        raise UserError(
            f"model {str(path)!r}: its {header.architecture}.block_count is {layers}, not 1 to "
            f"{MOST_LAYERS_OR_EXPERTS:,}; download it again"
        )


def rope_scaling(path: Path, header: Header) -> dict[str, Any]:
    """How a GGUF file scales rotary positions, as transformers' `rope_parameters` without the base; empty if unscaled.

    Llama 3.1 and its successors have no key for it. They have a tensor with a factor per frequency, from which the four
    numbers of the configuration are reconstructed.

    Raises:
        UserError: If transformers has no such scaling.
    """
    keys = header.of_architecture()
    kind = str(keys.get("rope.scaling.type", "none"))
    factor = keys.get("rope.scaling.factor", keys.get("rope.scale_linear"))
    if ROPE_FREQS in header.tensors:
        if kind != "none":
            raise _ignored(path, ROPE_FREQS)
        return _llama3_scaling(path, header)
    if kind == "none" and factor in (None, 0, 1):
        return {}
    if not isinstance(factor, int | float) or kind not in ("none", "linear", "yarn"):
        raise _ignored(path, f"{header.architecture}.rope.scaling.type = {kind}")
    scaling: dict[str, Any] = {"rope_type": "linear" if kind == "none" else kind, "factor": float(factor)}
    if kind == "yarn":
        if not (original_length := keys.get("rope.scaling.original_context_length")):
            raise _ignored(path, f"{header.architecture}.rope.scaling.type = yarn without an original_context_length")
        scaling["original_max_position_embeddings"] = original_length
    return scaling


def check_keys(path: Path, header: Header, config: Any) -> None:
    """Refuse a file with a key that may change a logit or a token and that transformers ignores.

    Args:
        path: The file.
        header: Its header.
        config: The configuration that transformers makes of it.

    Raises:
        UserError: With the name of such a key, or of a key without which transformers reads the file wrongly.
    """
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

    if header.architecture in ("llama", "mistral") and "attention.head_count_kv" not in header.of_architecture():
        raise UserError(
            f"model {str(path)!r}: its header lacks {header.architecture}.attention.head_count_kv, without which its "
            "attention weights are read in the wrong order; convert the model again, or give its folder"
        )
    # Architectures in GGUF_CONFIG_ARCHS have a reader of their own, which has no table of the keys that it reads.
    if header.architecture not in GGUF_CONFIG_ARCHS:
        tables: Any = GGUF_CONFIG_MAPPING
        known = tables.get(config.model_type.removesuffix("_text"), {})
        ignored = {key: value for key, value in header.of_architecture().items() if known.get(key) is None}
        for key, value in ignored.items():
            if not _is_without_effect(key, value, config):
                raise _ignored(path, f"{header.architecture}.{key} = {value}")
    _check_split(path, header)


def check_tensors(path: Path, header: Header, model: Any) -> None:
    """Refuse a file with a tensor that transformers does not load.

    Args:
        path: The file.
        header: Its header.
        model: A model of the file's configuration; its parameters may lie on the meta device.

    Raises:
        UserError: With the name of such a tensor.
    """
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    if header.architecture in GGUF_CONFIG_ARCHS:
        return
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=model.config.to_dict())
    known = get_gguf_hf_weights_map(model, processor)
    ignored = [name for name in header.tensors if name not in known and name != ROPE_FREQS]
    # Weights of a mixture of experts are split and merged under other names, so their names say nothing.
    if ignored and not hasattr(processor, "GGUF_MOE_WEIGHTS_PATTERN"):
        raise UserError(
            f"model {str(path)!r}: transformers ignores {len(ignored)} of its tensors, for example {ignored[0]}; give "
            "the model's folder with safetensors instead"
        )


def _is_without_effect(key: str, value: object, config: Any) -> bool:
    """Whether an ignored key only repeats what the configuration says."""
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    share = (getattr(config, "rope_parameters", None) or {}).get("partial_rotary_factor", 1.0)
    configured = {
        "rope.dimension_count": int(width * share),
        "attention.key_length": width,
        "attention.value_length": width,
        "vocab_size": config.vocab_size,
        "attn_logit_softcapping": getattr(config, "attn_logit_softcapping", None),
        "final_logit_softcapping": getattr(config, "final_logit_softcapping", None),
        "attention.sliding_window": getattr(config, "sliding_window", None),
    }
    if key in configured:
        return bool(value == configured[key])
    return key in _COPIED_BY_ROPE_SCALING or (key in _WITHOUT_EFFECT and value is not False)


def _check_split(path: Path, header: Header) -> None:
    """Refuse a byte-level tokenizer whose way to split text is missing or unknown to transformers."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if header.values.get("tokenizer.ggml.model") != "gpt2":
        return
    split = header.values.get("tokenizer.ggml.pre")
    if split is None:
        raise UserError(
            f"model {str(path)!r}: its header lacks tokenizer.ggml.pre, which says how text is split into tokens, as "
            "files from before May 2024 do; convert the model again, or give its folder"
        )
    if split not in _SPLIT_LIKE_GPT2 | _SPLIT_DIGITS | set(GGUF_PRE_TOKENIZER_SPLITS):
        raise _ignored(path, f"tokenizer.ggml.pre = {split}, which says how text is split into tokens")


def _llama3_scaling(path: Path, header: Header) -> dict[str, Any]:
    """The `rope_parameters` of Llama 3.1 that give the factors of the tensor ROPE_FREQS."""
    factors = _rope_freqs(path)
    base = float(header.of_architecture().get("rope.freq_base", 10000.0))
    for original_length in (8192, 4096, 16384, 32768):
        expected = _llama3_factors(len(factors), base, max(factors), original_length)
        if all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(factors, expected, strict=True)):
            scaling = {
                "rope_type": "llama3",
                "factor": max(factors),
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": original_length,
            }
            return scaling if max(factors) > 1 else {}
    raise _ignored(path, ROPE_FREQS)


def _llama3_factors(count: int, base: float, factor: float, original_length: int) -> list[float]:
    """The numbers by which Llama 3.1 divides its frequencies, with low_freq_factor 1 and high_freq_factor 4."""
    factors = []
    for number in range(count):
        wavelength = 2 * math.pi * base ** (number / count)
        smooth = min(1.0, max(0.0, (original_length / wavelength - 1) / 3))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _rope_freqs(path: Path) -> list[float]:
    """The float32 numbers of the tensor ROPE_FREQS."""
    from gguf import GGMLQuantizationType, GGUFReader

    tensor = next(tensor for tensor in GGUFReader(path).tensors if tensor.name == ROPE_FREQS)
    if tensor.tensor_type != GGMLQuantizationType.F32:
        raise _ignored(path, ROPE_FREQS)
    return [float(number) for number in tensor.data]


def _ignored(path: Path, what: str) -> UserError:
    return UserError(
        f"model {str(path)!r}: transformers ignores {what}, so its numbers would be wrong; give the model's folder "
        "with safetensors instead"
    )
