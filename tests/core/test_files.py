"""Files: whole or as they were, with nothing left of what a killed process had begun; and the kernel's locks."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.core.files import locked, remove_abandoned, replacing, write_all, write_atomically

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from pathlib import Path
from benchmark.core.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("at it", flush=True)
    sys.stdin.read()
"""
HOLDER = """
import sys
from pathlib import Path
from benchmark.core.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(code: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has come so far as to say so, and that goes on when its stdin is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline()
        try:
            yield other
        finally:
            other.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "record.json"
    write_atomically(file, "old")
    write_atomically(file, "é new")
    assert file.read_text(encoding="utf-8") == "é new"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(file, "newer")
    assert raised.value.filename == str(file), "the system names no file"
    assert file.read_text(encoding="utf-8") == "é new"
    assert names(tmp_path) == ["record.json"]


def test_an_error_of_a_temporary_name_names_the_file_and_one_of_another_file_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(tmp_path / "nowhere" / "record.json", "")
    assert raised.value.filename == str(tmp_path / "nowhere" / "record.json")
    with pytest.raises(PermissionError) as refused, replacing(tmp_path / "record.json"):
        raise PermissionError(errno.EACCES, "Permission denied", "what was read")
    assert refused.value.filename == "what was read"
    assert names(tmp_path) == []


def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        told.append(("on the disk", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        told.append(("renamed", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write_atomically(tmp_path / "record.json", "text")
    file, folder = (tmp_path / "record.json").stat().st_ino, tmp_path.stat().st_ino
    assert told == [("on the disk", file), ("renamed", file), ("on the disk", folder)]


def test_what_a_killed_process_left_half_written_goes_when_the_file_is_next_written(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a[1].json") as killed:
        killed.kill()
        killed.wait()
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].startswith(".a[1].json.")
    write_atomically(tmp_path / "b.json", "another file")
    assert len(names(tmp_path)) == 2
    write_atomically(tmp_path / "a[1].json", "whole")
    assert names(tmp_path) == ["a[1].json", "b.json"]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a.json") as other:
        write_atomically(tmp_path / "a.json", "whole")
        remove_abandoned(tmp_path)
        assert len(names(tmp_path)) == 2
        assert (tmp_path / "a.json").read_text() == "whole"
        other.communicate("")
        assert other.returncode == 0
    assert names(tmp_path) == ["a.json"] and (tmp_path / "a.json").read_text() == "half"


def test_in_a_whole_folder_what_killed_processes_left_goes_and_nothing_else(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a.json") as killed:
        killed.kill()
        killed.wait()
    for mine in (".hidden", ".a.json.backup", ".a.json.0123456789abcdeX"):
        (tmp_path / mine).write_text("")
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".a.json.0123456789abcdeX", ".a.json.backup", ".hidden"]


def test_of_several_files_all_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / "new" / "a": "1", tmp_path / "b": "2", tmp_path / "c": "3"}
    (tmp_path / "b").write_text("old")
    done: list[int] = []

    def full_at_the_third(_: int) -> None:
        done.append(1)
        if len(done) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_at_the_third)
        with pytest.raises(OSError, match="No space left") as raised:
            write_all(files)
    assert raised.value.filename == str(tmp_path / "c")
    assert names(tmp_path) == ["b", "new"] and names(tmp_path / "new") == []
    assert (tmp_path / "b").read_text() == "old"
    write_all(files)
    assert [path.read_text() for path in files] == ["1", "2", "3"]


def test_a_lock_is_held_by_one_process_and_ends_with_it_however_it_ends(tmp_path: Path) -> None:
    with process(HOLDER, tmp_path / "lock") as other:
        with locked(tmp_path / "lock", wait=False) as held:
            assert not held
        other.kill()
        with locked(tmp_path / "lock") as held:  # waits for the end of the other, no longer
            assert held
            with locked(tmp_path / "lock", wait=False) as twice:
                assert not twice
    with locked(tmp_path / "lock", wait=False) as held:
        assert held


def test_the_lock_of_a_file_that_was_removed_meanwhile_is_not_taken_for_that_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = tmp_path / "lock", fcntl.flock
    removed: list[Path] = []

    def remove_first(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not removed:
            lock.unlink()
            removed.append(lock)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked(lock) as held:
        monkeypatch.undo()
        assert held
        with locked(lock, wait=False) as also:
            assert not also, "both would be at work on one artifact"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_files_are_written_on_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    left = tmp_path / ".a.json.0123456789abcdef"
    left.write_text("somebody may be at it")

    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(UserError, match=r"the file system has no locks \(.*\); give a folder on another"):
        locked(tmp_path / "lock").__enter__()
    write_atomically(tmp_path / "a.json", "whole")
    assert (tmp_path / "a.json").read_text() == "whole" and left.exists()
