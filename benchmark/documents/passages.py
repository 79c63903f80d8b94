"""Passages of a document, short enough that a writer asks about all of it."""

import re
from collections.abc import Iterator

MOST = 2000  # characters of a passage
_HEADING = re.compile(r"#{1,6} \S")
_TITLE = re.compile(r"# \S.*")


def passages(text: str) -> list[str]:
    """Cut a text into passages of at most `MOST` characters, and the title of the document before all but the first.

    A cut is at a heading if the passage before it is then at least half as long as it may be, else between blocks. A
    heading and the block below it are one block. A longer block is cut at the end of a line or sentence, else between
    words, else anywhere. Only white space at the cuts is lost.
    """
    title = found[0].rstrip() if (found := _TITLE.match(text)) else ""
    room = max(MOST - len(title) - 2, MOST // 2)
    pieces: list[str] = []
    current = ""
    blocks = (part for whole in _blocks(text) for part in _cut(whole, room))
    for block in blocks:
        ends = len(current) + 2 + len(block) > room or (_HEADING.match(block) and len(current) >= room // 2)
        if current and ends:
            pieces.append(current)
            current = block
        else:
            current = f"{current}\n\n{block}" if current else block
    pieces.append(current)
    return [piece if not title or number == 0 else f"{title}\n\n{piece}" for number, piece in enumerate(pieces)]


def _blocks(text: str) -> Iterator[str]:
    """The blocks between empty lines. A heading stays with what follows, so that no passage is a heading alone."""
    headings = ""
    for block in re.split(r"\n{2,}", text):
        if not block.strip():
            continue
        whole = f"{headings}{block}"
        if _HEADING.match(block) and "\n" not in block:
            headings = f"{whole}\n\n"
        else:
            headings = ""
            yield whole
    if headings:
        yield headings.rstrip()


def _cut(block: str, most: int) -> list[str]:
    """Cut a block into pieces of at most `most` characters; each piece of a table begins with the table's first row."""
    first_row = block.rpartition("\n\n")[2].partition("\n")[0]  # below headings, if there are any
    if " | " not in first_row or len(first_row) > most // 2 or len(block) <= most:
        return _pieces(block, most)
    first, *others = _pieces(block, most - len(first_row) - 1)
    return [first, *(f"{first_row}\n{piece}" for piece in others)]


def _pieces(block: str, most: int) -> list[str]:
    pieces = []
    while len(block) > most:
        start = block[:most]
        ends = [match.end() for match in re.finditer(r"\n|[.!?](?=\s)|[。！？]", start) if match.end() > most // 2]
        end = ends[-1] if ends else start.rfind(" ", most // 2)
        end = end if end > 0 else most
        pieces.append(block[:end].strip())
        block = block[end:].strip()
    return [piece for piece in [*pieces, block] if piece]
