"""A folder of pages: which files are read, their order and ids, and what is refused in one line."""

import io
import os
import sys
from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.documents import formats
from benchmark.documents.folder import read_folder


def put(folder: Path, **files: str | bytes) -> Path:
    """Write files; "__" in a name stands for a folder, the last "_" for the dot of the suffix."""
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        file = folder / f"{stem.replace('__', '/')}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_files_of_subfolders_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    put(
        tmp_path,
        b_txt="Two.",
        a__z_md="# One\n\nin\n*one* line",
        c_HTML="<p>Three.</p>",
        a__b__c_txt="\ufeffDeep.\r\nYes.\n",
    )
    put(tmp_path, picture_png=b"\x89", data_csv="a,b", more_png=b"\x89")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("hidden")
    (tmp_path / ".hidden.md").write_text("hidden")
    (tmp_path / "README").write_text("no suffix")
    (tmp_path / "loop").symlink_to(tmp_path)
    read = read_folder(tmp_path)
    assert [(text.id, text.text) for text in read.texts] == [
        ("a/b/c", "Deep.\nYes."),
        ("a/z", "# One\n\nin one line"),
        ("b", "Two."),
        ("c", "Three."),
    ]
    assert read.others == {".png": 2, ".csv": 1, "hidden": 2, "without suffix": 1, "links to folders": 1}


def test_the_hash_is_that_of_paths_and_bytes(tmp_path: Path) -> None:
    one = read_folder(put(tmp_path / "one", a_txt="One.")).sha256
    assert read_folder(put(tmp_path / "two", a_txt="One.")).sha256 == one
    assert read_folder(put(tmp_path / "three", b_txt="One.")).sha256 != one
    assert read_folder(put(tmp_path / "one", a_txt="Two.")).sha256 != one


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "{0}: no document in it (found: nothing); give a folder of .txt, .md, .html, .pdf files"),
        ({"a_docx": "x"}, "{0}: no document in it (found: 1 .docx); give"),
        ({"a_txt": "x", "a_md": "y"}, "another file of that folder is called 'a' without its suffix; rename one"),
        ({"a_txt": "x", "b_md": " \n", "c_html": "<p></p>"}, "{0}/b.md: holds no text (and 1 more such files); remove"),
        ({"a_txt": "One two.", "b_md": "One\ntwo."}, "{0}/b.md: holds the same text as {0}/a.txt; remove one"),
        ({"a_txt": "Moß".encode("latin-1")}, "{0}/a.txt: not UTF-8 at byte 2; save it in UTF-8"),
        ({"a_html": b"<p>Mo\xdf</p>"}, "{0}/a.html: not UTF-8 at byte 5; save it in UTF-8"),
        ({"a_txt": "Moss".encode("utf-16-le")}, "{0}/a.txt: holds NUL characters, as UTF-16 does; save it in UTF-8"),
        ({"a_pdf": b"%PDF-1.7 no"}, "{0}/a.pdf: cannot be read as PDF ("),
        ({"a_html": "<b>" * 3000 + "x"}, "{0}/a.html: nested too deeply to be read; give its text as .txt"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(tmp_path: Path, files: dict[str, str | bytes], says: str) -> None:
    with pytest.raises(UserError) as error:
        read_folder(put(tmp_path, **files))
    assert says.format(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_too_large_and_one_that_is_a_pipe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MOST_BYTES", 8)
    assert read_folder(put(tmp_path / "right", a_txt="12345678")).texts[0].text == "12345678"
    for suffix in ("txt", "md", "html", "pdf"):
        with pytest.raises(UserError, match=rf"a\.{suffix}: is larger than 8 bytes; .*split it"):
            read_folder(put(tmp_path / suffix, **{f"a_{suffix}": "123456789"}))
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "a.txt")
    with pytest.raises(UserError, match="is a pipe or a device"):
        read_folder(tmp_path / "pipe")


def test_pages_of_a_pdf_are_read_and_one_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("Gull Rock has 212 steps."))
    assert [text.text for text in read_folder(tmp_path).texts] == ["Gull Rock has 212 steps."]
    (tmp_path / "a.pdf").write_bytes(pdf(""))
    with pytest.raises(UserError, match="a.pdf: holds no text; .* a scanned PDF needs text recognition first"):
        read_folder(tmp_path)


def test_pages_without_text_in_a_pdf_that_has_some_are_counted(tmp_path: Path) -> None:
    from pypdf import PdfWriter

    both = PdfWriter()
    for page in ("Gull Rock has 212 steps.", "", ""):
        both.append(io.BytesIO(pdf(page)))
    both.write(tmp_path / "a.pdf")
    read = read_folder(tmp_path)
    assert [text.text for text in read.texts] == ["Gull Rock has 212 steps."]
    assert read.others == {"pages of a.pdf without text": 2}


def test_pdf_without_its_library_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(UserError, match=r"a.pdf: reading PDF needs pypdf; pip install '.\[pdf\]'"):
        read_folder(put(tmp_path, a_pdf=b"%PDF"))


def pdf(text: str) -> bytes:
    """A PDF of one page with a line of text, written by hand after the PDF reference."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    content, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return content + end % (table, len(content))
