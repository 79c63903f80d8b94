"""Records from strangers onto the board: all are checked before any is added, and then all are added or none.

A record's place is made from names that have been checked: RECORDS/<suite>/<name>.json and its answers beside it.
"""

import os
from collections import Counter
from collections.abc import Sequence
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
from leaderboard.board.assemble import Found, build_board, load_records
from leaderboard.submission.content import examine

MAX_FILES = 10_000  # of one folder
RECORD, ANSWERS = ".json", ".answers.parquet"


@dataclass(frozen=True)
class Submission:
    """What became of a submission.

    `refused` has a line for each file that was refused, and then nothing was added; else `added` has the paths of the
    records on the board. `unchecked` counts, for all that could not be checked, the records of which it could not.
    """

    refused: list[str]
    added: list[Path]
    unchecked: Counter[str]


def submit(files: Sequence[Path], records: Path, questions: Questions) -> Submission:
    """Check records (files, or folders of them) and add them to the folder `records`, all or none.

    What is checked is copied first, so that it is the very bytes that are added. Raises UserError if the records that
    are there make no board.
    """
    with TemporaryDirectory(prefix="submit-") as temporary:
        refused: list[str] = []
        unchecked: Counter[str] = Counter()
        staged: dict[Path, Record] = {}
        sources: dict[Path, Path] = {}  # where a copied folder came from, to name in errors
        there = load_records(records) if any(records.rglob("*.json")) else []
        for source in _records_in(files, refused):
            folder = Path(temporary) / str(len(sources))
            sources[folder] = source.parent
            try:
                copy = _copy(source, folder)
                record, notes = examine(copy, questions)
                _check_place(copy, record, records, there)
                _check_among(copy, record, staged)
            except UserError as error:
                refused.append(_as_given(str(error), sources))
                continue
            staged[copy] = record
            unchecked.update(notes)
        if not refused and not staged:
            refused.append("nothing to submit: no record in what was given; name a record's .json or a folder of them")
        if not refused:
            try:
                build_board([*there, *staged.items()])
            except UserError as error:
                refused.append(_as_given(str(error), sources))
        added = [] if refused else _add(staged, records)
    return Submission(refused, added, unchecked)


def check_folder(records: Path, questions: Questions) -> tuple[list[str], list[Found], Counter[str]]:
    """Check every record of a board's folder as `submit` does, where it lies.

    Returns a line for each that fails, the records that pass, and a count of what could not be checked.
    """
    refused: list[str] = []
    unchecked: Counter[str] = Counter()
    found: list[Found] = []
    for path in _records_in_folder(records, refused):
        try:
            record, notes = examine(path, questions)
            if path.parent != records / record.suite:
                raise UserError(f"{path}: suite: {record.suite!r} belongs in {records / record.suite}; move it there")
        except UserError as error:
            refused.append(str(error))
            continue
        found.append((path, record))
        unchecked.update(notes)
    for cell, count in Counter(record.cell for _, record in found).items():
        if count > 1:
            names = " and ".join(str(path) for path, record in found if record.cell == cell)
            refused.append(f"{names}: cell: {cell} stands there {count} times; leave one")
    return refused, found, unchecked


def _records_in(files: Sequence[Path], refused: list[str]) -> list[Path]:
    """The records among files and in folders; what is neither record nor answers is refused, as are links."""
    found: list[Path] = []
    for file in files:
        try:
            file.lstat()
        except OSError as error:
            refused.append(f"{file}: {error.strerror}; give a record's .json, or a folder of them")
            continue
        if file.is_symlink():
            refused.append(f"{file}: is a symbolic link; hand in the file or folder itself")
        elif not file.is_dir():
            if file.suffix == RECORD:
                found.append(file)
            else:
                refused.append(f"{file}: is no record; hand in a record's .json, its answers come with it")
        else:
            found += _records_in_folder(file, refused)
    seen = Counter(path.resolve() for path in found)
    refused += [f"{path}: is given {count} times; give it once" for path, count in seen.items() if count > 1]
    return found


