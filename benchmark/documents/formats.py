"""The text of a document: plain text, Markdown, HTML or PDF.

Markdown is not trained on as it is. Its paragraphs are wrapped at some width, and its link targets and marks of
emphasis are no part of what a document says: a model would spend its budget on them, and an answer with a mark in it
would not be found. So Markdown and HTML become the same kind of text: a paragraph is one line, headings, lists, tables
and code stay, and everything that a reader does not see goes.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmark.core.errors import UserError, one_line
from benchmark.core.inputs import read_text, regular_file

MOST_BYTES = 2**24
_SMALLER = "split it, or give its text as .txt"
_UTF_8 = f"save it in UTF-8; if it is larger than {MOST_BYTES // 2**20} MiB, {_SMALLER}"

_UNSEEN = {
    "head", "script", "style", "template", "noscript", "nav", "footer", "svg", "iframe", "button", "select", "input",
    "textarea", "form", "-comment",
}  # fmt: skip
_INLINE = {
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time",
    "tt", "u", "var", "wbr",
}  # fmt: skip
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


class Document(NamedTuple):
    """The text of a file, without white space at its ends, and the number of its pages that have none."""

    text: str
    pages_without_text: int


def read_document(path: Path) -> Document:
    """The text of a file. Only a PDF has more than one page.

    Raises:
        UserError: The file cannot be read, is larger than 16 MiB or not UTF-8, or is no document of its format.
    """
    pages = [page.replace("\r\n", "\n").strip() for page in READERS[path.suffix.lower()](path)]
    return Document("\n\n".join(page for page in pages if page), sum(not page for page in pages))


def html_as_text(html: str) -> str:
    """The text of an HTML page: of its `<main>` if it has a single one, else of its `<body>`.

    Raises:
        RecursionError: Elements are nested hundreds of levels deep.
    """
    from selectolax.lexbor import LexborHTMLParser

    parser = LexborHTMLParser(html)
    mains = parser.css("main, [role=main]")
    writer = _TextWriter()
    if root := mains[0] if len(mains) == 1 else parser.body:
        writer.read(root)
    return writer.text()


def markdown_as_text(markdown: str) -> str:
    """The text of Markdown (CommonMark with tables), without YAML front matter."""
    from markdown_it import MarkdownIt

    body = _without_front_matter(markdown.replace("\r\n", "\n"))
    rendered: str = MarkdownIt("commonmark").enable("table").render(body)
    return html_as_text(rendered)


def _without_front_matter(markdown: str) -> str:
    """Markdown without the YAML mapping before it. What stands between two rules and is no such mapping stays."""
    found = _FRONT_MATTER.match(markdown)
    if not found:
        return markdown
    try:
        content = yaml.load(found[1], yaml.BaseLoader)  # which takes every scalar as text
    except yaml.YAMLError:
        return markdown
    return markdown[found.end() :] if isinstance(content, dict) or not found[1].strip() else markdown


class _TextWriter:
    """Collects the text of HTML elements, a block at a time."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []  # kind and text
        self._line: list[str] = []
        self._mark = ""  # put before the next block: that of a heading or list item
        self._numbers: list[int | None] = []  # of the next item of each open list; None in lists without numbers
        self._cells = 0  # of the open row of a table

    def text(self) -> str:
        """The text: blocks with an empty line between them; items of lists and rows of tables without one."""
        self._end("block")
        pieces: list[str] = []
        before = ""
        for kind, block in self._blocks:
            if pieces:
                pieces.append("\n" if kind == before != "block" else "\n\n")
            pieces.append(block)
            before = kind
        return "".join(pieces)

    def read(self, element: Any) -> None:
        """Add the text inside an element."""
        for node in element.iter(include_text=True):
            tag = str(node.tag)
            if tag == "-text":
                self._line.append(re.sub(r"[ \t\n\r\f]+", " ", node.text_content or ""))
            elif tag in _UNSEEN or "hidden" in node.attributes or _is_permalink(node):
                continue
            elif tag == "img":
                self._line.append(node.attributes.get("alt") or "")
            elif tag == "sup" and not node.css_first("a"):  # a link is a footnote's mark
                self._line.append("^")
                self.read(node)
            elif tag == "br":
                self._line.append("\n")
            elif tag in ("td", "th"):
                if self._cells:
                    self._line.append(" | ")
                self._cells += 1
                self.read(_only_paragraph(node) or node)
            elif tag in _INLINE:
                self.read(node)
            else:
                self._read_block(node, tag)

    def _read_block(self, node: Any, tag: str) -> None:
        kind = {"li": "item", "tr": "row"}.get(tag, "item" if self._numbers else "block")
        self._end("item" if self._numbers else "block")
        is_list = tag in ("ul", "ol")
        if is_list:
            self._numbers.append(_first_number(node) if tag == "ol" else None)
        if tag == "tr":
            self._cells = 0
        if tag == "pre":
            if code := (node.text(deep=True) or "").strip("\n"):
                # Indented, as Markdown does it, so that a comment in it is no heading.
                self._blocks.append(("block", "\n".join(f"    {line}".rstrip() for line in code.splitlines())))
        else:
            if tag == "li":
                self._mark = self._item_mark()
            elif re.fullmatch("h[1-6]", tag):
                self._mark = f"{'#' * int(tag[1])} "
            self.read(node)
            self._end(kind)
            self._mark = ""
        if is_list:
            self._numbers.pop()

    def _item_mark(self) -> str:
        number = self._numbers[-1] if self._numbers else None
        if number is not None:
            self._numbers[-1] = number + 1
        return f"{'  ' * (len(self._numbers) - 1)}{'-' if number is None else f'{number}.'} "

    def _end(self, kind: str) -> None:
        lines = (line.strip() for line in re.sub(" {2,}", " ", "".join(self._line)).split("\n"))
        text = "\n".join(line for line in lines if line)
        if text.strip(" |"):  # a row of empty cells says nothing
            self._blocks.append((kind, self._mark + text))
            self._mark = ""
        self._line = []


