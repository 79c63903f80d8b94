"""Texts that a language model wrote about the texts of a corpus, and what a method asks it to write."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmark.core.errors import UserError
from benchmark.data.prompts import Prompt, label_of, read_prompt
from benchmark.data.texts import check_characters, json_lines

TRAINED = "trained"  # as the name of a writer: the trained model itself, before training
Form = Literal["text", "questions"]


class Writing(BaseModel):
    """What a writer is asked to write about every text of a corpus.

    Attributes:
        prompts: Prompts, by name or path. Sample k of a text uses them in turn.
        items: A prompt whose answer lists items of a text, such as the things that it names. It is asked once for each
            text; every sample is then about one item.
        pairs: Whether every sample is about two of the items.
        form: How an answer is read: "text" as it is; "questions" as questions with their answers, of which those are
            left out that a task asks.
        clues: Number of words that a prompt shows in {clues}: those with the highest difference of the pair's scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[str, ...] = Field(min_length=1)
    items: str | None = None
    pairs: bool = False
    form: Form = "text"
    clues: int = 0

    def contents(self) -> dict[str, Prompt]:
        """The prompts by name.

        Raises:
            UserError: A prompt does not exist or is not valid.
        """
        names = [*self.prompts, *([self.items] if self.items else [])]
        return {name: read_prompt(name) for name in names}

    def identity(self) -> dict[str, Any]:
        """What the written texts depend on: hashes in place of the prompts' names."""
        hashes = {name: prompt.sha256 for name, prompt in self.contents().items()}
        named = {"prompts": [hashes[name] for name in self.prompts], "items": self.items and hashes[self.items]}
        return {**self.model_dump(mode="json"), **named}

    def labels(self) -> list[str]:
        """The prompts as artifacts and records name them: a user's file without its folder, but with its hash."""
        return [label_of(name) for name in self.prompts]


@dataclass(frozen=True)
class WrittenText:
    """One text that a writer wrote.

    Attributes:
        id: Id of the text that it is about.
        copy: Number of the sample for this text, from 1.
        text: What a method trains on: the answer as it is, or the questions and answers in it.
        prompt: Name of the prompt (`Writing.labels`).
        about: The items that the prompt named.
        attempt: How often it was drawn; 1 if the first sample was accepted.
        prompt_tokens: Tokens of the prompt.
        tokens: Tokens of the answer.
        ended: "stop" if the writer ended it by itself, "length" if the limit of tokens did.
    """

    id: str
    copy: int
    text: str
    prompt: str
    about: tuple[str, ...]
    attempt: int
    prompt_tokens: int
    tokens: int
    ended: str


def write_written(path: Path, texts: Iterable[WrittenText]) -> None:
    """Write texts in order, one JSON object per line."""
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps(asdict(text), ensure_ascii=False) + "\n")


def read_written(path: Path) -> list[WrittenText]:
    """Read the texts that `write_written` wrote.

    Raises:
        UserError: A line is no such text; the message names file and line.
    """
    texts = []
    for number, row in json_lines(path):
        try:
            text = WrittenText(**{**row, "about": tuple(row["about"])})
            check_characters(f"{text.id}{text.text}", f"{path}:{number}")
        except (KeyError, TypeError):
            raise UserError(f"{path}:{number}: not a written text; make the file again") from None
        texts.append(text)
    return texts
