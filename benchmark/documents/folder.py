"""Reading a folder of documents: .txt, .md, .html and .pdf files, with those of subfolders."""

import hashlib
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.data.texts import Text, check_characters
from benchmark.documents.formats import READERS, read_document

KNOWN = ", ".join(suffix for suffix in READERS if suffix not in (".markdown", ".htm"))


@dataclass(frozen=True)
class DocumentFolder:
    """The documents of a folder.

    Attributes:
        texts: A text for each file, in the order of their paths. Its id is the path in the folder, without the suffix.
        sha256: Hash of the files' paths and bytes.
        others: The number of what was not read: files that are no documents, by suffix; "hidden" and "links to
            folders" count such entries, and "pages of NAME without text" the pages of a PDF that is partly scanned.
    """

    texts: list[Text]
    sha256: str
    others: Counter[str]


def read_folder(folder: Path, without: Path | None = None) -> DocumentFolder:
    """Read the documents of a folder and its subfolders.

    Args:
        folder: The folder. Names that begin with a dot are left out and counted, and links to folders, too.
        without: A folder in it that is left out, such as that of results.

    Raises:
        UserError: There is no document, a file cannot be read or holds no text, or two files have the same id or the
            same text; the message names the file.
    """
    files, others = _files(folder, without and without.resolve())
    if not files:
        found = ", ".join(f"{count} {what}" for what, count in others.items()) or "nothing"
        raise UserError(f"{folder}: no document in it (found: {found}); give a folder of {KNOWN} files")
    texts: dict[str, Text] = {}
    same: dict[str, Path] = {}
    digest = hashlib.sha256()
    empty: list[Path] = []
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        check_characters(name, f"{folder}: the name of a file")
        if name in texts:
            raise UserError(f"{file}: another file of that folder is called {name!r} without its suffix; rename one")
        text, pages_without_text = read_document(file)
        if not text:
            empty.append(file)
            continue
        if pages_without_text:
            others[f"pages of {file.name} without text"] += pages_without_text
        words = unicodedata.normalize("NFC", " ".join(text.split()))
        if before := same.get(words):
            raise UserError(f"{file}: holds the same text as {before}; remove one of the two")
        same[words], texts[name] = file, Text(name, text)
        digest.update(f"{file.relative_to(folder).as_posix()}:{file_hash(file)};".encode())
    if empty:
        more = f" (and {len(empty) - 1} more such files)" if len(empty) > 1 else ""
        scanned = "; a scanned PDF needs text recognition first" if empty[0].suffix.lower() == ".pdf" else ""
        raise UserError(f"{empty[0]}: holds no text{more}; remove it, or put its text there{scanned}")
    return DocumentFolder(list(texts.values()), digest.hexdigest(), others)


def _files(folder: Path, without: Path | None) -> tuple[list[Path], Counter[str]]:
    """The files of documents in the order of their paths, and what else there is."""
    files: list[Path] = []
    others: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}; give a folder that can be read")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        for name in folders[:]:
            linked = Path(parent, name).is_symlink()
            if without and Path(parent, name).resolve() == without:
                folders.remove(name)
            elif linked or name.startswith("."):
                folders.remove(name)
                others["links to folders" if linked else "hidden"] += 1
        for name in names:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                others["hidden"] += 1
            elif suffix in READERS:
                files.append(Path(parent, name))
            else:
                others[suffix or "without suffix"] += 1
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix()), others
