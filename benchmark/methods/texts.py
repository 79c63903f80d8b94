"""Texts made elsewhere, such as a language model's paraphrases, read from a file."""

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import regular_file
from benchmark.data.texts import Text, TokenScores, check_characters, json_lines
from benchmark.methods.base import Method


class Texts(Method):
    """Copies from a file: copy k of a text is the k-th line with its id (from no paper: whatever made the file did).

    Fields: `path`, JSON lines {"id": …, "text": …}, several for every id, in any order (a line with "copy": 0, as
    `benchmark augment` writes for originals, is no copy); `title`, what the board calls it instead of the file's name.
    Keys hold the hash of the file and records that and the title, neither its path. All seeds share the copies. What
    the lines say is not looked into: they may tell more than the corpus does.
    """

    name: ClassVar[str] = "texts"

    path: Path
    title: Annotated[str, Field(min_length=1, max_length=40)] | None = None

    @property
    def varies(self) -> bool:
        """Not by the random stream."""
        return False

    @property
    def label(self) -> str:
        """The title, or else the file's name."""
        return f"{self.name} {self.title or self.path.name}"

    def key_parameters(self) -> dict[str, Any]:
        """The hash of the file alone."""
        return {"sha256": self.sha256}

    def recorded_parameters(self) -> dict[str, Any]:
        """The hash, and what the board shows beside the method's name."""
        return {"label": self.title or self.path.name, "sha256": self.sha256}

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        remedy = "give a file with one JSON object a line"
        try:
            return file_hash(regular_file(self.path, remedy))
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}; {remedy}") from None

    @cached_property
    def lines(self) -> dict[str, list[tuple[int, str]]]:
        """The file's copies by id, each with its line number."""
        found: dict[str, list[tuple[int, str]]] = {}
        for number, row in json_lines(self.path):
            key, content = row.get("id"), row.get("text")
            if not isinstance(key, str) or not isinstance(content, str) or not content.strip():
                raise UserError(f'{self.path}:{number}: each line needs "id" and a non-empty "text", both strings')
            check_characters(content, f"{self.path}:{number}")
            if row.get("copy") != 0:
                found.setdefault(key, []).append((number, content))
        if not found:
            raise UserError(f"{self.path}: no copy in it; each line needs an id and a text")
        return found

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Refuse a file with an id that the corpus lacks, or with fewer lines for an id than copies are wanted."""
        known = {text.id for text in texts}
        for key, lines in self.lines.items():
            if key not in known:
                raise UserError(f"{self.path}:{lines[0][0]}: id {key!r} is no text of the corpus; take the line out")
        for text in texts:
            lines = self.lines.get(text.id, [])
            if len(lines) < copies:
                where = f"{self.path}:{lines[-1][0]}" if lines else self.path
                raise UserError(
                    f"{where}: id {text.id!r} has {len(lines)} of {copies} copies; add lines or ask for fewer"
                )

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """The line of that number among those of the text's id."""
        return self.lines[text.id][number - 1][1]

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The first copy."""
        return self.make_copy(text, tokens, rng, 1)
