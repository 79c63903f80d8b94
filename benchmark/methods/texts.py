"""Texts: copies from a file, such as a language model's paraphrases."""

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
    """Copies from a file: copy k of a text is the k-th line with its id (from no paper: another program made the file).

    Fields: `path`, a file of JSON lines {"id": …, "text": …}, several for each id, in any order; lines with "copy": 0,
    which `benchmark augment` writes for originals, are skipped. `title`, the name on the board instead of the file's
    name. Keys hold the hash of the file, records the hash and the title; neither holds the path. All seeds share the
    copies. The content of the lines is not checked: they may say more than the corpus does.
    """

    name: ClassVar[str] = "texts"

    path: Path
    title: Annotated[str, Field(min_length=1, max_length=40)] | None = None

    @property
    def varies(self) -> bool:
        """False: nothing is random."""
        return False

    @property
    def label(self) -> str:
        """The method's name with the title or else the file's name."""
        return f"{self.name} {self.title or self.path.name}"

    def key_parameters(self) -> dict[str, Any]:
        """The hash of the file."""
        return {"sha256": self.sha256}

    def recorded_parameters(self) -> dict[str, Any]:
        """The hash of the file, and its title or name."""
        return {"label": self.title or self.path.name, "sha256": self.sha256}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        remedy = "give a file with one JSON object a line"
        try:
            return file_hash(regular_file(self.path, remedy))
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}; {remedy}") from None

    @cached_property
    def lines(self) -> dict[str, list[tuple[int, str]]]:
        """The file's copies by id, each with its line number."""
        copies: dict[str, list[tuple[int, str]]] = {}
        for number, row in json_lines(self.path):
            key, content = row.get("id"), row.get("text")
            if not isinstance(key, str) or not isinstance(content, str) or not content.strip():
                raise UserError(f'{self.path}:{number}: each line needs "id" and a non-empty "text", both strings')
            check_characters(content, f"{self.path}:{number}")
            if row.get("copy") != 0:
                copies.setdefault(key, []).append((number, content))
        if not copies:
            raise UserError(f"{self.path}: holds no copy; give lines with an id and a text")
        return copies

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Raise UserError for an id that the corpus lacks, or for fewer lines with an id than copies."""
        known = {text.id for text in texts}
        for key, lines in self.lines.items():
            if key not in known:
                raise UserError(f"{self.path}:{lines[0][0]}: id {key!r} is not in the corpus; remove the line")
        for text in texts:
            lines = self.lines.get(text.id, [])
            if len(lines) < copies:
                where = f"{self.path}:{lines[-1][0]}" if lines else self.path
                raise UserError(
                    f"{where}: id {text.id!r} has {len(lines)} of {copies} copies; add lines or lower copies"
                )

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """Line `number` of those with the text's id."""
        return self.lines[text.id][number - 1][1]

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The first copy."""
        return self.make_copy(text, tokens, rng, 1)
