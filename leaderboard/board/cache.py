"""The board of a run, kept until records or code change: its intervals take longer than all else in a finished run."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ValidationError

from benchmark import __version__
from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.inputs import read_text
from benchmark.records.record import Record
from leaderboard.board.model import Board

_MOST_BYTES = 256 * 2**20


class _Kept(BaseModel):
    made_of: str
    board: Board


def remembered_board(records: Sequence[tuple[Path, Record]], file: Path) -> Board:
    """What `build_board` makes of verified records; taken from `file` where that was made of the same ones.

    The same means equal hashes of the records, and so of their answers, at equal paths, and equal code. That `file`
    cannot be read or written is no error: the board is made anew. Raises UserError as `build_board`.
    """
    made_of = _hash(records)
    with suppress(UserError, ValidationError, ValueError):
        kept = _Kept.model_validate_json(read_text(file, _MOST_BYTES, "it is made anew"))
        if kept.made_of == made_of:
            return kept.board
    from leaderboard.board.assemble import build_board

    board = build_board(records)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, _Kept(made_of=made_of, board=board).model_dump_json())
    return board


def _hash(records: Sequence[tuple[Path, Record]]) -> str:
    """Hash of all that the board is made of."""
    code = sorted(Path(__file__).parent.glob("*.py"))
    parts = [[str(path), record.sha256] for path, record in records]
    parts += [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in code]
    parts += [["benchmark", __version__], *([name, version(name)] for name in ("numpy", "scipy"))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
