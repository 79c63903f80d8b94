"""The store: artifacts are complete or absent, verified before use, and made once."""

import errno
import hashlib
import json
import os
import shutil
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
    assert store.make_artifact(CALL, _work)
    return store


def test_an_artifact_exists_after_it_was_made_and_is_not_made_twice(made: Store) -> None:
    assert made.has(CALL) and made.verified(CALL)
    assert made.path(CALL) == made.root / "score" / CALL.key
    assert (made.path(CALL) / "deep" / "numbers.txt").read_text() == "1 2 3"
    assert made.cost(CALL) == COST

    def never(out: Path) -> Cost:
        raise AssertionError("the artifact exists")

    assert not made.make_artifact(CALL, never)


def test_the_manifest_lists_inputs_parameters_cost_and_the_hash_of_every_file(made: Store) -> None:
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


def test_the_key_depends_on_stage_version_parameters_and_inputs_but_not_on_paths() -> None:
    others = [
        StageCall("augment", 1, CALL.params, CALL.inputs),
        StageCall("score", 2, CALL.params, CALL.inputs),
        StageCall("score", 1, {"reduction": "received_strict"}, CALL.inputs),
        StageCall("score", 1, CALL.params, {"corpus": StageCall("corpus", 2, SOURCE.params)}),
        StageCall("score", 1, CALL.params, {"texts": SOURCE}),
    ]
    assert len({call.key for call in (*others, CALL)}) == 6
    assert StageCall("score", 1, CALL.params, CALL.inputs, {"model": "/elsewhere"}).key == CALL.key


def test_the_key_does_not_depend_on_the_order_of_parameters() -> None:
    assert StageCall("score", 1, {"a": 1, "b": 2}).key == StageCall("score", 1, {"b": 2, "a": 1}).key


def test_work_that_fails_leaves_no_files(store: Store) -> None:
    def fails(out: Path) -> Cost:
        _work(out)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.make_artifact(CALL, fails)
    assert not store.has(CALL)
    assert _files(store.root) == set()
    assert store.make_artifact(CALL, _work)


def test_an_artifact_is_invisible_until_its_work_is_done(store: Store) -> None:
    def looks(out: Path) -> Cost:
        cost = _work(out)
        assert not store.path(CALL).exists()
        return cost

    assert store.make_artifact(CALL, looks)


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
    """Change a file and its hash in the manifest together."""
    _edit_file(folder)
    digest = hashlib.sha256(b"Text").hexdigest()
    _edit_manifest(lambda manifest: manifest["files"].update({"text.txt": digest}))(folder)


@pytest.mark.parametrize("damage", [_edit_file, _lose_file, _add_file])
def test_an_artifact_with_changed_files_is_detected_and_made_again(made: Store, damage: Callable[[Path], None]) -> None:
    damage(made.path(CALL))
    assert not made.verified(CALL)
    assert made.make_artifact(CALL, _work) and made.verified(CALL)
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
def test_an_artifact_with_a_changed_manifest_is_detected_and_made_again(
    made: Store, damage: Callable[[Path], None]
) -> None:
    damage(made.path(CALL))
    assert not made.has(CALL) and not made.verified(CALL)
    with pytest.raises(UserError, match="run the suite again"):
        made.cost(CALL)
    assert made.make_artifact(CALL, _work) and made.verified(CALL)
    assert (made.path(CALL) / "text.txt").read_text() == "text"


def test_an_artifact_under_the_name_of_another_call_is_rejected(made: Store) -> None:
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

