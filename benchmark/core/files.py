"""Atomic file writes and locks between processes.

A file is written under a temporary name, flushed to the disk, then renamed, so that it is whole or absent whenever the
process is killed. A lock is the kernel's (flock, taken with filelock): it ends with its process, also on SIGKILL.
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

from filelock import FileLock, Timeout, lock_descriptor

from benchmark.core.errors import UserError
from benchmark.core.signals import finishing

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_RANDOM_BYTES = 8  # in a temporary name, as two hex digits each


@contextmanager
def replacing(path: Path, swept: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it replaces `path` if the block succeeds, and is removed if it fails.

    The content is flushed to the disk before the rename. The temporary name is random because process numbers repeat
    between containers. Temporary files of `path` that killed processes left behind are removed first.

    Args:
        path: The file to write.
        swept: Skip that removal, which lists the whole folder. To write thousands of files into one folder, call
            `remove_abandoned` once, and pass True here.

    Raises:
        OSError: `path` cannot be written; the error names `path`, not the temporary file.
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
        with finishing(), suppress(OSError):  # the first error counts, not that of the removal
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise _naming(path, error) from None
        raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str, swept: bool = False) -> None:
    """Write a text file (UTF-8) whole or not at all; arguments and errors as in `replacing`."""
    with replacing(path, swept) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_all(texts: Mapping[Path, str]) -> None:
    """Write several text files, or none of them if one cannot be written; missing folders are made.

    Raises:
        OSError: A file cannot be written; the error names it.
    """
    with ExitStack() as all_or_none:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with all_or_none.enter_context(replacing(path)).open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # a full disk shows here, before the first file is renamed


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files of `replacing` that killed processes left in a folder.

    A temporary file is abandoned if no process holds its lock. On a file system without locks nothing is removed.

    Args:
        folder: The folder to clean; its subfolders are left alone.
        name: Remove only the temporary files of this file; None for those of any file.
    """
    written = glob.escape(name) if name is not None else "*"
    for temporary in folder.glob(f".{written}.{'[0-9a-f]' * 2 * _RANDOM_BYTES}"):
        with suppress(OSError):
            descriptor = os.open(temporary, os.O_RDWR)
            try:
                if lock_descriptor(descriptor, blocking=False):
                    temporary.unlink()
            finally:
                os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush a folder, its subfolders and all their files to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, on file systems that can do that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file within the block; yields whether it is held.

    The file is created if it is missing, and stays: another process may be about to lock it.

    Args:
        path: The file that stands for the lock.
        wait: Wait until the lock is free; otherwise yield False at once if another process holds it.

    Raises:
        UserError: The file system has no locks.
    """
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        with suppress(Timeout):
            lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{path.parent}: the file system has no locks ({os.strerror(error.errno)}); give a folder on another one "
            "with --results"
        ) from None
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file. Writes nothing, so that it works on a folder that is only read.

    Raises:
        OSError: The file exists but its lock cannot be read; a pipe counts as unlocked.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two processes that ask do not see each other
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _new_temporary(path: Path) -> tuple[Path, int]:
    """Create a temporary file for `path`; returns it with its locked descriptor. The lock says that it is in use."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            # `remove_abandoned` of another process may lock or remove the file in the moment before it is locked here.
            ours = lock_descriptor(descriptor, blocking=False) and os.fstat(descriptor).st_nlink > 0
        except OSError:
            ours = True  # without locks nothing is removed
        if ours:
            return temporary, descriptor
        os.close(descriptor)


def _naming(path: Path, error: OSError) -> OSError:
    """The same error with `path` as its file name."""
    number = error.errno or 0
    return OSError(number, os.strerror(number), str(path))
