"""GGUF files: their header, and what transformers makes no use of when it loads one.

transformers reads the keys and tensors that it has a name for, and drops the others in silence. A dropped key may
change every logit: how positions are scaled, a soft cap, a window. Scaled positions are carried over to the
configuration here; any other key that matters is refused by name.
"""

import math
import mmap
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.models.checks import MOST_PARTS, PER_BYTE

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by type of value
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_NESTED = 4

ROPE_FREQS = "rope_freqs.weight"
_FLOAT32 = 0  # the type of a tensor

# How a byte-level vocabulary splits text where transformers keeps GPT-2's own way. Those it has a way for are its own.
_SPLIT_LIKE_GPT2 = {"default", "gpt-2", "gpt2", "jais", "mpt", "olmo", "phi-2"}
# These split every digit off besides; their vocabularies have no token of two digits, so the tokens are the same.
_SPLIT_DIGITS = {"smollm"}

# Keys of an architecture that describe the file or repeat the shapes of tensors.
_WITHOUT_EFFECT = {
    "attention.causal", "block_count", "context_length", "embedding_length", "expert_count",
    "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_used_count", "feed_forward_length",
    "pooling_type", "rope.scaling.finetuned", "tensor_data_layout",
}  # fmt: skip
_CARRIED_OVER = {
    "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scale_linear"
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself.

    Attributes:
        values: Numbers, truths and texts by key; of arrays, only their lengths are kept.
        tensors: Names with shapes, the dimension that moves fastest first.
        data: Names of tensors with their type and where they lie, in bytes from the start of the tensor data.
        start: Where the tensor data starts, in bytes.
    """

    values: dict[str, int | float | bool | str] = field(default_factory=dict)
    tensors: dict[str, list[int]] = field(default_factory=dict)
    data: dict[str, tuple[int, int]] = field(default_factory=dict)
    start: int = 0

    @property
    def architecture(self) -> str:
        """Its name of the architecture, the prefix of the architecture's keys."""
        return str(self.values.get("general.architecture", ""))

    def of_architecture(self) -> dict[str, int | float | bool | str]:
        """The architecture's keys, without its name in front."""
        prefix = f"{self.architecture}."
        return {key.removeprefix(prefix): value for key, value in self.values.items() if key.startswith(prefix)}


def read_header(path: Path) -> Header:
    """The header of a GGUF file.

    Raises UserError if it is no GGUF file, counts more values, strings or tensors than its bytes can hold, or is only
    a part of a model or something beside one.
    """
    try:
        state = path.stat()
        header = _read_header(path, state.st_mtime_ns, state.st_size)
    except (ValueError, OSError, struct.error, OverflowError) as error:
        reason = "ends too early" if isinstance(error, struct.error) else str(error)
        raise UserError(f"model {str(path)!r}: no whole GGUF file: {reason}; fetch it anew") from None
    _check_kind(path, header)
    return header


def _check_kind(path: Path, header: Header) -> None:
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


@lru_cache(maxsize=8)  # by time and size as well, so that a file that was written anew is read anew
def _read_header(path: Path, changed: int, size: int) -> Header:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Walk(data).read()


def rope_scaling(path: Path, header: Header) -> dict[str, Any]:
    """How a GGUF file scales rotary positions, as `rope_parameters` of transformers without the base; empty if not.

    Llama 3.1 and its like have no key for it, but a tensor of one factor per frequency, from which the four numbers of
    the configuration are found again.

    Raises:
        UserError: If positions are scaled in a way that has no such parameters.
    """
    said = header.of_architecture()
    kind = str(said.get("rope.scaling.type", "none"))
    factor = said.get("rope.scaling.factor", said.get("rope.scale_linear"))
    if ROPE_FREQS in header.tensors:
        if kind != "none":
            raise _unused(path, ROPE_FREQS)
        return _llama3_scaling(path, header)
    if kind == "none" and factor in (None, 0, 1):
        return {}
    if not isinstance(factor, int | float) or kind not in ("none", "linear", "yarn"):
        raise _unused(path, f"{header.architecture}.rope.scaling.type = {kind}")
    found: dict[str, Any] = {"rope_type": "linear" if kind == "none" else kind, "factor": float(factor)}
    if kind == "yarn":
        if not (original := said.get("rope.scaling.original_context_length")):
            raise _unused(path, f"{header.architecture}.rope.scaling.type = yarn without an original_context_length")
        found["original_max_position_embeddings"] = original
    return found


def check_is_read(path: Path, header: Header, config: Any) -> None:
    """Raise UserError if a key of the file that may change a logit or a token is used by nothing.

    Args:
        path: The file.
        header: Its header.
        config: The configuration that transformers makes of it.
    """
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

    if header.architecture in ("llama", "mistral") and "attention.head_count_kv" not in header.of_architecture():
        raise UserError(
            f"model {str(path)!r}: its header lacks {header.architecture}.attention.head_count_kv, without which its "
            "attention weights are read in the wrong order; convert the model anew, or give its folder"
        )
    if header.architecture not in GGUF_CONFIG_ARCHS:  # those have readers of their own, which say nothing of keys
        tables: Any = GGUF_CONFIG_MAPPING
        read = tables.get(config.model_type.removesuffix("_text"), {})
        unused = {key: value for key, value in header.of_architecture().items() if read.get(key) is None}
        for key, value in unused.items():
            if not _is_without_effect(key, value, config):
                raise _unused(path, f"{header.architecture}.{key} = {value}")
    _check_split(path, header)


def check_tensors_are_read(path: Path, header: Header, model: Any) -> None:
    """Raise UserError if a tensor of the file has no place in the model, which needs no memory for its parameters."""
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    if header.architecture in GGUF_CONFIG_ARCHS:
        return
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=model.config.to_dict())
    known = get_gguf_hf_weights_map(model, processor)
    left = [name for name in header.tensors if name not in known and name != ROPE_FREQS]
    if left and not hasattr(processor, "GGUF_MOE_WEIGHTS_PATTERN"):  # those are split and merged under other names
        raise UserError(
            f"model {str(path)!r}: transformers makes no use of {len(left)} of its tensors, as {left[0]}; give the "
            "model's folder with safetensors instead"
        )