print(Store(Path(sys.argv[1])).make_artifact(StageCall("score", 1, {}), work))
"""


def _process(store: Store, counter: Path, fate: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, str(store.root), str(counter), fate]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_processes_that_need_the_same_artifact_make_it_once(store: Store, tmp_path: Path) -> None:
    processes = [_process(store, tmp_path / "counter", "live") for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(outputs) == ["False", "False", "True"]
    assert (tmp_path / "counter").read_text() == "worked\n"


def test_the_unfinished_work_of_a_killed_process_is_invisible_and_replaced(store: Store, tmp_path: Path) -> None:
    assert _process(store, tmp_path / "counter", "die").wait(timeout=60) == -9
    call = StageCall("score", 1, {})
    assert not store.has(call) and not store.path(call).exists()
    assert any(path.name == "half" for path in store.root.rglob("*")), "the process was killed during its work"
    assert store.make_artifact(call, _work) and store.verified(call)
    assert _files(store.root) == {
        f"score/{call.key}/{name}" for name in ("deep/numbers.txt", "text.txt", "manifest.json")
    }


def test_sweep_removes_the_unfinished_work_of_killed_processes_and_keeps_that_of_running_ones(
    store: Store, tmp_path: Path
) -> None:
    assert _process(store, tmp_path / "counter", "die").wait(timeout=60) == -9

    def sweeps(out: Path) -> Cost:
        store.sweep()
        assert out.is_dir(), "this work is not finished"
        return _work(out)

    assert store.make_artifact(CALL, sweeps)
    assert list((store.root / ".tmp").iterdir()) == []


def test_an_unreadable_artifact_is_reported_and_kept(made: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(file))

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.store.artifacts.file_hash", broken)
        for action in (made.verified, lambda call: made.make_artifact(call, _work)):
            with pytest.raises(UserError, match=r"cannot be read \(Input/output error\); make it readable, or"):
                action(CALL)
    assert made.verified(CALL)


def test_an_unreadable_manifest_is_reported_rather_than_counted_as_missing(
    made: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(UserError, match=r"manifest.json: cannot be read \(Permission denied\)"):
        made.has(CALL)


def test_a_file_in_place_of_an_artifact_that_cannot_be_removed_is_named(store: Store) -> None:
    store.path(CALL).parent.mkdir(parents=True)
    store.path(CALL).write_text("a file instead of a folder")
    with pytest.raises(UserError, match=rf"{CALL.key}: cannot be removed \(Not a directory\); remove it"):
        store.make_artifact(CALL, _work)


def test_an_artifact_is_flushed_to_the_disk_before_it_is_renamed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert store.make_artifact(CALL, _work)
    assert store.path(CALL).parent.stat().st_ino in synced, "the new name is flushed as well"


def test_an_artifact_keeps_its_environment_which_is_no_part_of_its_key(store: Store) -> None:
    assert store.make_artifact(CALL, _work, {"packages": {"torch": "2.13.0"}})
    assert store.environment(CALL) == {"packages": {"torch": "2.13.0"}}
    assert not store.make_artifact(CALL, _work, {"packages": {"torch": "3.0"}})
    assert store.environment(CALL) == {"packages": {"torch": "2.13.0"}}


def test_checkpoints_stay_while_a_stage_fails_and_are_removed_once_it_is_made(store: Store) -> None:
    def interrupted(out: Path) -> Cost:
        store.resume_folder(CALL).mkdir(parents=True)
        (store.resume_folder(CALL) / "half").write_text("of the way")
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        store.make_artifact(CALL, interrupted)
    assert (store.resume_folder(CALL) / "half").read_text() == "of the way"
    assert store.make_artifact(CALL, _work)
    assert not store.resume_folder(CALL).exists()


def test_checkpoints_are_removed_also_if_only_their_removal_was_interrupted(made: Store) -> None:
    made.resume_folder(CALL).mkdir(parents=True)
    assert not made.make_artifact(CALL, _work)
    assert not made.resume_folder(CALL).exists()


OF_A_SERVER = StageCall("write", 1, {"api": "m", "sampling": {"seed": 1}})


def _writing(text: str) -> Callable[[Path], Cost]:
    def work(out: Path) -> Cost:
        (out / "written.jsonl").write_text(text)
        (out / "report.json").write_text("{}")
        return COST

    return work


def test_the_texts_of_a_server_are_pinned_by_their_hash(store: Store) -> None:
    assert store.make_artifact(OF_A_SERVER, _writing("first"))
    (pin,) = (store.root / ".pins").iterdir()
    assert pin.name == f"write-{OF_A_SERVER.key}"
    assert pin.read_text().strip() == hashlib.sha256(b"first").hexdigest()


def test_an_artifact_that_every_machine_makes_alike_is_not_pinned(made: Store) -> None:
    assert not (made.root / ".pins").exists()


@pytest.mark.parametrize("loss", ["folder", "manifest.json", "written.jsonl"])
def test_lost_texts_of_a_server_are_replaced_by_the_same_texts_alone(store: Store, loss: str) -> None:
    store.make_artifact(OF_A_SERVER, _writing("first"))
    folder = store.path(OF_A_SERVER)
    if loss == "folder":
        shutil.rmtree(folder)
    else:
        (folder / loss).write_text("damaged")
    with pytest.raises(
        UserError, match=rf"write/{OF_A_SERVER.key}: the texts that .* restore .* remove .*\.pins/write-"
    ):
        store.make_artifact(OF_A_SERVER, _writing("other"))
    assert not store.verified(OF_A_SERVER)
    assert folder.exists() == (loss != "folder"), "what is left of the first texts stays"
    assert store.make_artifact(OF_A_SERVER, _writing("first")) and store.verified(OF_A_SERVER)


def test_without_its_pin_an_artifact_is_made_anew(store: Store) -> None:
    store.make_artifact(OF_A_SERVER, _writing("first"))
    shutil.rmtree(store.path(OF_A_SERVER))
    store.pin(OF_A_SERVER).unlink()
    assert store.make_artifact(OF_A_SERVER, _writing("other"))
    assert store.pin(OF_A_SERVER).read_text().strip() == hashlib.sha256(b"other").hexdigest()


def test_an_intact_artifact_with_other_texts_than_the_pinned_ones_is_refused(store: Store) -> None:
    store.make_artifact(OF_A_SERVER, _writing("first"))
    store.pin(OF_A_SERVER).write_text("0" * 64)
    with pytest.raises(UserError, match="have now|has now written others"):
        store.make_artifact(OF_A_SERVER, _writing("first"))
