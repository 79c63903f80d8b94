"""Artifacts by key: a folder per stage and key, written atomically, verified when read, made by one process at a time.

STORE/<stage>/<key>/        the stage's files and manifest.json (inputs, parameters, hash of every file, cost)
STORE/.tmp/, STORE/.locks/  work in progress
STORE/.begun/               checkpoints of interrupted stages
STORE/.unpacked/            GGUF models in files that load fast (benchmark/models/unpacked.py)
STORE/.runs/                progress of the current runs (benchmark/progress/presence.py)
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.core.environment import Cost
from benchmark.core.errors import UserError
from benchmark.core.files import file_hash, locked, sync_folder, sync_tree, write_atomically

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StageCall:
    """One stage with its parameters and inputs. Its `key` names the artifact it makes.

    Attributes:
        stage: Name of a module in benchmark/stages.
        version: See `benchmark.store.versions`.
        params: What the result depends on besides the inputs, as JSON values.
        inputs: The stages whose artifacts it reads, by role.
        where: Where models and data are found, such as paths. No part of the key: a model in another folder is the same
            model.
    """

    stage: str
    version: int
    params: Mapping[str, Any]
    inputs: Mapping[str, "StageCall"] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Hash of everything the artifact depends on (24 hex digits)."""
        content = {
            "stage": self.stage,
            "version": self.version,
            "params": self.params,
            "inputs": {role: call.key for role, call in self.inputs.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def uses_gpu(self) -> bool:
        """Whether the stage computes on a GPU."""
        return self.params.get("device") == "cuda"

    @property
    def pinned(self) -> str | None:
        """The file that must not change once it is made, since a server gives others each time; usually None."""
        return "written.jsonl" if "api" in self.params else None


class Store:
    """A folder of artifacts that several processes may use at the same time.

    An artifact with a `pinned` file leaves the file's hash in .pins when it is made. The hash stays when the artifact
    is lost: other artifacts may be made from the lost texts, and their keys do not depend on the texts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, call: StageCall) -> Path:
        """The folder of the call's artifact, whether it exists or not."""
        return self.root / call.stage / call.key

    def resume_folder(self, call: StageCall) -> Path:
        """The folder for the call's checkpoints after an interruption; removed once the artifact is made."""
        return self.root / ".begun" / f"{call.stage}-{call.key}"

    def pin(self, call: StageCall) -> Path:
        """The file with the hash of the call's pinned file."""
        return self.root / ".pins" / f"{call.stage}-{call.key}"

    def has(self, call: StageCall) -> bool:
        """Whether the artifact exists, judged by its manifest alone; `verified` reads every file."""
        return self._manifest(call) is not None

    def verified(self, call: StageCall) -> bool:
        """Whether the artifact exists with exactly the files and hashes that its manifest names.

        Raises:
            UserError: A file cannot be read. This is no proof of damage, so the artifact is not made again.
        """
        manifest = self._manifest(call)
        if manifest is None:
            return False
        try:
            return bool(file_hashes(self.path(call)) == manifest["files"])
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.path(call), error) from None

    def cost(self, call: StageCall) -> Cost:
        """Time and memory that making the artifact took.

        Raises:
            UserError: There is no such artifact.
        """
        return Cost.model_validate(self._existing_manifest(call)["cost"])

    def environment(self, call: StageCall) -> dict[str, Any]:
        """The environment the artifact was made in, as passed to `make_artifact`.

        Raises:
            UserError: There is no such artifact.
        """
        return dict(self._existing_manifest(call)["environment"])

    def make_artifact(
        self, call: StageCall, work: Callable[[Path], Cost], environment: Mapping[str, Any] | None = None
    ) -> bool:
        """Make the artifact unless it exists and is intact; returns whether it was made.

        If another process is making the same artifact, this waits for it. The artifact appears in one rename after all
        its files are flushed to the disk. A damaged artifact is removed and made again.

        Args:
            call: The stage.
            work: Writes the stage's files to the folder that it is given, and returns their cost.
            environment: The code and machine it is made with: kept in the manifest, but no part of the key.

        Raises:
            UserError: An existing artifact cannot be read or removed, the file system has no locks, or the pinned file
                differs from the one made before.
        """
        with self.locked(f"{call.stage}-{call.key}"):
            if self.verified(call):
                self._pin(call, self.path(call))
                shutil.rmtree(self.resume_folder(call), ignore_errors=True)
                return False

            def fill(folder: Path) -> None:
                self._seal(folder, call, work(folder), environment or {})

            self._publish(call, fill)
            return True

    def add(self, call: StageCall, fill: Callable[[Path], None]) -> None:
        """Add an artifact that was made elsewhere, unless this store has it intact.

        Args:
            call: The stage that made it.
            fill: Writes its files and its manifest to the folder that it is given. If it raises, nothing is added.

        Raises:
            UserError: An existing artifact cannot be read or removed, the file system has no locks, or the pinned file
                differs from the one made before.
        """
        with self.locked(f"{call.stage}-{call.key}"):
            if not self.verified(call):
                self._publish(call, fill)

    def size(self, call: StageCall) -> int:
        """Bytes of the artifact's files."""
        return sum(file.stat().st_size for file in self.path(call).rglob("*") if file.is_file())

    def remove(self, call: StageCall) -> int | None:
        """Remove an artifact; returns the bytes of its files, or None if the artifact is locked and stays.

        Raises:
            UserError: It cannot be removed.
        """
        with self.locked(f"{call.stage}-{call.key}", wait=False) as held:
            if not held:
                return None
            size = self.size(call)
            (self.path(call) / MANIFEST).unlink(missing_ok=True)  # first: a half-removed folder is no artifact
            _remove(self.path(call))
            return size

    def sweep(self) -> None:
        """Remove the unfinished work of killed processes, and keep that of running ones.

        If the store cannot be written, nothing is removed, and the next write reports the error.
        """
        for folder in self.root.glob(".tmp/*"):
            with suppress(OSError), self.locked(folder.name, wait=False) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold the store's lock of that name; yields whether it is held, as in `benchmark.core.files.locked`."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with locked(locks / name, wait) as held:
            yield held

    def _publish(self, call: StageCall, fill: Callable[[Path], None]) -> None:
        """Fill a temporary folder and rename it to the artifact's. The caller holds the artifact's lock."""
        final = self.path(call)
        if not call.pinned:
            _remove(final)  # else kept until its replacement is known to hold the same texts
        folder = self.root / ".tmp" / f"{call.stage}-{call.key}"  # no other process uses it while the lock is held
        _remove(folder)
        folder.mkdir(parents=True)
        try:
            fill(folder)
            self._pin(call, folder)
            sync_tree(folder)
            final.parent.mkdir(parents=True, exist_ok=True)
            if call.pinned:
                _remove(final)
            os.replace(folder, final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.resume_folder(call), ignore_errors=True)

    def _pin(self, call: StageCall, folder: Path) -> None:
        """Pin the pinned file in a folder, or check that it is the one that was pinned. The caller holds the lock."""
        if call.pinned is None:
            return
        digest, pin = file_hash(folder / call.pinned), self.pin(call)
        try:
            known = pin.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            pin.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(pin, f"{digest}\n")
            return
        except OSError as error:
            raise _unreadable(pin, error) from None
        if known != digest:
            raise other_texts(str(self.path(call)), str(pin))

    def _manifest(self, call: StageCall) -> dict[str, Any] | None:
        """The manifest without its own hash; None if it is missing, was changed, or belongs to another artifact."""
        file = self.path(call) / MANIFEST
        try:
            text = file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise _unreadable(file, error) from None
        return sealed_manifest(text, call)

    def _existing_manifest(self, call: StageCall) -> dict[str, Any]:
        manifest = self._manifest(call)
        if manifest is None:
            raise UserError(f"{self.path(call)}: the artifact is missing or was changed; run the suite again")
        return manifest

    def _seal(self, folder: Path, call: StageCall, cost: Cost, environment: Mapping[str, Any]) -> None:
        manifest: dict[str, Any] = {
            "key": call.key,
            "stage": call.stage,
            "version": call.version,
            "params": call.params,
            "inputs": {role: source.key for role, source in call.inputs.items()},
            "files": file_hashes(folder),
            "cost": cost.model_dump(),
            "environment": environment,
        }
        manifest = json.loads(json.dumps(manifest))  # as it will be read: tuples are lists
        write_atomically(folder / MANIFEST, json.dumps({**manifest, "sha256": _hash_of(manifest)}, indent=1))


def sealed_manifest(text: str, call: StageCall) -> dict[str, Any] | None:
    """A manifest's content without its own hash; None if it was changed, or belongs to another artifact."""
    try:
        manifest = json.loads(text)
        digest = manifest.pop("sha256")
        intact = digest == _hash_of(manifest) and manifest["key"] == call.key and "environment" in manifest
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if intact else None


def _remove(folder: Path) -> None:
    """Remove a folder and its content, if it exists.

    Raises:
        UserError: It cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be removed ({error.strerror}); remove it, or give another folder") from None


def other_texts(artifact: str, pin: str) -> UserError:
    """The error if the texts of a server are no longer those that were written first."""
    return UserError(
        f"{artifact}: the texts that were written first were lost, and the server has now written others; restore this "
        f"folder, or give the writer another seed, or remove {pin} and all artifacts made from the first texts"
    )


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}); make it readable, or remove it to have it made again")


def file_hashes(folder: Path, but: str = MANIFEST) -> dict[str, str]:
    """Hash of every file in a folder by its relative path, without the file named `but`, which holds these hashes."""
    files = {str(f.relative_to(folder)): f for f in sorted(folder.rglob("*")) if f.is_file()}
    return {name: file_hash(file) for name, file in files.items() if name != but}


def _hash_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
