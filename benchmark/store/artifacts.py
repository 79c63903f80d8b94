"""Artifacts by key: a folder per stage and key, written whole, verified when read, made by one process at a time.

STORE/<stage>/<key>/        the stage's files and manifest.json (what went in, the hash of every file, the cost)
STORE/.tmp/, STORE/.locks/  work in progress
STORE/.begun/               what a stage that was cut off goes on from
STORE/.runs/                how far the runs under way are (benchmark/progress/presence.py)
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
    """One stage to do: its parameters and the artifacts it reads, by role. `key` names what it makes.

    `where` says where to find things (paths) and is no part of the key: the same model is the same in another folder.
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


class Store:
    """A folder of artifacts that any number of processes may use at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, call: StageCall) -> Path:
        """The folder of the call's artifact, whether it is there or not."""
        return self.root / call.stage / call.key

    def begun(self, call: StageCall) -> Path:
        """A folder for what a stage that is cut off can go on from. It goes when the artifact is there."""
        return self.root / ".begun" / f"{call.stage}-{call.key}"

    def has(self, call: StageCall) -> bool:
        """Whether the artifact is there, going by its manifest alone (`verified` reads every file)."""
        return self._manifest(call) is not None

    def verified(self, call: StageCall) -> bool:
        """Whether the artifact is there, with the files that its manifest names and no others, each with its hash.

        Raises UserError if it cannot be read: that is not the same as broken, and no reason to make it again.
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
        """What the artifact took to make.

        Raises UserError if it is not there.
        """
        return Cost.model_validate(self._told(call)["cost"])

    def environment(self, call: StageCall) -> dict[str, Any]:
        """What the artifact was made on, as `make` was told.

        Raises UserError if it is not there.
        """
        return dict(self._told(call)["environment"])

    def make(self, call: StageCall, work: Callable[[Path], Cost], environment: Mapping[str, Any] | None = None) -> bool:
        """Make the artifact unless it is there and whole; `work` writes its files to the folder it is given.

        `environment` says what it is made on; it is kept in the manifest and is no part of the key.
        Returns whether work was done. Another process making the same artifact is waited for. What is written becomes
        visible in one rename, when all of it is on the disk; an artifact that fails its check is thrown away and made
        again.

        Raises UserError if what is there cannot be read or removed, or if the file system has no locks.
        """
        with self.locked(f"{call.stage}-{call.key}"):
            if self.verified(call):
                shutil.rmtree(self.begun(call), ignore_errors=True)
                return False

            def fill(folder: Path) -> None:
                self._seal(folder, call, work(folder), environment or {})

            self._place(call, fill)
            return True

    def take_in(self, call: StageCall, fill: Callable[[Path], None]) -> None:
        """Put an artifact that was made elsewhere in its place, unless it is there and whole.

        `fill` writes its files and its manifest to the folder it is given, and raises what it will if they are not
        those that were sealed: nothing is in the place then.

        Raises UserError if what is there cannot be read or removed, or if the file system has no locks.
        """
        with self.locked(f"{call.stage}-{call.key}"):
            if not self.verified(call):
                self._place(call, fill)

    def size(self, call: StageCall) -> int:
        """Bytes of the artifact's files."""
        return sum(file.stat().st_size for file in self.path(call).rglob("*") if file.is_file())

    def remove(self, call: StageCall) -> int | None:
        """Remove an artifact; returns the bytes of its files, or None if somebody is at it, and it stays.

        Raises UserError if it cannot be removed.
        """
        with self.locked(f"{call.stage}-{call.key}", wait=False) as ours:
            if not ours:
                return None
            size = self.size(call)
            (self.path(call) / MANIFEST).unlink(missing_ok=True)  # what is cut off here is no artifact any more
            _remove(self.path(call))
            return size

    def sweep(self) -> None:
        """Remove what killed processes left half done, and nothing that anybody is at work on.

        A store that cannot be written stays as it is: whoever has to write there is told.
        """
        for folder in self.root.glob(".tmp/*"):
            with suppress(OSError), self.locked(folder.name, wait=False) as ours:
                if ours:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold one of the store's locks, by its name; yields whether it is held, as it always is with `wait`."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with locked(locks / name, wait) as held:
            yield held

    def _place(self, call: StageCall, fill: Callable[[Path], None]) -> None:
        """Have a folder filled and give it the artifact's name; the artifact's lock is held."""
        final = self.path(call)
        _remove(final)
        folder = self.root / ".tmp" / f"{call.stage}-{call.key}"  # the lock makes it ours
        _remove(folder)
        folder.mkdir(parents=True)
        try:
            fill(folder)
            sync_tree(folder)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.begun(call), ignore_errors=True)

    def _manifest(self, call: StageCall) -> dict[str, Any] | None:
        """The manifest without its own hash; None if it is not there, was changed, or is that of another artifact."""
        file = self.path(call) / MANIFEST
        try:
            text = file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise _unreadable(file, error) from None
        return sealed_manifest(text, call)

    def _told(self, call: StageCall) -> dict[str, Any]:
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
        manifest = json.loads(json.dumps(manifest))
        write_atomically(folder / MANIFEST, json.dumps({**manifest, "sha256": _hash_of(manifest)}, indent=1))


def sealed_manifest(text: str, call: StageCall) -> dict[str, Any] | None:
    """What a manifest holds beside its own hash; None if it was changed, or is that of another artifact."""
    try:
        manifest = json.loads(text)
        sealed = manifest.pop("sha256")
        whole = sealed == _hash_of(manifest) and manifest["key"] == call.key and "environment" in manifest
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if whole else None


def _remove(folder: Path) -> None:
    """Remove a folder and all in it, if it is there. Raises UserError if it cannot be."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be removed ({error.strerror}); remove it, or give another folder") from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}); see to that, or remove it to have it made again")


def file_hashes(folder: Path, but: str = MANIFEST) -> dict[str, str]:
    """Hash of every file in a folder but the one that holds these hashes, by relative path."""
    files = {str(f.relative_to(folder)): f for f in sorted(folder.rglob("*")) if f.is_file()}
    return {name: file_hash(file) for name, file in files.items() if name != but}


def _hash_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
