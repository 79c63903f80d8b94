"""What several commands do with their options: checks of what is given, and models by name."""

from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, nearest


def named_values(option: str, items: list[str] | None, example: str) -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, by name."""
    found = {}
    for item in items or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise UserError(f"{option} {item}: expected NAME=VALUE, as {example}")
        found[key] = value
    return found


def model_spec(model: str, dtype: str = "float32") -> Any:
    """The spec of a model that an option names."""
    from benchmark.models.spec import ModelSpec

    if not model:
        raise UserError("model: its name is empty; give zoo:NAME, a hub id, a folder or a .gguf file")
    return ModelSpec(model=model, dtype=dtype)  # type: ignore[arg-type]


def one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UserError, with the nearest known one, if an option has another value than these."""
    if value not in known:
        raise UserError(f"{what} {value!r}: unknown; {nearest(value, known)}")


def writable(out: Path) -> None:
    """Raise UserError if a file cannot be written there: before the work, and not after it."""
    in_a_folder(out)
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file to write")


def in_a_folder(out: Path) -> None:
    """Raise UserError if the folder that a file or folder is to be written in does not exist."""
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist; make it first")
