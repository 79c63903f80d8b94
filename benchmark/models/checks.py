"""What is looked at of a model before its libraries read it: counts that would have them run on, or fill all memory."""

import math
import mmap
import re
import struct
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.models.spec import ModelSpec

MOST_PARTS = 1000  # layers, or experts of a layer; the largest models have some hundreds
PER_BYTE = 16  # parameters that a byte of weights may stand for; 2 bits each, the fewest in use, are 4

_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by type of value
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_GGUF_NESTED = 4


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


def check_size(spec: ModelSpec, config: Any) -> None:
    """Raise UserError if a configuration asks for far more parameters than the weights beside it can hold.

    Only of a folder: what comes from the hub is not there yet. The model is built without memory for its parameters.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = spec.local
    if folder is None or spec.trust_remote_code:
        return
    held = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    asked = sum(parameter.numel() for parameter in skeleton.parameters())
    if asked > PER_BYTE * held:
        raise UserError(
            f"model {spec.model!r}: cannot be loaded: its configuration asks for {asked:,} parameters, which weights "
            f"of {held:,} bytes cannot hold; mend its config.json, or fetch the weights anew"
        )


def check_loaded(spec: ModelSpec, info: dict[str, Any]) -> None:
    """Raise UserError if the weights lack a parameter of the model, which would be left to chance.

    `info` is what transformers tells of the loading.
    """
    if missing := sorted(info["missing_keys"]):
        raise UserError(
            f"model {spec.model!r}: its weights lack {len(missing)} of its parameters, as {missing[0]}; give a folder "
            "with all of them"
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


def check_gguf(path: Path) -> None:
    """Raise UserError if a GGUF file is none, or counts more values, strings or tensors than its bytes can hold."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Gguf(data).check()
    except (ValueError, OSError, struct.error, OverflowError) as error:
        reason = "ends too early" if isinstance(error, struct.error) else str(error)
        raise UserError(f"model {str(path)!r}: no whole GGUF file: {reason}; fetch it anew") from None


class _Gguf:
    """A walk over the header of a GGUF file, as the format's own description lays it out; ValueError if it lies."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place, self.order = data, 0, "<"

    def check(self) -> None:
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self.place = 4
        if self._number("I") & 0xFFFF == 0:  # a version so large is a small one of the other byte order
            self.order = ">"
        tensors, values = self._number("Q"), self._number("Q")
        self._room(tensors, 24)
        self._room(values, 13)
        for _ in range(values):
            key = self._string()
            kind = self._number("I")
            start = self.place
            self._skip(kind, 0)
            if key.endswith(b".block_count") and _GGUF_SIZES.get(kind) in (4, 8):
                layers = int.from_bytes(self.data[start : self.place], "little" if self.order == "<" else "big")
                if not 1 <= layers <= MOST_PARTS:
                    raise ValueError(f"{layers} layers, not 1 to {MOST_PARTS:,}")
        for _ in range(tensors):
            self._string()
            dimensions = self._number("I")
            self._room(dimensions, 8)
            shape = [self._number("Q") for _ in range(dimensions)]
            if math.prod(shape) > PER_BYTE * len(self.data):
                raise ValueError("a tensor of more numbers than the file can hold")
            self._forward(12)  # its type and where it lies

    def _skip(self, kind: int, nested: int) -> None:
        if kind == _GGUF_STRING:
            self._string()
        elif kind == _GGUF_ARRAY and nested < _GGUF_NESTED:
            inner, count = self._number("I"), self._number("Q")
            if inner in _GGUF_SIZES:
                self._forward(count * _GGUF_SIZES[inner])
            else:
                self._room(count, 8)
                for _ in range(count):
                    self._skip(inner, nested + 1)
        elif kind in _GGUF_SIZES:
            self._forward(_GGUF_SIZES[kind])
        else:
            raise ValueError(f"a value of type {kind}")

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
