"""Files that a user names: looked at before they are read, and told of in one line where reading them fails.

A suite, a corpus or a record may come from anybody. None may make a program wait for ever, take all memory, or end in a
traceback.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.core.errors import UserError

# What unpacking Parquet may take: so many bytes of memory, and so many times the file's own size. Texts are packed to a
# fifth; a file of a few kilobytes that unpacks to gigabytes was made for it.
HEADROOM = 2 * 2**30
TIMES = 64

# What readers raise for a file that is not what it should be, beside the errors that they raise on purpose.
_BROKEN = (ValueError, OSError, RuntimeError, LookupError, TypeError, ArithmeticError)


def regular(path: Path, remedy: str) -> Path:
    """The file at `path`, with the home folder in place of "~".

    Raises UserError, which ends with `remedy`, if there is none, or a folder, or a pipe or device, which may never end.
    """
    place, kind = _look_at(path, remedy)
    if not stat.S_ISREG(kind):
        what = "Is a directory" if stat.S_ISDIR(kind) else "is a pipe or a device"
        raise UserError(f"{path}: {what}; {remedy}")
    return place


def read_text(path: Path, most: int, remedy: str) -> str:
    """The UTF-8 text in a file of at most `most` bytes; raises UserError, which ends with `remedy`."""
    try:
        with regular(path, remedy).open("rb") as file:
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
    """Read the files or folders of a user by other code: gives their absolute paths, None for None.

    Memory is limited where there is Parquet among them. Whatever the code raises becomes a UserError of one line that
    begins with `where` and names a file.
    """
    given = [path for path in paths if path]
    named = ", ".join(map(str, given)) or "its data"
    places = [_absolute(path, where) if path else None for path in paths]
    try:
        with _bounded(_packed([place for place in places if place])):
            yield places
    except UserError:
        raise
    except MemoryError:
        raise UserError(
            f"{where}: {named}: takes more memory than a file of its size may; give smaller files"
        ) from None
    except RecursionError:
        raise UserError(f"{where}: {named}: nests too deep to be read; give data that are less nested") from None
    except _BROKEN as error:
        told = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        shown = not given or any(str(path) in told for path in (*given, *places) if path)
        raise UserError(f"{where}: {told if shown else f'{named}: cannot be read: {told}'}") from None


@contextmanager
def limited_memory(headroom: int) -> Iterator[None]:
    """Let this process have so many bytes of address space more than now, where the system can say and limit that."""
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
def _bounded(packed: int) -> Iterator[None]:
    """Limit memory while Parquet of so many bytes is read, by one thread: one that cannot start ends the process."""
    if not packed:
        yield
        return
    import pyarrow as pa

    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        with limited_memory(HEADROOM + TIMES * packed):
            yield
    finally:
        pa.set_cpu_count(threads)


def _packed(places: Sequence[Path]) -> int:
    """Bytes of the Parquet files among files and in folders."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return sum(file.stat().st_size for file in files if file.suffix.lower() == ".parquet" and file.is_file())


def _absolute(path: Path, where: str) -> Path:
    """Where a path leads. Raises UserError for a pipe or device; what is not there is left to whoever reads it."""
    place, kind = _look_at(path, "give another path", must_be_there=False)
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise UserError(f"{where}: {path}: is a pipe or a device; give a file or a folder")
    return Path(os.path.realpath(place))


def _look_at(path: Path, remedy: str, must_be_there: bool = True) -> tuple[Path, int]:
    """A path without "~", and the mode of what is there, 0 if nothing is."""
    try:
        place = path.expanduser()
        return place, place.stat().st_mode
    except FileNotFoundError as error:
        if not must_be_there:
            return place, 0
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None
    except (ValueError, RuntimeError) as error:  # a name that no file can have; the home folder of nobody
        raise UserError(f"{path}: {error}; {remedy}") from None
