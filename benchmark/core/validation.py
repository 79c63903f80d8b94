"""Validators that models of input share."""


def not_a_bool(value: object) -> object:
    """Refuse the `yes` and `true` of YAML, which pydantic would read as the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value
