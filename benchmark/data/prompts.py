"""Prompts for writers: Markdown files with YAML first, in benchmark/methods/prompts or a user's own."""

import hashlib
import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.core.errors import UserError, nearest
from benchmark.core.inputs import read_text
from benchmark.core.yaml_files import parse_yaml

FOLDER = Path(__file__).parents[1] / "methods" / "prompts"
FIELDS = ("document", "item", "other", "clues")
_MAX_BYTES = 2**18
_REMEDY = "give a prompt in Markdown (docs/writers.md)"
_BRACES = "write {{ and }} for braces that are no field"
_FORMATTER = string.Formatter()


class Example(BaseModel):
    """An answered prompt, which shows a base model what to write. Its fields other than `answer` fill the prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: str
    item: str = ""
    other: str = ""
    clues: str = ""
    answer: str = Field(min_length=1)


class Prompt(BaseModel):
    """A prompt for a writer.

    Attributes:
        source: Where its idea is from.
        instruction: The text, with {document}, and {item}, {other} and {clues} where it uses them.
        examples: Examples for models without a chat template.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _fields_are_known(self) -> "Prompt":
        try:
            used, formats = self.fields, [part for _, _, *parts in _FORMATTER.parse(self.instruction) for part in parts]
        except ValueError as error:
            raise ValueError(f"{error}; {_BRACES}") from None
        if unknown := sorted(used - set(FIELDS)):
            raise ValueError(f"unknown field {{{unknown[0]}}}; {nearest(unknown[0], list(FIELDS))} ({_BRACES})")
        if any(formats):
            raise ValueError("a field holds ':' or '!'; write its name alone, as {document}")
        if "document" not in used:
            raise ValueError("lacks {document}, where the text of the corpus stands")
        return self

    @property
    def fields(self) -> set[str]:
        """The fields that the instruction uses."""
        return {name for _, name, _, _ in _FORMATTER.parse(self.instruction) if name is not None}

    @property
    def sha256(self) -> str:
        """SHA-256 of what a writer is given, so without the source."""
        return hashlib.sha256(self.model_dump_json(exclude={"source"}).encode()).hexdigest()

    def filled(self, values: Mapping[str, str]) -> str:
        """The instruction with its fields filled in."""
        return self.instruction.format(**{name: values.get(name, "") for name in FIELDS})


def shipped_prompts() -> list[str]:
    """Names of the prompts that ship with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


@cache
def read_prompt(name: str) -> Prompt:
    """The prompt of a name, or of a path to a .md file.

    Raises:
        UserError: There is no such prompt, or the file is not a valid one; the message names file and field.
    """
    path = Path(name)
    if path.suffix != ".md":
        if name not in shipped_prompts():
            raise UserError(
                f"prompt {name!r}: unknown; {nearest(name, shipped_prompts())} (or give a path to a .md file)"
            )
        path = FOLDER / f"{name}.md"
    return parse_prompt(read_text(path, _MAX_BYTES, _REMEDY), str(path))


def label_of(name: str) -> str:
    """A prompt's name; of a path the file's name and the first digits of the prompt's hash, "mine.md:0a1b2c3d4e5f".

    The folder belongs to the machine, and files of the same name may differ.

    Raises:
        UserError: As `read_prompt` does.
    """
    path = Path(name)
    return f"{path.name}:{read_prompt(name).sha256[:12]}" if path.suffix == ".md" else name


def parse_prompt(text: str, where: str) -> Prompt:
    """A prompt from the content of its file: YAML between two lines of `---`, then the instruction.

    Raises:
        UserError: The content is not a valid prompt; the message begins with `where`.
    """
    _, first, rest = text.replace("\r\n", "\n").partition("---\n")
    head, second, instruction = rest.partition("\n---\n")
    if not first or not second:
        raise UserError(f"{where}: no YAML between two lines of ---; {_REMEDY}")
    content = parse_yaml(head, where)
    if not isinstance(content, dict) or "instruction" in content:
        raise UserError(f"{where}: expected source and examples between the lines of ---, and the instruction after")
    try:
        return Prompt.model_validate({**content, "instruction": instruction.strip()})
    except ValidationError as error:
        errors = error.errors()
    problem = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    field = ".".join(map(str, problem["loc"])) or "instruction"
    if problem["type"] == "extra_forbidden":
        known = Example.model_fields if len(problem["loc"]) > 1 else ("source", "examples")
        raise UserError(f"{where}: unknown field {field!r}; {nearest(str(problem['loc'][-1]), sorted(known))}")
    if problem["type"] == "missing":
        raise UserError(f"{where}: {field}: missing; give it a value")
    raise UserError(f"{where}: {field}: {problem['msg'].removeprefix('Value error, ')}")