def _is_permalink(node: Any) -> bool:
    """Whether an element is the mark beside a heading that links to it, as Sphinx and MkDocs write it."""
    return node.tag == "a" and "headerlink" in (node.attributes.get("class") or "").split()


def _first_number(ordered_list: Any) -> int:
    start = ordered_list.attributes.get("start") or ""
    return int(start) if re.fullmatch(r"-?[0-9]{1,9}", start) else 1


def _only_paragraph(cell: Any) -> Any:
    """The paragraph that is all of a table's cell, as Sphinx writes cells, so that a row stays one line; else None."""
    inside = [node for node in cell.iter(include_text=True) if node.tag != "-text" or (node.text_content or "").strip()]
    return inside[0] if len(inside) == 1 and inside[0].tag in ("p", "div") else None


def _plain(path: Path) -> str:
    text = read_text(path, MOST_BYTES, _UTF_8)
    if "\0" in text:
        raise UserError(f"{path}: holds NUL characters, as UTF-16 does; save it in UTF-8")
    return text


def _marked(convert: Callable[[str], str]) -> Callable[[Path], list[str]]:
    def read(path: Path) -> list[str]:
        try:
            return [convert(_plain(path))]
        except RecursionError:
            raise UserError(f"{path}: nested too deeply to be read; give its text as .txt") from None

    return read


def _pdf(path: Path) -> list[str]:
    """The text of each page of a PDF."""
    try:
        import pypdf
    except ImportError:
        raise UserError(f"{path}: reading PDF needs pypdf; pip install '.[pdf]'") from None
    file = regular_file(path, "give a file that can be read")
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UserError(f"{path}: is larger than {MOST_BYTES:,} bytes; {_SMALLER}")
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]
    except UserError:
        raise
    except Exception as error:  # pypdf raises many kinds for malformed and encrypted files
        raise UserError(f"{path}: cannot be read as PDF ({one_line(error)}); give its text as .txt") from None
    return [page.encode("utf-8", "replace").decode() for page in pages]


# The pages of a file, by its suffix.
READERS: dict[str, Callable[[Path], list[str]]] = {
    ".txt": lambda path: [_plain(path)],
    ".md": _marked(markdown_as_text),
    ".markdown": _marked(markdown_as_text),
    ".html": _marked(html_as_text),
    ".htm": _marked(html_as_text),
    ".pdf": _pdf,
}