def _records_in_folder(top: Path, refused: list[str]) -> list[Path]:
    found: list[Path] = []
    answers: set[Path] = set()
    count = 0
    for place, folders, names in os.walk(top):
        folders.sort()
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for path in (Path(place) / name for name in sorted([*names, *links])):
            count += 1
            if path.is_symlink():
                refused.append(f"{path}: is a symbolic link; hand in the file itself")
            elif path.suffix == RECORD and not path.name.startswith("."):
                found.append(path)
            elif path.name.endswith(ANSWERS) and not path.name.startswith("."):
                answers.add(path)
            else:
                refused.append(f"{path}: is neither a record nor its answers; take it out of the folder")
        if count > MAX_FILES:
            refused.append(f"{top}: holds more than {MAX_FILES:,} files; hand in fewer at a time")
            return []
    of_records = {path.with_name(f"{path.stem}{ANSWERS}") for path in found}
    refused += [
        f"{path}: answers without their record; hand in the record's .json beside it"
        for path in sorted(answers - of_records)
    ]
    return found


def _copy(source: Path, folder: Path) -> Path:
    check_stem(source, source.stem)
    folder.mkdir()
    answers = source.with_name(f"{source.stem}{ANSWERS}")
    for path, limit in ((source, MAX_JSON_BYTES), (answers, MAX_PARQUET_BYTES)):
        (folder / path.name).write_bytes(read_bounded(path, limit))
    return folder / source.name


def _check_place(path: Path, record: Record, records: Path, there: Sequence[Found]) -> None:
    """Refuse a record that the board has, that would take a place that is taken, or that is dated ahead."""
    for other, known in there:
        if known.cell == record.cell:
            raise UserError(f"{path}: cell: {record.cell} is on the board, {other}; to replace it, remove that first")
    folder = records / record.suite
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{path}: suite: {folder} is a link or no folder; name the suite otherwise")
    taken = {other.name.casefold() for other in folder.iterdir()} if folder.is_dir() else set()
    for name in (path.name, record.answers.file):
        if name.casefold() in taken:
            raise UserError(f"{path}: file name: {folder / name} is there already; remove that first")
    if datetime.fromisoformat(record.created) > datetime.now(UTC) + timedelta(days=1):
        raise UserError(
            f"{path}: created: {record.created} has not come yet; set the clock, remove the record and run the suite "
            "again, which puts it together anew"
        )


def _check_among(path: Path, record: Record, staged: dict[Path, Record]) -> None:
    for other, known in staged.items():
        if known.cell == record.cell:
            raise UserError(f"{path}: cell: {record.cell} is also that of {other}; hand in one of the two")
        if (known.suite.casefold(), other.name.casefold()) == (record.suite.casefold(), path.name.casefold()):
            raise UserError(f"{path}: file name: {other} would have the same place; hand in one of the two")


def _as_given(message: str, sources: dict[Path, Path]) -> str:
    """An error with the places that files were handed in from, in place of those they were copied to."""
    for folder, source in sources.items():
        message = message.replace(f"{folder}{os.sep}", f"{source}{os.sep}")
    return message


def _add(staged: dict[Path, Record], records: Path) -> list[Path]:
    """Copy answers, then records, into their places; if one cannot be written, none stays."""
    added: list[Path] = []
    made: list[Path] = []
    try:
        for path, record in staged.items():
            folder = records / record.suite
            if not folder.is_dir():
                folder.mkdir(parents=True)
                made.append(folder)
            for name in (record.answers.file, path.name):
                added.append(folder / name)
                with replacing(folder / name) as temporary:
                    temporary.write_bytes((path.parent / name).read_bytes())
    except BaseException as error:  # a full disk, or somebody's Ctrl-C
        with finishing():
            for path in added:
                path.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"{records}: cannot be written ({error.strerror}); make room, then submit again") from None
        raise
    return [path for path in added if path.suffix == RECORD]
