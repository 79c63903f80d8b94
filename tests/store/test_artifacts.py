"""The store: whole or not there, checked before it is used, made once."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.core.environment import Cost
from benchmark.core.errors import UserError
from benchmark.store.artifacts import StageCall, Store

ROOT = Path(__file__).resolve().parents[2]
COST = Cost(seconds=1.5, peak_memory_bytes=7)
SOURCE = StageCall("corpus", 1, {"task": "biography"})
CALL = StageCall("score", 1, {"reduction": "received"}, {"corpus": SOURCE}, {"model": "/somewhere"})


def _work(out: Path) -> Cost:
    (out / "deep").mkdir()
    (out / "deep" / "numbers.txt").write_text("1 2 3")
    (out / "text.txt").write_text("text")
    return COST


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".locks" not in path.parts}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def made(store: Store) -> Store:
    assert store.make(CALL, _work)
    return store


def test_an_artifact_is_there_after_it_was_made_and_not_made_twice(made: Store) -> None:
    assert made.has(CALL) and made.verified(CALL)
    assert made.path(CALL) == made.root / "score" / CALL.key
    assert (made.path(CALL) / "deep" / "numbers.txt").read_text() == "1 2 3"
    assert made.cost(CALL) == COST

    def never(out: Path) -> Cost:
        raise AssertionError("it is there")

    assert not made.make(CALL, never)


def test_the_manifest_says_what_went_in_and_the_hash_of_what_came_out(made: Store) -> None:
    manifest = json.loads((made.path(CALL) / "manifest.json").read_text())
    assert manifest["stage"] == "score" and manifest["version"] == 1 and manifest["key"] == CALL.key
    assert manifest["params"] == {"reduction": "received"}
    assert manifest["inputs"] == {"corpus": SOURCE.key}
    assert manifest["cost"] == {"seconds": 1.5, "peak_memory_bytes": 7}
    assert manifest["files"] == {
        "deep/numbers.txt": hashlib.sha256(b"1 2 3").hexdigest(),
        "text.txt": hashlib.sha256(b"text").hexdigest(),
    }
    assert "/somewhere" not in json.dumps(manifest)


def test_the_key_depends_on_stage_version_parameters_and_inputs_but_not_on_places() -> None:
    others = [
        StageCall("augment", 1, CALL.params, CALL.inputs),
        StageCall("score", 2, CALL.params, CALL.inputs),
        StageCall("score", 1, {"reduction": "received_strict"}, CALL.inputs),
        StageCall("score", 1, CALL.params, {"corpus": StageCall("corpus", 2, SOURCE.params)}),
        StageCall("score", 1, CALL.params, {"texts": SOURCE}),
    ]
    assert len({call.key for call in (*others, CALL)}) == 6
    assert StageCall("score", 1, CALL.params, CALL.inputs, {"model": "/elsewhere"}).key == CALL.key


def test_the_key_does_not_depend_on_the_order_in_which_parameters_were_given() -> None:
    assert StageCall("score", 1, {"a": 1, "b": 2}).key == StageCall("score", 1, {"b": 2, "a": 1}).key


def test_work_that_fails_leaves_nothing_behind(store: Store) -> None:
    def fails(out: Path) -> Cost:
        _work(out)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.make(CALL, fails)
    assert not store.has(CALL)
    assert _files(store.root) == set()
    assert store.make(CALL, _work)


def test_nothing_is_visible_before_the_work_is_done(store: Store) -> None:
    def looks(out: Path) -> Cost:
        cost = _work(out)
        assert not store.path(CALL).exists()
        return cost

    assert store.make(CALL, looks)


def _edit_file(folder: Path) -> None:
    (folder / "text.txt").write_text("Text")


def _lose_file(folder: Path) -> None:
    (folder / "deep" / "numbers.txt").unlink()


def _add_file(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def _lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _cut_manifest(folder: Path) -> None:
    content = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(content[: len(content) // 2])


def _manifest_of_another_kind(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def _edit_manifest(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


def _hash_to_fit(folder: Path) -> None:
    """A careful hand: file and manifest changed together."""
    _edit_file(folder)
    digest = hashlib.sha256(b"Text").hexdigest()
    _edit_manifest(lambda manifest: manifest["files"].update({"text.txt": digest}))(folder)


@pytest.mark.parametrize("unnoticed_by_has", [_edit_file, _lose_file, _add_file])
def test_a_changed_folder_is_noticed_and_made_again(made: Store, unnoticed_by_has: Callable[[Path], None]) -> None:
    unnoticed_by_has(made.path(CALL))
    assert not made.verified(CALL)
    assert made.make(CALL, _work) and made.verified(CALL)
    assert _files(made.path(CALL)) == {"deep/numbers.txt", "text.txt", "manifest.json"}


@pytest.mark.parametrize(
    "damage",
    [
        _lose_manifest,
        _cut_manifest,
        _manifest_of_another_kind,
        _hash_to_fit,
        _edit_manifest(lambda manifest: manifest["params"].update(extra=1)),
        _edit_manifest(lambda manifest: manifest["cost"].update(seconds=0.1)),
        _edit_manifest(lambda manifest: manifest.pop("sha256")),
    ],
)
def test_a_changed_manifest_is_noticed_and_the_artifact_made_again(made: Store, damage: Callable[[Path], None]) -> None:
    damage(made.path(CALL))
    assert not made.has(CALL) and not made.verified(CALL)
    with pytest.raises(UserError, match="run the suite again"):
        made.cost(CALL)
    assert made.make(CALL, _work) and made.verified(CALL)
    assert (made.path(CALL) / "text.txt").read_text() == "text"


def test_the_artifact_of_another_call_is_not_taken_for_this_one(made: Store) -> None:
    other = StageCall("score", 1, {"reduction": "received_strict"}, {"corpus": SOURCE})
    os.rename(made.path(CALL), made.path(other))
    assert not made.has(other) and not made.verified(other)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from benchmark.records.record import Cost
from benchmark.store.artifacts import StageCall, Store

def work(out):
    with open(sys.argv[2], "a") as file:
        file.write("worked\\n")
    (out / "half").write_text("half done")
    if sys.argv[3] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return Cost(seconds=0.3, peak_memory_bytes=1)

print(Store(Path(sys.argv[1])).make(StageCall("score", 1, {}), work))
"""


