"""A stage as a file: what `benchmark stage` reads, in a container or on another machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.inputs import read_text
from benchmark.store.artifacts import StageCall
from benchmark.store.versions import VERSIONS

MOST_BYTES = 2**26  # of a stage, and it names all that it reads
REMEDY = "give a file that `benchmark plan --stages FOLDER` wrote"


def as_dict(call: StageCall) -> dict[str, Any]:
    """The stage and all it reads, down to the corpus, as JSON can hold it."""
    return {
        "stage": call.stage,
        "version": call.version,
        "params": dict(call.params),
        "inputs": {role: as_dict(source) for role, source in call.inputs.items()},
        "where": dict(call.where),
    }


def from_dict(content: dict[str, Any]) -> StageCall:
    """The stage that `as_dict` made this of.

    Raises KeyError, TypeError or AttributeError if it is none.
    """
    inputs = {role: from_dict(source) for role, source in content["inputs"].items()}
    fields = content["stage"], content["version"], content["params"], content["where"]
    if [*map(type, fields)] != [str, int, dict, dict]:
        raise TypeError("a field of another type than that of a stage")
    stage, version, params, where = fields
    return StageCall(stage, version, params, inputs, where)


def write_call(file: Path, call: StageCall) -> None:
    """Write a stage to a file, whole or not at all."""
    write_atomically(file, json.dumps(as_dict(call)))


def write_calls(folder: Path, calls: list[StageCall]) -> list[Path]:
    """Write a file for every stage, numbered in their order, to a folder that is made if need be.

    Raises UserError if it holds stages of another plan, which would be done beside these, or cannot be written.
    """
    width = max(4, len(str(len(calls))))
    files = [folder / f"{n:0{width}}-{call.stage}-{call.key[:8]}.json" for n, call in enumerate(calls, 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if others := {*folder.glob("*-*-*.json")} - {*files}:
            raise UserError(f"{folder}: holds {len(others)} other stages ({min(others).name}, …); give an empty folder")
        for file, call in zip(files, calls, strict=True):
            write_call(file, call)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; give a folder that can be written") from None
    return files


def read_call(file: Path) -> StageCall:
    """A stage from a file.

    Raises UserError naming the file if it holds none, or one of another version of this code.
    """
    return call_from(read_text(file, MOST_BYTES, REMEDY), str(file))


def call_from(text: str, where: str) -> StageCall:
    """A stage from JSON.

    Raises UserError naming `where` it stood if it is none, or one of another version of this code.
    """
    try:
        call = from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where}: holds no stage; {REMEDY}") from None
    for part in _with_inputs(call):
        if VERSIONS.get(part.stage) != part.version:
            raise UserError(
                f"{where}: stage {part.stage!r} of version {part.version}, which this code does not make; plan and run "
                "with one version of the benchmark"
            )
    return call


def _with_inputs(call: StageCall) -> Iterator[StageCall]:
    yield call
    for source in call.inputs.values():
        yield from _with_inputs(source)
