"""Artifacts on a file system or object store that machines share, as each has a store of its own.

URL/<stage>/<key>/manifest.json   the artifact's manifest, put there last: the artifact is there with it, or not at all
URL/<stage>/<key>/files/<sha256>  its files, named by their hashes

So two machines that bring the same artifact do not disturb each other, not even where their bytes differ (as on a GPU
they may): each manifest names its own files. Nothing is believed that does not have the hash its manifest names. Keys
to the place are the environment's: an address holds none.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.core.errors import USER_ERRNOS, StageFailed, UserError, hide_secrets, nearest
from benchmark.core.files import file_hash, replacing
from benchmark.store.artifacts import MANIFEST, StageCall, Store, sealed_manifest

WEIGHTS = ".safetensors"  # how files end that no record needs, and that are most of the bytes
# What fsspec reads a kind of address with, where that is not part of it. Versions of these belong to fsspec's.
PACKAGES = {"file": "", "memory": "", "s3": "s3fs", "gs": "gcsfs"}


class Unreachable(StageFailed):
    """The place did not answer, or not as it should: no mistake of the user's, and worth another try."""


class _Broken(Exception):
    """A file that is not there, or not the one that its manifest names."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Remote:
    """Artifacts by key at a URL: file:///folder, s3://bucket/folder or gs://bucket/folder.

    Raises UserError if the URL is none of these or holds a password, and if a package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        kind, separator, place = url.partition("://")
        if not separator:
            raise UserError(f"--remote {url}: is no address; give one as s3://bucket/folder or file:///folder")
        if kind not in PACKAGES:
            raise UserError(f"--remote {url}: unknown kind of address {kind!r}; {nearest(kind, [*PACKAGES])}")
        if "@" in place.split("/")[0] or "?" in place:
            raise UserError(f"--remote {kind}://***: no keys or options in an address; give them by the environment")
        if not place.strip("/"):
            raise UserError(f"--remote {url}: names no place; give one as s3://bucket/folder or file:///folder")
        self._files, self._root = _opened(self.url, kind)
        self._on_disk = kind == "file"

    def has(self, call: StageCall) -> bool:
        """Whether the artifact is there, going by its manifest (`pull` checks every file).

        Raises UserError or Unreachable if that cannot be read.
        """
        return self._manifest(call) is not None

    def pull(self, store: Store, call: StageCall, leave: str | None = None) -> bool:
        """Bring the artifact to the store unless it is there; returns whether it is now.

        Args:
            store: Where to.
            call: Whose artifact.
            leave: How names of files end that are not brought. `store.verified` then says that the artifact is not
                whole, and who needs all of it gets it anew.

        An artifact with a file that is missing or changed is taken off the remote, so that it is made again.

        Raises UserError or Unreachable if it cannot be read, UserError if it cannot be written here.
        """
        if store.verified(call):
            return True
        text = self._manifest(call)
        if text is None:
            return False

        def fill(folder: Path) -> None:
            files = (sealed_manifest(text, call) or {})["files"]
            for name, digest in files.items():
                if leave is None or not name.endswith(leave):
                    self._get(call, digest, _inside(folder, name))
            (folder / MANIFEST).write_text(text, encoding="utf-8")

        try:
            store.take_in(call, fill)
        except _Broken as error:
            self._take_off(call, error.name)
            return False
        return True

    def push(self, store: Store, call: StageCall) -> None:
        """Have the store's artifact there too: its files first, and its manifest when all of them are.

        Raises UserError or Unreachable if it cannot be written.
        """
        folder = store.path(call)
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        for name, digest in (sealed_manifest(text, call) or {})["files"].items():
            target = self._path(call, "files", digest)
            if self._size(target) != (folder / name).stat().st_size:
                self._put(folder / name, target)
        self._put(folder / MANIFEST, self._path(call, MANIFEST))

    def _manifest(self, call: StageCall) -> str | None:
        """The manifest as it stands there; None if it is not there, was changed, or is that of another artifact."""
        with self._told(call):
            try:
                text = bytes(self._files.cat_file(self._path(call, MANIFEST))).decode("utf-8", "replace")
            except FileNotFoundError:
                return None
        return text if sealed_manifest(text, call) else None

    def _get(self, call: StageCall, digest: str, target: Path) -> None:
        """Copy a file from there. Raises _Broken if it is not there or has another hash."""
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise _Broken("")
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):  # what came wrong may have been changed on the way
            with self._told(call):
                try:
                    self._files.get_file(self._path(call, "files", digest), str(target))
                except FileNotFoundError:
                    raise _Broken(digest) from None
            if file_hash(target) == digest:
                return
        raise _Broken(digest)

    def _size(self, target: str) -> int | None:
        """Bytes of a file there; None if there is none."""
        with self._told():
            try:
                return int(self._files.info(target)["size"])
            except FileNotFoundError:
                return None

    def _put(self, source: Path, target: str) -> None:
        """Copy a file there, whole or not at all."""
        with self._told():
            if not self._on_disk:
                try:
                    self._files.put_file(str(source), target)  # object stores show nothing before its end
                except FileNotFoundError:
                    raise UserError(f"{self.url}: there is no such place; make the bucket first") from None
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            with replacing(Path(target)) as temporary:
                shutil.copyfile(source, temporary)

    def _take_off(self, call: StageCall, digest: str) -> None:
        """Remove a file that is not what it should be, and first the manifest that names it."""
        names = [(MANIFEST,), ("files", digest)] if digest else [(MANIFEST,)]
        for name in names:
            with self._told(call), suppress(FileNotFoundError):
                self._files.rm_file(self._path(call, *name))

    def _path(self, call: StageCall, *names: str) -> str:
        return "/".join((self._root, call.stage, call.key, *names))

    @contextmanager
    def _told(self, call: StageCall | None = None) -> Iterator[None]:
        """Say what a library says of the place, without keys: as the user's mistake, or as one of the place's."""
        try:
            yield
        except (FileNotFoundError, UserError, _Broken):
            raise
        except Exception as error:  # each library raises its own kinds
            reason = " ".join(hide_secrets(f"{type(error).__name__}: {error}").split())[:200]
            where = f"{self.url}: {call.stage} {call.key[:8]}" if call else self.url
            if self._is_mistake(error):
                raise UserError(f"{where}: {reason}; give rights or keys, make room, or give another place") from None
            raise Unreachable(f"{where}: cannot be reached ({reason}); run again when it can") from None

    def _is_mistake(self, error: Exception) -> bool:
        """Whether it is the user's to mend: keys, rights, a disk. Object stores say EIO of what may pass by itself."""
        number = getattr(error, "errno", None)
        return (
            isinstance(error, PermissionError)
            or "Credential" in type(error).__name__
            or (number in USER_ERRNOS and (self._on_disk or number != errno.EIO))
        )


def make(remote: Remote, store: Store, call: StageCall, work: Callable[[StageCall], bool]) -> bool:
    """Have the stage's artifact on the remote; returns whether it had to be made.

    Args:
        remote: What is there is not made again, and what the stage reads is brought from there.
        store: This machine's own, where `work` makes what is missing.
        call: The stage.
        work: Makes an artifact in the store from those that are there, and what it reads if that is missing.

    Raises what `work` and the remote raise.
    """
    if remote.has(call):
        return False
    made = False
    if not store.verified(call):
        for source in call.inputs.values():
            if not store.verified(source) and not remote.pull(store, source):
                make(remote, store, source, work)
        made = work(call)
    remote.push(store, call)
    return made


def _opened(url: str, kind: str) -> tuple[Any, str]:
    """The file system of fsspec and the place in it. Listings are not kept: others write there at the same time."""
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        package = PACKAGES[kind]
        raise UserError(
            f"--remote {url}: needs a package that is not installed: pip install {package}=={fsspec.__version__}"
        ) from None
    return files, str(root)


def _inside(folder: Path, name: str) -> Path:
    """Where a file of that name lies in the folder. Raises _Broken if it would lie elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name == MANIFEST:
        raise _Broken("")
    return folder / path
