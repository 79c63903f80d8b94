"""Remote artifacts: complete or absent, trusted only by their hashes, and no access key in any message."""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from benchmark import ROOT
from benchmark.core.environment import Cost
from benchmark.core.errors import UserError
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import write_calls
from benchmark.store.remote import Remote, Unreachable, make_or_download
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite

SOURCE = StageCall("corpus", 1, {"task": "biography"})
CALL = StageCall("train", 1, {"seed": 1}, {"texts": SOURCE})
DIGEST = hashlib.sha256(b"1 2 3").hexdigest()


def fill(store: Store, call: StageCall, content: bytes = b"1 2 3", seconds: float = 1.5) -> Store:
    """Put an artifact of two files in a store."""

    def work(out: Path) -> Cost:
        (out / "deep").mkdir()
        (out / "deep" / "numbers.txt").write_bytes(content)
        (out / "model.safetensors").write_bytes(b"weights")
        return Cost(seconds=seconds, peak_memory_bytes=7)

    assert store.make_artifact(call, work)
    return store


@pytest.fixture(params=["file", "memory"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """An empty remote of each kind that needs no network."""
    memory = fsspec.filesystem("memory")
    yield Remote(f"file://{tmp_path}/remote" if request.param == "file" else "memory://remote")
    if memory.exists("/remote"):
        memory.rm("/remote", recursive=True)


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return fill(Store(tmp_path / "here"), CALL)


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


def path_of(remote: Remote, *names: str) -> str:
    """The remote path of the artifact, or of a file of it."""
    return "/".join((remote.url.replace("memory://", "/").removeprefix("file://"), "train", CALL.key, *names))


def files_of(remote: Remote) -> Any:
    return fsspec.filesystem(remote.url.partition("://")[0])


def test_an_uploaded_artifact_downloads_unchanged_with_its_cost(remote: Remote, here: Store, there: Store) -> None:
    assert not remote.has(CALL) and not remote.pull(there, CALL)
    remote.push(here, CALL)
    assert remote.has(CALL) and remote.pull(there, CALL) and there.verified(CALL)
    for name in ("manifest.json", "deep/numbers.txt", "model.safetensors"):
        assert (there.path(CALL) / name).read_bytes() == (here.path(CALL) / name).read_bytes()
    assert there.cost(CALL).seconds == 1.5


def test_files_left_out_of_a_download_are_fetched_when_the_whole_artifact_is_needed(
    remote: Remote, here: Store, there: Store
) -> None:
    remote.push(here, CALL)
    assert remote.pull(there, CALL, leave=".safetensors")
    assert there.cost(CALL).seconds == 1.5 and (there.path(CALL) / "deep" / "numbers.txt").exists()
    assert not (there.path(CALL) / "model.safetensors").exists() and not there.verified(CALL)
    assert remote.pull(there, CALL) and there.verified(CALL)


@pytest.mark.parametrize("uploads", [0, 1, 2])
def test_an_interrupted_upload_leaves_no_artifact(
    remote: Remote, here: Store, there: Store, uploads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, uploaded = Remote._put, list[str]()

    def cut_off(self: Remote, source: Path, target: str) -> None:
        if len(uploaded) == uploads:
            raise KeyboardInterrupt
        uploaded.append(target)
        put(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_put", cut_off)
        with pytest.raises(KeyboardInterrupt):
            remote.push(here, CALL)
    assert len(uploaded) == uploads and not any(target.endswith("manifest.json") for target in uploaded)
    assert not remote.has(CALL) and not remote.pull(there, CALL) and not there.has(CALL)
    remote.push(here, CALL)
    assert remote.pull(there, CALL) and there.verified(CALL)


def change(files: Any, path: str) -> None:
    files.pipe_file(path, b"1 2 4")


def cut(files: Any, path: str) -> None:
    files.pipe_file(path, b"1")


def lose(files: Any, path: str) -> None:
    files.rm_file(path)


@pytest.mark.parametrize("damage", [change, cut, lose])
def test_a_damaged_remote_artifact_is_removed_and_can_be_uploaded_again(
    remote: Remote, here: Store, there: Store, damage: Callable[[Any, str], None]
) -> None:
    remote.push(here, CALL)
    damage(files_of(remote), path_of(remote, "files", DIGEST))
    assert remote.has(CALL), "the manifest alone does not show the damage"
    assert not remote.pull(there, CALL)
    assert not there.has(CALL) and list((there.root / ".tmp").iterdir()) == []
    assert not remote.has(CALL)
    remote.push(here, CALL)
    assert remote.pull(there, CALL) and there.verified(CALL)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {}}', "\udcff"])
def test_a_changed_manifest_counts_as_missing(remote: Remote, here: Store, there: Store, text: str) -> None:
    remote.push(here, CALL)
    files_of(remote).pipe_file(path_of(remote, "manifest.json"), text.encode("utf-8", "surrogateescape"))
    assert not remote.has(CALL) and not remote.pull(there, CALL)
    remote.push(here, CALL)
    assert remote.has(CALL)


@pytest.mark.parametrize("name", ["../../outside", "ROOT/outside", "a/../../outside", "manifest.json"])
def test_a_manifest_cannot_write_outside_the_folder_of_its_artifact(
    tmp_path: Path, here: Store, there: Store, name: str
) -> None:
    remote = Remote(f"file://{tmp_path}/remote")
    manifest = json.loads((here.path(CALL) / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["files"] = {name.replace("ROOT", str(tmp_path)): DIGEST}
    sealed = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    remote.push(here, CALL)
    Path(path_of(remote, "manifest.json")).write_text(json.dumps({**manifest, "sha256": sealed}))
    assert remote.has(CALL)
    assert not remote.pull(there, CALL) and not there.has(CALL)
    assert not list(tmp_path.rglob("outside"))


def test_two_uploads_of_one_artifact_with_different_bytes_leave_one_of_them_intact(
    remote: Remote, here: Store, there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs can give different bytes. One machine uploads between the other's files and its manifest."""
    other = fill(Store(tmp_path / "other"), CALL, b"3 2 1", seconds=9)
    put = Remote._put

    def interrupted(self: Remote, source: Path, target: str) -> None:
        if source == here.path(CALL) / "manifest.json":
            remote.push(other, CALL)
        put(self, source, target)

    monkeypatch.setattr(Remote, "_put", interrupted)
    remote.push(here, CALL)
    assert remote.pull(there, CALL) and there.verified(CALL)
    assert (there.path(CALL) / "deep" / "numbers.txt").read_bytes() == b"1 2 3" and there.cost(CALL).seconds == 1.5


def test_a_stage_is_made_once_from_remote_inputs_and_missing_inputs_are_made_and_uploaded(
    remote: Remote, tmp_path: Path
) -> None:
    made: list[tuple[str, str]] = []

    def worker(name: str) -> Callable[[StageCall], bool]:
        def work(call: StageCall) -> bool:
            assert all(store.verified(source) for source in call.inputs.values())
            made.append((name, call.stage))
            fill(store, call)
            return True

        store = Store(tmp_path / name)
        return lambda call: work(call)

    assert make_or_download(remote, Store(tmp_path / "a"), SOURCE, worker("a"))
    assert not make_or_download(remote, Store(tmp_path / "b"), SOURCE, worker("b")), "the remote has it"
    assert make_or_download(remote, Store(tmp_path / "b"), CALL, worker("b")), (
        "from the input that the other machine made"
    )
    assert made == [("a", "corpus"), ("b", "train")]
    files_of(remote).rm_file(path_of(remote, "manifest.json"))
    files_of(remote).rm(path_of(remote).replace(f"train/{CALL.key}", f"corpus/{SOURCE.key}"), recursive=True)
    assert make_or_download(remote, Store(tmp_path / "c"), CALL, worker("c"))
    assert made[2:] == [("c", "corpus"), ("c", "train")] and remote.has(SOURCE) and remote.has(CALL)
    files_of(remote).rm_file(path_of(remote, "manifest.json"))
    assert not make_or_download(remote, Store(tmp_path / "c"), CALL, lambda call: pytest.fail("this store has it"))
    assert remote.has(CALL)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bucket/folder", r"^--remote bucket/folder: not an address; give one like s3://"),
        ("ftp://host/x", r"^--remote ftp://host/x: unknown kind of address 'ftp'; known: file, gs, memory, s3"),
        ("s3://", r"^--remote s3://: names no folder"),
        ("s3://AKIA:sentinel@bucket/x", r"^--remote s3://\*\*\*: holds keys or options; set them"),
        ("s3://bucket/x?sig=sentinel", r"^--remote s3://\*\*\*: holds keys"),
        ("s3://bucket/x", r"^--remote s3://bucket/x: needs a package that is not installed: pip install s3fs==20\d\d"),
        ("gs://bucket/x", r"^--remote gs://bucket/x: needs a package that is not installed: pip install gcsfs==20\d\d"),
    ],
)
def test_an_unusable_address_is_reported_in_one_line(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=message) as caught:
        Remote(url)
    assert "sentinel" not in str(caught.value)


class NoCredentialsError(Exception):
    """An error of a library that is no OSError."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(errno.EACCES, "Access Denied for sentinel-key"), UserError),
        (NoCredentialsError("Unable to locate credentials, not even sentinel-key"), UserError),
        (OSError(errno.ENOSPC, "No space left on device sentinel-key"), UserError),
        (OSError(errno.EIO, "503 of https://x/?X-Amz-Signature=sentinel&X-Amz-Credential=sentinel%2F1"), Unreachable),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset sentinel-key"), Unreachable),
        (RuntimeError("a library's own; https://me:sentinel@host/x"), Unreachable),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
@pytest.mark.parametrize("act", ["has", "pull", "push"])
def test_errors_of_a_remote_are_reported_without_keys_as_mistakes_or_as_unreachable(
    error: Exception, kind: type[Exception], act: str, here: Store, there: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sentinel-key")
    remote = Remote("memory://remote")

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("cat_file", "info", "put_file"):
        monkeypatch.setattr(remote._files, name, fail)
    with pytest.raises(Exception, match="^memory://remote: ") as caught:
        {
            "has": lambda: remote.has(CALL),
            "pull": lambda: remote.pull(there, CALL),
            "push": lambda: remote.push(here, CALL),
        }[act]()
    assert type(caught.value) is kind
    assert "sentinel" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_stage_made_on_one_machine_is_found_on_another(tmp_path: Path) -> None:
    files = write_calls(tmp_path / "stages", make_plan(load_suite(find_suite("smoke"))).calls())
    (corpus,) = (file for file in files if "-corpus-" in file.name)

    def stage(store: str, url: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmark", "stage", str(corpus), "--store", str(tmp_path / store)]
        return subprocess.run([*command, "--remote", url], cwd=ROOT, capture_output=True, text=True, check=False)

    url = f"file://{tmp_path}/remote"
    assert [stage(name, url).stdout.rpartition(": ")[2] for name in ("a", "b")] == ["made\n", "already stored\n"]
    assert (tmp_path / "a" / "corpus").exists() and not (tmp_path / "b" / "corpus").exists()
    refused = stage("b", f"file://{tmp_path}/stages/{corpus.name}/x")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "NotADirectory" in refused.stderr


def test_the_texts_of_a_server_are_pinned_for_all_machines(remote: Remote, tmp_path: Path) -> None:
    call = StageCall("write", 1, {"api": "m"})

    def store_with(text: str) -> Store:
        def work(out: Path) -> Cost:
            (out / "written.jsonl").write_text(text)
            return Cost(seconds=1, peak_memory_bytes=7)

        store = Store(tmp_path / text)
        store.make_artifact(call, work)
        return store

    first, other = store_with("first"), store_with("other")
    remote.push(first, call)
    with pytest.raises(UserError, match=rf"/write/{call.key}: the texts .* remove .*/\.pins/write-{call.key}"):
        remote.push(other, call)
    folder = path_of(remote).replace(f"train/{CALL.key}", f"write/{call.key}")
    files_of(remote).rm(folder, recursive=True)
    with pytest.raises(UserError, match="written others"):
        remote.push(other, call)
    remote.push(first, call)
    third = Store(tmp_path / "third")
    assert remote.pull(third, call) and third.pin(call).read_text() == first.pin(call).read_text()
    shutil.rmtree(first.path(call))
    assert remote.pull(first, call) and first.verified(call)