def _is_without_effect(key: str, value: object, config: Any) -> bool:
    """Whether a key that nobody reads says only what the configuration has anyway."""
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    share = (getattr(config, "rope_parameters", None) or {}).get("partial_rotary_factor", 1.0)
    same = {
        "rope.dimension_count": int(width * share),
        "attention.key_length": width,
        "attention.value_length": width,
        "vocab_size": config.vocab_size,
        "attn_logit_softcapping": getattr(config, "attn_logit_softcapping", None),
        "final_logit_softcapping": getattr(config, "final_logit_softcapping", None),
        "attention.sliding_window": getattr(config, "sliding_window", None),
    }
    if key in same:
        return bool(value == same[key])
    return key in _CARRIED_OVER or (key in _WITHOUT_EFFECT and value is not False)


def _check_split(path: Path, header: Header) -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if header.values.get("tokenizer.ggml.model") != "gpt2":
        return
    split = header.values.get("tokenizer.ggml.pre")
    if split is None:
        raise UserError(
            f"model {str(path)!r}: its header lacks tokenizer.ggml.pre, which says how text is split into tokens, as "
            "files from before May 2024 do; convert the model anew, or give its folder"
        )
    if split not in _SPLIT_LIKE_GPT2 | _SPLIT_DIGITS | set(GGUF_PRE_TOKENIZER_SPLITS):
        raise _unused(path, f"tokenizer.ggml.pre = {split}, which says how text is split into tokens")


def _llama3_scaling(path: Path, header: Header) -> dict[str, Any]:
    factors = _floats(path, header, ROPE_FREQS)
    base = float(header.of_architecture().get("rope.freq_base", 10000.0))
    for original in (8192, 4096, 16384, 32768):
        found = {
            "rope_type": "llama3",
            "factor": max(factors),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": original,
        }
        expected = _llama3_factors(len(factors), base, max(factors), original)
        if all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(factors, expected, strict=True)):
            return found if max(factors) > 1 else {}
    raise _unused(path, ROPE_FREQS)


