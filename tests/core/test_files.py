"""Atomic writes, the removal of abandoned temporary files, and locks between processes."""

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
    print("writing", flush=True)
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
    """A process that has printed its first line, and continues when its stdin is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline()
        try:
            yield other
        finally:
            other.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "record.json"
    write_atomically(file, "old")
    write_atomically(file, "é new")
    assert file.read_text(encoding="utf-8") == "é new"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(file, "newer")
    assert raised.value.filename == str(file), "the system's error names no file"
    assert file.read_text(encoding="utf-8") == "é new"
    assert names(tmp_path) == ["record.json"]


def test_an_error_names_the_file_to_be_written_unless_it_is_about_another_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(tmp_path / "nowhere" / "record.json", "")
    assert raised.value.filename == str(tmp_path / "nowhere" / "record.json")
    with pytest.raises(PermissionError) as refused, replacing(tmp_path / "record.json"):
        raise PermissionError(errno.EACCES, "Permission denied", "another file")
    assert refused.value.filename == "another file"
    assert names(tmp_path) == []


def test_content_is_flushed_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        events.append(("flushed", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        events.append(("renamed", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write_atomically(tmp_path / "record.json", "text")
    file, folder = (tmp_path / "record.json").stat().st_ino, tmp_path.stat().st_ino
    assert events == [("flushed", file), ("renamed", file), ("flushed", folder)]


def test_the_next_write_of_a_file_removes_what_a_killed_process_left_of_it(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a[1].json") as killed:
        killed.kill()
        killed.wait()
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].startswith(".a[1].json.")
    write_atomically(tmp_path / "b.json", "another file")
    assert len(names(tmp_path)) == 2
    write_atomically(tmp_path / "a[1].json", "whole")
    assert names(tmp_path) == ["a[1].json", "b.json"]


def test_the_temporary_file_of_a_running_process_is_kept(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a.json") as other:
        write_atomically(tmp_path / "a.json", "whole")
        remove_abandoned(tmp_path)
        assert len(names(tmp_path)) == 2
        assert (tmp_path / "a.json").read_text() == "whole"
        other.communicate("")
        assert other.returncode == 0
    assert names(tmp_path) == ["a.json"] and (tmp_path / "a.json").read_text() == "half"


def test_only_temporary_files_of_killed_processes_are_removed_from_a_folder(tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "a.json") as killed:
        killed.kill()
        killed.wait()
    for other in (".hidden", ".a.json.backup", ".a.json.0123456789abcdeX"):
        (tmp_path / other).write_text("")
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".a.json.0123456789abcdeX", ".a.json.backup", ".hidden"]


def test_several_files_are_all_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / "new" / "a": "1", tmp_path / "b": "2", tmp_path / "c": "3"}
    (tmp_path / "b").write_text("old")
    synced: list[int] = []

    def full_at_the_third(_: int) -> None:
        synced.append(1)
        if len(synced) == 3:
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


def test_a_lock_excludes_other_processes_and_ends_when_its_process_is_killed(tmp_path: Path) -> None:
    with process(HOLDER, tmp_path / "lock") as other:
        with locked(tmp_path / "lock", wait=False) as held:
            assert not held
        other.kill()
        with locked(tmp_path / "lock") as held:  # waits until the other process has ended
            assert held
            with locked(tmp_path / "lock", wait=False) as twice:
                assert not twice
    with locked(tmp_path / "lock", wait=False) as held:
        assert held


def test_a_lock_file_removed_while_it_is_locked_is_created_and_locked_again(
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
            assert not also, "else two processes would make the same artifact"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported_and_files_can_still_be_written_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    temporary = tmp_path / ".a.json.0123456789abcdef"
    temporary.write_text("another process may be writing it")

    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UserError, match=r"the file system has no locks \(.*\); give a folder on another"):
        locked(tmp_path / "lock").__enter__()
    write_atomically(tmp_path / "a.json", "whole")
    assert (tmp_path / "a.json").read_text() == "whole" and temporary.exists()
