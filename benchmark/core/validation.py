"""Types of numbers that models of input share."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def not_a_bool(value: object) -> object:
    """Refuse the `yes` and `true` of YAML, which pydantic would read as the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


# YAML reads `yes` as true, and pydantic would read that as the number 1.
Count = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, lt=2**31)]
Threads = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=1024)]
Seed = Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, lt=2**32)]  # what numpy takes
NotNegative = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]
Share = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0, lt=1)]