def _process(store: Store, counter: Path, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, str(store.root), str(counter), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_processes_that_want_one_artifact_at_once_do_its_work_once(store: Store, tmp_path: Path) -> None:
    processes = [_process(store, tmp_path / "counter", "live") for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(outputs) == ["False", "False", "True"]
    assert (tmp_path / "counter").read_text() == "worked\n"


def test_what_a_killed_process_left_is_neither_seen_nor_kept(store: Store, tmp_path: Path) -> None:
    assert _process(store, tmp_path / "counter", "die").wait(timeout=60) == -9
    call = StageCall("score", 1, {})
    assert not store.has(call) and not store.path(call).exists()
    assert any(path.name == "half" for path in store.root.rglob("*")), "the kill came in the midst of the work"
    assert store.make(call, _work) and store.verified(call)
    assert _files(store.root) == {
        f"score/{call.key}/{name}" for name in ("deep/numbers.txt", "text.txt", "manifest.json")
    }


def test_what_a_killed_process_left_of_an_artifact_that_nobody_asks_for_again_is_swept_away(
    store: Store, tmp_path: Path
) -> None:
    assert _process(store, tmp_path / "counter", "die").wait(timeout=60) == -9

    def sweeps(out: Path) -> Cost:
        store.sweep()
        assert out.is_dir(), "somebody is at work on it"
        return _work(out)

    assert store.make(CALL, sweeps)
    assert list((store.root / ".tmp").iterdir()) == []


def test_an_artifact_that_cannot_be_read_is_not_thrown_away(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(file))

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.store.artifacts.file_hash", broken)
        for look in (made.verified, lambda call: made.make(call, _work)):
            with pytest.raises(UserError, match=r"cannot be read \(Input/output error\); see to that, or remove it"):
                look(CALL)
    assert made.verified(CALL)


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(UserError, match=r"manifest.json: cannot be read \(Permission denied\)"):
        made.has(CALL)


def test_what_stands_in_the_way_of_an_artifact_and_cannot_be_removed_is_named(store: Store) -> None:
    store.path(CALL).parent.mkdir(parents=True)
    store.path(CALL).write_text("a file, where there should be a folder")
    with pytest.raises(UserError, match=rf"{CALL.key}: cannot be removed \(Not a directory\); remove it"):
        store.make(CALL, _work)


def test_an_artifact_is_on_the_disk_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        if Path(target) == store.path(CALL):
            inside = {path.stat().st_ino for path in (source, *source.rglob("*"))}
            assert len(inside) == 5 and inside <= synced, "three files and two folders"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    assert store.make(CALL, _work)
    assert store.path(CALL).parent.stat().st_ino in synced, "the name is on the disk"


def test_an_artifact_keeps_what_it_was_made_on_and_its_key_does_not_depend_on_it(store: Store) -> None:
    assert store.make(CALL, _work, {"packages": {"torch": "2.13.0"}})
    assert store.environment(CALL) == {"packages": {"torch": "2.13.0"}}
    assert not store.make(CALL, _work, {"packages": {"torch": "3.0"}})
    assert store.environment(CALL) == {"packages": {"torch": "2.13.0"}}


def test_what_a_stage_goes_on_from_stays_while_it_fails_and_goes_when_it_is_made(store: Store) -> None:
    def cut_off(out: Path) -> Cost:
        store.begun(CALL).mkdir(parents=True)
        (store.begun(CALL) / "half").write_text("of the way")
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        store.make(CALL, cut_off)
    assert (store.begun(CALL) / "half").read_text() == "of the way"
    assert store.make(CALL, _work)
    assert not store.begun(CALL).exists()


def test_what_was_gone_on_from_goes_also_where_only_removing_it_was_cut_off(made: Store) -> None:
    made.begun(CALL).mkdir(parents=True)
    assert not made.make(CALL, _work)
    assert not made.begun(CALL).exists()
