"""GGUF models unpacked once, into files that load in seconds: configuration, tokenizer, and weights as safetensors.

transformers parses a GGUF header in Python for the configuration, for the tokenizer and for the weights, and then
dequantizes the weights: a minute for a vocabulary of 150,000, in every process anew. A process that runs within
`unpacked_in` keeps the results and loads them from then on, with the same bits.

    STORE/.unpacked/<hash of the GGUF file>/config/       config.json
    STORE/.unpacked/<hash of the GGUF file>/tokenizer/    the tokenizer's files
    STORE/.unpacked/<hash of the GGUF file>/<dtype>/      weights; layers are left out after loading
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from benchmark.core.files import sync_folder, sync_tree
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import Store

_UNPACKED = ".unpacked"
_AS_FILE = "read_the_file"  # marks a part that did not come back the same: it is read from the GGUF file as before
_SET_BY_CLASS = ("padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces")
_T = TypeVar("_T")


class _Place(NamedTuple):
    store: Path
    writes: bool

    def folder(self, spec: ModelSpec, part: str) -> Path:
        return self.store / _UNPACKED / _hash_of(spec) / part


_place: ContextVar[_Place | None] = ContextVar("place", default=None)


@contextmanager
def unpacked_in(store: Path, writes: bool = True) -> Iterator[None]:
    """Within the block, load GGUF models from the unpacked files in a store.

    Args:
        store: The root of the store.
        writes: Unpack what is not there yet; otherwise it is read from the GGUF file, and nothing is written.
    """
    token = _place.set(_Place(store, writes))
    try:
        yield
    finally:
        _place.reset(token)


def through_unpacked(
    spec: ModelSpec,
    part: str,
    read: Callable[[], _T],
    save: Callable[[_T, Path], None],
    load: Callable[[Path], _T],
    same: Callable[[_T, _T], bool] | None = None,
) -> _T:
    """What `read` gives, from the unpacked files if there are any.

    Args:
        spec: The model; for anything but a local GGUF file, and outside of `unpacked_in`, this only calls `read`.
        part: The name of the part.
        read: Reads the part from the GGUF file.
        save: Writes it to a folder.
        load: Reads it from that folder.
        same: Whether what was loaded equals what was saved. If not, the part is always read from the GGUF file. None
            for tensors, which safetensors keeps bit for bit.

    Raises:
        UserError: The part cannot be read, or the store's file system has no locks.
        OSError: The part cannot be written.
    """
    place = _place.get()
    if place is None or not spec.is_gguf:
        return read()
    folder = place.folder(spec, part)
    if not folder.exists():
        if not place.writes:
            return read()
        name = f"unpacked-{folder.parent.name}-{part}"
        with Store(place.store).locked(name):  # the second of two workers waits, and loads
            if not folder.exists():
                return _unpack(folder, place.store / ".tmp" / name, read, save, load, same)
    return read() if (folder / _AS_FILE).exists() else load(folder)


def _unpack(
    folder: Path,
    temporary: Path,
    read: Callable[[], _T],
    save: Callable[[_T, Path], None],
    load: Callable[[Path], _T],
    same: Callable[[_T, _T], bool] | None,
) -> _T:
    """Read a part and save it to a folder, which appears in one rename. The caller holds the lock."""
    value = read()
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save(value, temporary)
        if same is not None and not same(load(temporary), value):
            shutil.rmtree(temporary)
            temporary.mkdir()
            (temporary / _AS_FILE).touch()
        sync_tree(temporary)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return value


def is_unpacked(store: Path, spec: ModelSpec) -> bool:
    """Whether the weights of a GGUF file are unpacked in a store, in the spec's dtype."""
    return _Place(store, False).folder(spec, spec.dtype).exists()


def remove_unpacked(store: Path, specs: Iterable[ModelSpec], dry_run: bool = False) -> list[int]:
    """Remove the unpacked files of some models from a store; with `dry_run`, only count them.

    Returns:
        The bytes of each GGUF file's unpacked files, in every dtype.
    """
    folders = {store / _UNPACKED / _hash_of(spec) for spec in specs if spec.is_gguf}
    sizes = []
    for folder in sorted(folder for folder in folders if folder.exists()):
        sizes.append(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        if not dry_run:
            shutil.rmtree(folder)
    return sizes


def same_config(a: Any, b: Any) -> bool:
    """Whether two configurations are of the same class and content, apart from where they were read."""
    return type(a) is type(b) and _content(a) == _content(b)


def same_tokenizer(a: Any, b: Any) -> bool:
    """Whether two fast tokenizers are alike: pipeline, vocabulary, special tokens and chat template."""
    settings = ("special_tokens_map", "all_special_ids", "chat_template", "add_prefix_space", *_SET_BY_CLASS)
    return a.backend_tokenizer.to_str() == b.backend_tokenizer.to_str() and all(
        getattr(a, name, None) == getattr(b, name, None) for name in settings
    )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a fast tokenizer so that it is loaded as saved.

    transformers rebuilds the pre-tokenizer of the classes it knows; of this general class it reads the file. It does
    not save what the class itself sets, such as Gemma's padding on the left, so this is added.
    """
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= {name: getattr(tokenizer, name) for name in _SET_BY_CLASS}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _content(config: Any) -> dict[str, Any]:
    content = config.to_dict()
    return {key: value for key, value in content.items() if key not in ("_name_or_path", "transformers_version")}


def _hash_of(spec: ModelSpec) -> str:
    """The hash of a spec's GGUF file."""
    file = spec.local
    assert file is not None
    status = file.stat()
    return _hash_at(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)  # by time and size as well, so that a changed file is hashed again
def _hash_at(file: str, changed: int, size: int) -> str:
    base = ModelSpec(model=file)
    return base.fingerprint().removeprefix("sha256:")[:24]
