"""Reading files that a user names, within bounds.

Suites, corpora and records may come from strangers. No file may block the program forever, fill its memory, or end it
with a traceback: what cannot be read becomes a UserError of one line.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.core.errors import UserError

# Memory for unpacking Parquet: this many bytes, plus this many times the file's size. Text packs to about a fifth; a
# file of a few kilobytes that unpacks to gigabytes was made as an attack.
HEADROOM = 2 * 2**30
UNPACK_FACTOR = 64

# Exceptions that readers raise for malformed files, beside those that they raise on purpose.
_MALFORMED = (ValueError, OSError, RuntimeError, LookupError, TypeError, ArithmeticError)


def regular_file(path: Path, remedy: str) -> Path:
    """The path with "~" expanded, if it leads to a regular file.

    Args:
        path: The path as the user gave it.
        remedy: What to do otherwise: the end of the error message.

    Raises:
        UserError: The path leads to nothing, a folder, or a pipe or device, which may never end.
    """
    expanded, mode = _expand(path, remedy)
    if not stat.S_ISREG(mode):
        problem = "Is a directory" if stat.S_ISDIR(mode) else "is a pipe or a device"
        raise UserError(f"{path}: {problem}; {remedy}")
    return expanded


def read_text(path: Path, most: int, remedy: str) -> str:
    """The text of a UTF-8 file of at most `most` bytes.

    Raises:
        UserError: The file is missing, larger, or not UTF-8; the message names it and ends with `remedy`.
    """
    try:
        with regular_file(path, remedy).open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise UserError(f"{path}: is larger than {most:,} bytes; {remedy}")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None


@contextmanager
def reading(where: str, *paths: Path | None) -> Iterator[list[Path | None]]:
    """Guard a block in which other code reads the user's files; yields their absolute paths, None for None.

    Memory is limited while Parquet files are read.

    Args:
        where: What is read, such as "task corpus": the beginning of the error message.
        paths: The files or folders.

    Raises:
        UserError: In place of whatever the block raises about malformed files; one line that names a file.
    """
    given = [path for path in paths if path]
    names = ", ".join(map(str, given)) or "its data"
    absolute = [_absolute(path, where) if path else None for path in paths]
    try:
        with _bounded(_parquet_bytes([path for path in absolute if path])):
            yield absolute
    except UserError:
        raise
    except MemoryError:
        raise UserError(
            f"{where}: {names}: needs more memory than a file of its size should; give smaller files"
        ) from None
    except RecursionError:
        raise UserError(f"{where}: {names}: nested too deeply to be read; give data with less nesting") from None
    except _MALFORMED as error:
        message = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        names_a_file = not given or any(str(path) in message for path in (*given, *absolute) if path)
        raise UserError(f"{where}: {message if names_a_file else f'{names}: cannot be read: {message}'}") from None


@contextmanager
def limited_memory(headroom: int) -> Iterator[None]:
    """Let this process take at most `headroom` more bytes of address space, on systems that can limit it."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + headroom
        bounds = [limit] + [bound for bound in before if bound != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(bounds), before[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _bounded(parquet_bytes: int) -> Iterator[None]:
    """Limit memory while that many bytes of Parquet are read.

    One thread reads them: under a memory limit, a thread that cannot start would end the process.
    """
    if not parquet_bytes:
        yield
        return
    import pyarrow as pa

    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        with limited_memory(HEADROOM + UNPACK_FACTOR * parquet_bytes):
            yield
    finally:
        pa.set_cpu_count(threads)


def _parquet_bytes(paths: Sequence[Path]) -> int:
    """Total size of the Parquet files among `paths` and in their folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.suffix.lower() == ".parquet" and file.is_file())


def _absolute(path: Path, where: str) -> Path:
    """The absolute path, links resolved. A missing file is left for the reader to report.

    Raises:
        UserError: The path leads to a pipe or device.
    """
    expanded, mode = _expand(path, "give another path", must_exist=False)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{where}: {path}: is a pipe or a device; give a file or a folder")
    return Path(os.path.realpath(expanded))


def _expand(path: Path, remedy: str, must_exist: bool = True) -> tuple[Path, int]:
    """The path with "~" expanded, and the mode of the file, 0 if it is missing."""
    try:
        expanded = path.expanduser()
        return expanded, expanded.stat().st_mode
    except FileNotFoundError as error:
        if not must_exist:
            return expanded, 0
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None
    except (ValueError, RuntimeError) as error:  # a name that no file can have; "~user" of an unknown user
        raise UserError(f"{path}: {error}; {remedy}") from None
