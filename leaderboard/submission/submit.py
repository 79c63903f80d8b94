"""Adds submitted records to the board: all are checked first, then all are added or none.

A record is written to RECORDS/<suite>/<name>.json, its answers beside it, after both names were checked.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.core.errors import UserError
from benchmark.core.files import replacing
from benchmark.core.signals import finishing
from benchmark.core.untrusted import MAX_JSON_BYTES, MAX_PARQUET_BYTES, check_stem, read_bounded
from benchmark.records.questions import Questions
from benchmark.records.record import Record
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.choice import RecordFile
from leaderboard.submission.content import examine

MAX_FILES = 10_000  # of one folder
RECORD, ANSWERS = ".json", ".answers.parquet"


@dataclass(frozen=True)
class Submission:
    """Result of a submission.

    Attributes:
        refused: A line for each refused file. If there is one, nothing was added.
        added: Paths of the added records on the board.
        known: Given records of untrained models that the board has from another suite, with equal scores.
        unchecked: Number of records for each property that could not be checked.
    """

    refused: list[str]
    added: list[Path]
    known: list[Path]
    unchecked: Counter[str]


def submit(files: Sequence[Path], records: Path, questions: Questions) -> Submission:
    """Check records (files, or folders of them) and add them to the folder `records`, all or none.

    The files are copied before they are checked, so the checked bytes are the ones that are added.

    Raises:
        UserError: The records that are on the board already are not valid.
    """
    with TemporaryDirectory(prefix="submit-") as temporary:
        refused: list[str] = []
        unchecked: Counter[str] = Counter()
        known: list[Path] = []
        staged: dict[Path, Record] = {}
        sources: dict[Path, Path] = {}  # original folder of each copy, for error messages
        on_board = load_records(records) if any(records.rglob("*.json")) else []
        by_cell = {known.cell: (path, known) for path, known in on_board}
        for source in _records_in(files, refused):
            folder = Path(temporary) / str(len(sources))
            sources[folder] = source.parent
            try:
                copy = _copy(source, folder)
                record, notes = examine(copy, questions)
                if _is_known_reference(record, by_cell):
                    known.append(source)
                    continue
                _check_free(copy, record, records, by_cell)
                _check_among(copy, record, staged)
            except UserError as error:
                refused.append(_as_given(str(error), sources))
                continue
            staged[copy] = record
            unchecked.update(notes)
        if not refused and not staged and not known:
            refused.append(
                "nothing to submit: the given files contain no record; give a record's .json or a folder of them"
            )
        if not refused:
            try:
                build_board([*on_board, *staged.items()])
            except UserError as error:
                refused.append(_as_given(str(error), sources))
        added = [] if refused else _add(staged, records)
    return Submission(refused, added, known, unchecked)


def check_folder(records: Path, questions: Questions) -> tuple[list[str], list[RecordFile], Counter[str]]:
    """Check every record in a board's folder as `submit` does.

    Returns:
        A line for each refused record, the valid records, and the number of records for each property that could not
        be checked.
    """
    refused: list[str] = []
    unchecked: Counter[str] = Counter()
    valid: list[RecordFile] = []
    for path in _records_in_folder(records, refused):
        try:
            record, notes = examine(path, questions)
            if path.parent != records / record.suite:
                raise UserError(f"{path}: suite: {record.suite!r} belongs in {records / record.suite}; move it there")
        except UserError as error:
            refused.append(str(error))
            continue
        valid.append((path, record))
        unchecked.update(notes)
    for cell, count in Counter(record.cell for _, record in valid).items():
        if count > 1:
            names = " and ".join(str(path) for path, record in valid if record.cell == cell)
            refused.append(f"{names}: cell: {cell} is there {count} times; leave one")
    return refused, valid, unchecked


def _records_in(files: Sequence[Path], refused: list[str]) -> list[Path]:
    """Paths of the records among files and folders; links and other files are refused."""
    paths: list[Path] = []
    for file in files:
        try:
            file.lstat()
        except OSError as error:
            refused.append(f"{file}: {error.strerror}; give a record's .json, or a folder of them")
            continue
        if file.is_symlink():
            refused.append(f"{file}: is a symbolic link; give the file or folder itself")
        elif not file.is_dir():
            if file.suffix == RECORD:
                paths.append(file)
            else:
                refused.append(f"{file}: is not a record; give a record's .json, its answers are read as well")
        else:
            paths += _records_in_folder(file, refused)
    seen = Counter(path.resolve() for path in paths)
    refused += [f"{path}: given {count} times; give it once" for path, count in seen.items() if count > 1]
    return paths


def _records_in_folder(top: Path, refused: list[str]) -> list[Path]:
    paths: list[Path] = []
    answers: set[Path] = set()
    count = 0
    for parent, folders, names in os.walk(top):
        folders.sort()
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for path in (Path(parent) / name for name in sorted([*names, *links])):
            count += 1
            if path.is_symlink():
                refused.append(f"{path}: is a symbolic link; give the file itself")
            elif path.suffix == RECORD and not path.name.startswith("."):
                paths.append(path)
            elif path.name.endswith(ANSWERS) and not path.name.startswith("."):
                answers.add(path)
            else:
                refused.append(f"{path}: is neither a record nor its answers; remove it from the folder")
        if count > MAX_FILES:
            refused.append(f"{top}: more than {MAX_FILES:,} files; give fewer at a time")
            return []
    of_records = {path.with_name(f"{path.stem}{ANSWERS}") for path in paths}
    refused += [
        f"{path}: answers without their record; add the record's .json beside them"
        for path in sorted(answers - of_records)
    ]
    return paths


def _copy(source: Path, folder: Path) -> Path:
    check_stem(source, source.stem)
    folder.mkdir()
    answers = source.with_name(f"{source.stem}{ANSWERS}")
    for path, limit in ((source, MAX_JSON_BYTES), (answers, MAX_PARQUET_BYTES)):
        (folder / path.name).write_bytes(read_bounded(path, limit))
    return folder / source.name


def _is_known_reference(record: Record, by_cell: Mapping[str, RecordFile]) -> bool:
    """Whether the board has this record of an untrained model: every suite of a model and task makes the same one."""
    return record.is_reference and record.cell in by_cell and by_cell[record.cell][1].scores == record.scores


def _check_free(path: Path, record: Record, records: Path, by_cell: Mapping[str, RecordFile]) -> None:
    """Refuse a record that is on the board already, whose file exists, or whose date is in the future."""
    if record.cell in by_cell:
        other, _ = by_cell[record.cell]
        raise UserError(
            f"{path}: cell: {record.cell} is on the board already, {other}; to replace it, remove that first"
        )
    folder = records / record.suite
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{path}: suite: {folder} is a link or not a folder; give the suite another name")
    taken = {other.name.casefold() for other in folder.iterdir()} if folder.is_dir() else set()
    for name in (path.name, record.answers.file):
        if name.casefold() in taken:
            raise UserError(f"{path}: file name: {folder / name} exists already; remove that first")
    if datetime.fromisoformat(record.created) > datetime.now(UTC) + timedelta(days=1):
        raise UserError(
            f"{path}: created: {record.created} is in the future; set the clock, remove the record and run the suite "
            "again, which writes the record again"
        )


def _check_among(path: Path, record: Record, staged: dict[Path, Record]) -> None:
    for other, known in staged.items():
        if known.cell == record.cell:
            raise UserError(f"{path}: cell: {record.cell} is also the cell of {other}; give only one of the two")
        if (known.suite.casefold(), other.name.casefold()) == (record.suite.casefold(), path.name.casefold()):
            raise UserError(f"{path}: file name: {other} has the same name and suite; give only one of the two")


def _as_given(message: str, sources: dict[Path, Path]) -> str:
    """An error message with the original paths instead of those of the copies."""
    for folder, source in sources.items():
        message = message.replace(f"{folder}{os.sep}", f"{source}{os.sep}")
    return message


def _add(staged: dict[Path, Record], records: Path) -> list[Path]:
    """Copy answers, then records, to the board; if a file cannot be written, all are removed again."""
    added: list[Path] = []
    new_folders: list[Path] = []
    try:
        for path, record in staged.items():
            folder = records / record.suite
            if not folder.is_dir():
                folder.mkdir(parents=True)
                new_folders.append(folder)
            for name in (record.answers.file, path.name):
                added.append(folder / name)
                with replacing(folder / name) as temporary:
                    temporary.write_bytes((path.parent / name).read_bytes())
    except BaseException as error:  # also a termination signal
        with finishing():
            for path in added:
                path.unlink(missing_ok=True)
            for folder in new_folders:
                folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"{records}: cannot be written ({error.strerror}); make room, then submit again") from None
        raise
    return [path for path in added if path.suffix == RECORD]
