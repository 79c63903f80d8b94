"""Sharing artifacts between machines through a shared file system or object store. Each machine also has its own store.

URL/<stage>/<key>/manifest.json   the artifact's manifest, uploaded last: without it the artifact does not exist
URL/<stage>/<key>/files/<sha256>  its files, named by their hashes
URL/.pins/<stage>-<key>           the hash of a pinned file (`Store`)

Two machines may upload the same artifact at once, even with different bytes (as GPUs can give): each manifest names its
own files. A file counts only if it has the hash that its manifest names. Access keys come from the environment, never
from the address.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.core.errors import USER_ERRNOS, StageFailed, UserError, hide_secrets, nearest
from benchmark.core.files import file_hash, replacing
from benchmark.store.artifacts import MANIFEST, StageCall, Store, other_texts, sealed_manifest

WEIGHTS = ".safetensors"  # suffix of files that no record needs, and that take most of the bytes
# The package that fsspec needs for each kind of address, if any; it must have the same version as fsspec.
PACKAGES = {"file": "", "memory": "", "s3": "s3fs", "gs": "gcsfs"}


class Unreachable(StageFailed):
    """The remote did not answer, or not as expected. This is no mistake of the user; trying again may help."""


class _Damaged(Exception):
    """A file of an artifact is missing, or has another hash than its manifest names. "" stands for the manifest."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Remote:
    """Artifacts by key at a URL: file:///folder, s3://bucket/folder or gs://bucket/folder.

    Raises:
        UserError: The URL is none of these or holds a password, or the package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        kind, separator, path = url.partition("://")
        if not separator:
            raise UserError(f"--remote {url}: not an address; give one like s3://bucket/folder or file:///folder")
        if kind not in PACKAGES:
            raise UserError(f"--remote {url}: unknown kind of address {kind!r}; {nearest(kind, [*PACKAGES])}")
        if "@" in path.split("/")[0] or "?" in path:
            raise UserError(f"--remote {kind}://***: holds keys or options; set them in the environment")
        if not path.strip("/"):
            raise UserError(f"--remote {url}: names no folder; give one like s3://bucket/folder or file:///folder")
        self._files, self._root = _opened(self.url, kind)
        self._on_disk = kind == "file"

    def has(self, call: StageCall) -> bool:
        """Whether the remote has the artifact, judged by its manifest; `pull` checks every file.

        Raises:
            UserError, Unreachable: The manifest cannot be read.
        """
        return self._manifest(call) is not None

    def pull(self, store: Store, call: StageCall, leave: str | None = None) -> bool:
        """Download the artifact to a store that lacks it; returns whether the store now has it.

        An artifact with a missing or changed file is removed from the remote, so that it is made again.

        Args:
            store: The store of this machine.
            call: The stage that made the artifact.
            leave: Skip files with this suffix. `store.verified` is then False, so that a stage that needs the whole
                artifact downloads it again.

        Raises:
            UserError: The artifact cannot be read, or the store cannot be written.
            Unreachable: The remote does not answer.
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
            store.add(call, fill)
        except _Damaged as error:
            self._remove(call, error.name)
            return False
        return True

    def push(self, store: Store, call: StageCall) -> None:
        """Upload the store's artifact: its files first, then its manifest. A pinned file's hash is pinned here as well.

        Raises:
            UserError, Unreachable: The remote cannot be written, or has pinned another file.
        """
        folder = store.path(call)
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        files = (sealed_manifest(text, call) or {})["files"]
        if call.pinned:
            self._pin(call, files[call.pinned])
        for name, digest in files.items():
            target = self._path(call, "files", digest)
            if self._size(target) != (folder / name).stat().st_size:
                self._put(folder / name, target)
        self._put(folder / MANIFEST, self._path(call, MANIFEST))

    def _pin(self, call: StageCall, digest: str) -> None:
        """Pin the hash of a pinned file, or check that it is the one that was pinned."""
        pin = "/".join((self._root, ".pins", f"{call.stage}-{call.key}"))
        with self._explaining(call):
            try:
                known = bytes(self._files.cat_file(pin)).decode("utf-8", "replace").strip()
            except FileNotFoundError:
                known = None
        if known is None:
            with TemporaryDirectory() as folder:
                (file := Path(folder, "pin")).write_text(f"{digest}\n", encoding="utf-8")
                self._put(file, pin)
        elif known != digest:
            raise other_texts(f"{self.url}/{call.stage}/{call.key}", f"{self.url}/.pins/{call.stage}-{call.key}")

    def _manifest(self, call: StageCall) -> str | None:
        """The manifest's text; None if it is missing, was changed, or belongs to another artifact."""
        with self._explaining(call):
            try:
                text = bytes(self._files.cat_file(self._path(call, MANIFEST))).decode("utf-8", "replace")
            except FileNotFoundError:
                return None
        return text if sealed_manifest(text, call) else None

    def _get(self, call: StageCall, digest: str, target: Path) -> None:
        """Download a file; raises _Damaged if it is missing or has another hash."""
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise _Damaged("")
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):  # the transfer itself may have changed it
            with self._explaining(call):
                try:
                    self._files.get_file(self._path(call, "files", digest), str(target))
                except FileNotFoundError:
                    raise _Damaged(digest) from None
            if file_hash(target) == digest:
                return
        raise _Damaged(digest)

    def _size(self, target: str) -> int | None:
        """Size of a remote file in bytes; None if it is missing."""
        with self._explaining():
            try:
                return int(self._files.info(target)["size"])
            except FileNotFoundError:
                return None

    def _put(self, source: Path, target: str) -> None:
        """Upload a file, whole or not at all."""
        with self._explaining():
            if not self._on_disk:
                try:
                    self._files.put_file(str(source), target)  # object stores show a file only when it is complete
                except FileNotFoundError:
                    raise UserError(f"{self.url}: the bucket does not exist; create it first") from None
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            with replacing(Path(target)) as temporary:
                shutil.copyfile(source, temporary)

    def _remove(self, call: StageCall, digest: str) -> None:
        """Remove the manifest, then the damaged file that it names."""
        names = [(MANIFEST,), ("files", digest)] if digest else [(MANIFEST,)]
        for name in names:
            with self._explaining(call), suppress(FileNotFoundError):
                self._files.rm_file(self._path(call, *name))

    def _path(self, call: StageCall, *names: str) -> str:
        return "/".join((self._root, call.stage, call.key, *names))

    @contextmanager
    def _explaining(self, call: StageCall | None = None) -> Iterator[None]:
        """Turn a library's error into a UserError or Unreachable without keys in its message."""
        try:
            yield
        except (FileNotFoundError, UserError, _Damaged):
            raise
        except Exception as error:  # each library raises its own kinds
            reason = " ".join(hide_secrets(f"{type(error).__name__}: {error}").split())[:200]
            where = f"{self.url}: {call.stage} {call.key[:8]}" if call else self.url
            if self._is_mistake(error):
                raise UserError(f"{where}: {reason}; check keys, rights and free space, or give another URL") from None
            raise Unreachable(f"{where}: cannot be reached ({reason}); run again later") from None

    def _is_mistake(self, error: Exception) -> bool:
        """Whether the user can mend it: keys, rights, a full disk. Object stores report EIO for what may pass."""
        number = getattr(error, "errno", None)
        return (
            isinstance(error, PermissionError)
            or "Credential" in type(error).__name__
            or (number in USER_ERRNOS and (self._on_disk or number != errno.EIO))
        )


def make_or_download(remote: Remote, store: Store, call: StageCall, work: Callable[[StageCall], bool]) -> bool:
    """Make the stage's artifact and upload it, unless the remote has it; returns whether `work` made it.

    Args:
        remote: Its artifacts are not made again, and the stage's inputs are downloaded from it.
        store: This machine's own store, in which `work` makes the artifact.
        call: The stage.
        work: Makes the artifact of a stage in the store, and those of its inputs that are missing.

    Raises:
        Exception: Whatever `work` and the remote raise.
    """
    if remote.has(call):
        return False
    made = False
    if not store.verified(call):
        for source in call.inputs.values():
            if not store.verified(source) and not remote.pull(store, source):
                make_or_download(remote, store, source, work)
        made = work(call)
    remote.push(store, call)
    return made


def _opened(url: str, kind: str) -> tuple[Any, str]:
    """The fsspec file system and the path in it. Listings are not cached: other machines write at the same time."""
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
    """The path of a named file in the folder; raises _Damaged if it would be outside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name == MANIFEST:
        raise _Damaged("")
    return folder / path
