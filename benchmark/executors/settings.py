"""Settings files of executors: YAML, checked field by field."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from benchmark.core.errors import UserError
from benchmark.core.validation import not_a_bool
from benchmark.core.yaml_files import read_yaml

Count = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1)]
Retries = Annotated[int, BeforeValidator(not_a_bool), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]
Bytes = Annotated[str, Field(pattern=r"^\d+[bkmg]?$")]
Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(kind: type[Settings], file: Path | None) -> Settings:
    """Read settings of a kind from a YAML file; without a file, the defaults.

    Raises UserError naming the file and field if the file cannot be read or a field is wrong.
    """
    if file is None:
        return kind()
    content = read_yaml(file, "give a file of settings in YAML")
    try:
        return kind.model_validate({} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{file}: {where}: {first['msg']}; fields: {', '.join(kind.model_fields)}") from None
