"""Stage calls as JSON files, which `benchmark stage` reads in a container or on another machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.inputs import read_text
from benchmark.store.artifacts import StageCall
from benchmark.store.versions import VERSIONS

MAX_BYTES = 2**26  # of a file: it holds a stage with all its inputs
REMEDY = "give a file that `benchmark plan --stages FOLDER` wrote"


def as_dict(call: StageCall) -> dict[str, Any]:
    """The stage with all its inputs, down to the corpus, as JSON values."""
    return {
        "stage": call.stage,
        "version": call.version,
        "params": dict(call.params),
        "inputs": {role: as_dict(source) for role, source in call.inputs.items()},
        "where": dict(call.where),
    }


def from_dict(content: dict[str, Any]) -> StageCall:
    """The stage whose `as_dict` this is.

    Raises:
        KeyError, TypeError, AttributeError: The content is not a stage.
    """
    inputs = {role: from_dict(source) for role, source in content["inputs"].items()}
    fields = content["stage"], content["version"], content["params"], content["where"]
    if [*map(type, fields)] != [str, int, dict, dict]:
        raise TypeError("a field has the wrong type")
    stage, version, params, where = fields
    return StageCall(stage, version, params, inputs, where)


def write_call(file: Path, call: StageCall) -> None:
    """Write a stage to a file atomically."""
    write_atomically(file, json.dumps(as_dict(call)))


def write_calls(folder: Path, calls: list[StageCall]) -> list[Path]:
    """Write a file per stage to a folder, numbered in the order given; returns the files. The folder may be missing.

    Raises:
        UserError: The folder holds stages of another plan, which would be run with these, or cannot be written.
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
    """Read a stage from a file.

    Raises:
        UserError: The file holds no stage, or a stage of another version of this code.
    """
    return call_from(read_text(file, MAX_BYTES, REMEDY), str(file))


def call_from(text: str, where: str) -> StageCall:
    """Parse a stage from JSON.

    Args:
        text: The JSON.
        where: The source, such as the file: the beginning of the error message.

    Raises:
        UserError: The JSON is not a stage, or a stage of another version of this code.
    """
    try:
        call = from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where}: not a stage; {REMEDY}") from None
    for part in _with_inputs(call):
        if VERSIONS.get(part.stage) != part.version:
            raise UserError(
                f"{where}: version {part.version} of stage {part.stage!r} is not that of this code; plan and run with "
                "the same version of the benchmark"
            )
    return call


def _with_inputs(call: StageCall) -> Iterator[StageCall]:
    yield call
    for source in call.inputs.values():
        yield from _with_inputs(source)
