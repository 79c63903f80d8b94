"""Settings of an executor from a YAML file, checked field by field."""

from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from benchmark.errors import UserError
from benchmark.methods.base import not_a_bool

Count = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1)]
Retries = Annotated[int, BeforeValidator(not_a_bool), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]
Bytes = Annotated[str, Field(pattern=r"^\d+[bkmg]?$")]
Kind = TypeVar("Kind", bound=BaseModel)


def read_yaml(kind: type[Kind], file: Path | None) -> Kind:
    """The settings of that kind that a YAML file holds; the defaults without one.

    Raises UserError naming file and field if it cannot be read or a field is wrong.
    """
    if file is None:
        return kind()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())[:120]})") from None
    try:
        return kind.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{file}: {where}: {first['msg']}; fields: {', '.join(kind.model_fields)}") from None
