"""A cache of the board of a run, valid until records or code change.

Computing the intervals takes longer than anything else when a finished suite is run again.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ValidationError

from benchmark import ROOT, __version__
from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.inputs import read_text
from leaderboard.board.choice import RecordFile
from leaderboard.board.model import Board

_CODE = ("leaderboard/board", "leaderboard/stats", "benchmark/records")
_MOST_BYTES = 256 * 2**20


class _Cached(BaseModel):
    inputs: str  # hash
    board: Board


def cached_board(records: Sequence[RecordFile], file: Path) -> Board:
    """The board of verified records, from the cache in `file` if that was made of the same records and code.

    Records are the same if their paths and hashes are; the hash of a record covers its answers. If `file` cannot be
    read or written, the board is computed, without an error.

    Raises:
        UserError: as `build_board` does.
    """
    inputs = _hash(records)
    with suppress(UserError, ValidationError, ValueError):
        cached = _Cached.model_validate_json(read_text(file, _MOST_BYTES, "the board is computed"))
        if cached.inputs == inputs:
            return cached.board
    from leaderboard.board.assemble import build_board

    board = build_board(records)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, _Cached(inputs=inputs, board=board).model_dump_json())
    return board


def _hash(records: Sequence[RecordFile]) -> str:
    """Hash of everything that the board depends on: records, the code that reads and compares them, packages."""
    code = sorted(file for folder in _CODE for file in (ROOT / folder).glob("*.py"))
    parts = [[str(path), record.sha256] for path, record in records]
    parts += [[str(file.relative_to(ROOT)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in code]
    parts += [["benchmark", __version__], *([name, version(name)] for name in ("numpy", "scipy"))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
