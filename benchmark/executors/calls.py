"""A stage as a file: what `benchmark stage` reads, in a container or on another machine."""

import json
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.stages import VERSIONS
from benchmark.store import StageCall


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

    Raises KeyError or TypeError if it is none.
    """
    inputs = {role: from_dict(source) for role, source in content["inputs"].items()}
    return StageCall(content["stage"], content["version"], content["params"], inputs, content["where"])


def read_call(file: Path) -> StageCall:
    """A stage from a file. Raises UserError naming the file if it holds none, or one of another version of this code."""
    try:
        call = from_dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); give a file that `benchmark plan --stages` wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: holds no stage; give a file that `benchmark plan --stages` wrote") from None
    if VERSIONS.get(call.stage) != call.version:
        raise UserError(
            f"{file}: stage {call.stage!r} of version {call.version}, which this code does not make; plan and run with "
            "one version of the benchmark"
        )
    return call
