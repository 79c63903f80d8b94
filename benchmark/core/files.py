"""Files that are whole or not there, whatever happens to the process: written aside, flushed, renamed; and locks.

A lock is the kernel's (flock): it ends with the process that holds it, also when that is killed.
"""

import errno
import fcntl
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.signals import finishing

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_RANDOM = 8  # bytes in a temporary name, two letters each


@contextmanager
def replacing(path: Path, swept: bool = False) -> Iterator[Path]:
    """Give a hidden name in the same folder to write to; it takes the place of `path` if all goes well, else it goes.

    What is written is on the disk before it takes the place. The name is random, since in containers process numbers
    repeat; what a killed process left under such a name for the same file is removed. That takes a look at every name
    in the folder: who writes thousands of files there calls `remove_abandoned` before, and says `swept` of each.

    Raises OSError naming `path` if it cannot be written.
    """
    if not swept:
        remove_abandoned(path.parent, path.name)
    try:
        temporary, descriptor = _new_temporary(path)
    except OSError as error:
        raise _naming(path, error) from None
    try:
        yield temporary
        with finishing():
            os.fsync(descriptor)
            os.replace(temporary, path)
            sync_folder(path.parent)
    except BaseException as error:
        with finishing(), suppress(OSError):  # what went wrong is told, not that no more can be removed
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise _naming(path, error) from None
        raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str, swept: bool = False) -> None:
    """Write a whole text file or nothing: see `replacing`."""
    with replacing(path, swept) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_all(texts: Mapping[Path, str]) -> None:
    """Write several text files, or none where a disk has no room for one of them; folders are made.

    Raises OSError naming the file that cannot be written.
    """
    with ExitStack() as all_or_none:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with all_or_none.enter_context(replacing(path)).open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # all of them, before the first takes its place


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half written in a folder, of one file or of any.

    It is known by its name, and by nobody holding its lock; where there are no locks nothing is removed.
    """
    of_what = glob.escape(name) if name is not None else "*"
    for left in folder.glob(f".{of_what}.{'[0-9a-f]' * 2 * _RANDOM}"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have every file and folder below a folder, and the folder itself, on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(place) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk. Where a file system cannot do that, its own order of writing has to do."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that a file stands for, made if it is not there; yields whether it is held.

    It always is with `wait`. The file stays: another process may be about to lock it.

    Raises UserError if the file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _lock(descriptor, path, wait)
            if os.fstat(descriptor).st_nlink:  # else somebody removed the file meanwhile: its lock is nobody's
                yield held
                return
        finally:
            os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock that a file stands for. Nothing is written, and no pipe is waited for.

    Raises OSError if the file is there and cannot be asked.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, path: Path, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{path.parent}: the file system has no locks ({os.strerror(error.errno)}); give a folder on another one "
            "with --results"
        ) from None
    return True


def _new_temporary(path: Path) -> tuple[Path, int]:
    """A new hidden file for `path`, and its descriptor, locked: by that others know that somebody is at it."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM)}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = not os.fstat(descriptor).st_nlink
        except BlockingIOError:
            taken = True  # by `remove_abandoned` of another process, in the moment before it was locked
        except OSError:
            taken = False  # there are no locks here, so nobody removes anything
        if not taken:
            return temporary, descriptor
        os.close(descriptor)


def _naming(path: Path, error: OSError) -> OSError:
    """The error with the name of the file that was to be written, in place of none or a temporary one."""
    number = error.errno or 0
    return OSError(number, os.strerror(number), str(path))


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
