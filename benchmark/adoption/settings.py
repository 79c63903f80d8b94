"""`crambench.json`, the file of an adopted model that says what its base is and how it is asked."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.core.errors import UserError
from benchmark.core.inputs import read_text
from benchmark.evaluation.prompts import AskingForm
from benchmark.models.spec import ModelSpec

FILE = "crambench.json"
_MOST_BYTES = 2**24


class Adopted(BaseModel):
    """The content of the file.

    Attributes:
        version: Version of the layout.
        weights: "adapter" if the folder holds a peft adapter, "whole" if it holds all weights.
        base: The model that was trained. Local paths are absolute.
        base_fingerprint: The fingerprint of its weights.
        asked: How the evaluation put its questions.
        recalled: Whether a method of its suite recalled anything.
        suite: Name of the suite.
        cell: Key of the cell.
        record: File name of the record.
        record_sha256: The record's hash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    weights: Literal["adapter", "whole"]
    base: ModelSpec
    base_fingerprint: str
    asked: AskingForm
    recalled: bool = True
    suite: str
    cell: str
    record: str
    record_sha256: str


def read_adopted(folder: Path) -> Adopted:
    """The settings of an adopted model.

    Raises:
        UserError: The folder or the file is missing, or the file is not one that `benchmark adopt` wrote.
    """
    remedy = "give a folder that `benchmark adopt` wrote"
    file = folder / FILE
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {remedy}")
    if not file.exists():
        raise UserError(f"{folder}: has no {FILE}; {remedy}")
    try:
        return Adopted.model_validate_json(read_text(file, _MOST_BYTES, remedy))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{file}: {where}: {first['msg']}; {remedy}") from None
