"""Number types for pydantic models of suites, tasks and settings: Count, Seed, Share and the like."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def not_a_bool(value: object) -> object:
    """Reject booleans: YAML reads `yes` as true, which pydantic would accept as the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Count = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, lt=2**31)]
Threads = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=1024)]
Seed = Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, lt=2**32)]  # the range that numpy accepts
NotNegative = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]
Share = Annotated[float, BeforeValidator(not_a_bool), Field(ge=0, lt=1)]