def _llama3_factors(count: int, base: float, factor: float, original: int) -> list[float]:
    """By what Llama 3.1 divides each frequency, with low and high frequency factors 1 and 4 (transformers' formula)."""
    factors = []
    for place in range(count):
        wavelength = 2 * math.pi * base ** (place / count)
        smooth = min(1.0, max(0.0, (original / wavelength - 1) / 3))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _floats(path: Path, header: Header, name: str) -> list[float]:
    kind, place = header.data[name]
    count = math.prod(header.tensors[name])
    if kind != _FLOAT32:
        raise _unused(path, name)
    with path.open("rb") as file:
        file.seek(header.start + place)
        return list(struct.unpack(f"<{count}f", file.read(4 * count)))


def _unused(path: Path, what: str) -> UserError:
    return UserError(
        f"model {str(path)!r}: transformers makes no use of {what}, so its numbers would be wrong; give the model's "
        "folder with safetensors instead"
    )


class _Walk:
    """A walk over the header of a GGUF file, as the format's own description lays it out; ValueError if it lies."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place, self.order = data, 0, "<"

    def read(self) -> Header:
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self.place = 4
        if self._number("I") & 0xFFFF == 0:  # a version so large is a small one of the other byte order
            self.order = ">"
        tensors, values = self._number("Q"), self._number("Q")
        self._room(tensors, 24)
        self._room(values, 13)
        said: dict[str, int | float | bool | str] = {}
        for _ in range(values):
            key = self._string().decode("utf-8", "replace")
            value = self._value(self._number("I"), 0)
            if value is not None:
                said[key] = value
            if key.endswith(".block_count") and type(value) is int and not 1 <= value <= MOST_PARTS:
                raise ValueError(f"{value} layers, not 1 to {MOST_PARTS:,}")
        shapes: dict[str, list[int]] = {}
        data: dict[str, tuple[int, int]] = {}
        for _ in range(tensors):
            name = self._string().decode("utf-8", "replace")
            dimensions = self._number("I")
            self._room(dimensions, 8)
            shapes[name] = [self._number("Q") for _ in range(dimensions)]
            if math.prod(shapes[name]) > PER_BYTE * len(self.data):
                raise ValueError("a tensor of more numbers than the file can hold")
            data[name] = (self._number("I"), self._number("Q"))
        alignment = said.get("general.alignment", 32)
        step = alignment if type(alignment) is int and alignment > 0 else 32
        return Header(said, shapes, data, -(-self.place // step) * step)

    def _value(self, kind: int, nested: int) -> int | float | bool | str | None:
        """A number, truth or text; None of an array, which is walked over."""
        if kind == _STRING:
            length = self._number("Q")
            self._forward(length)
            return self.data[self.place - length : self.place].decode("utf-8", "replace")
        if kind == _ARRAY and nested < _NESTED:
            inner, count = self._number("I"), self._number("Q")
            if inner in _SIZES:
                self._forward(count * _SIZES[inner])
            else:
                self._room(count, 8)
                for _ in range(count):
                    self._skip(inner, nested + 1)
            return None
        if kind in _SIZES:
            (value,) = struct.unpack_from(f"{self.order}{_FORMATS[kind]}", self.data, self.place)
            self.place += _SIZES[kind]
            return value  # type: ignore[no-any-return]
        raise ValueError(f"a value of type {kind}")

    def _skip(self, kind: int, nested: int) -> None:
        if kind == _STRING:
            self._string()
        else:
            self._value(kind, nested)

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"{self.order}{kind}", self.data, self.place)
        self.place += struct.calcsize(f"<{kind}")
        return int(value)

    def _string(self) -> bytes:
        length = self._number("Q")
        self._forward(length)
        return self.data[max(self.place - length, self.place - 200) : self.place]

    def _forward(self, size: int) -> None:
        self._room(size, 1)
        self.place += size

    def _room(self, count: int, size: int) -> None:
        if count * size > len(self.data) - self.place:
            raise ValueError(
                f"{count:,} of what takes {size} bytes or more, in the {len(self.data):,} bytes of the file"
            )
