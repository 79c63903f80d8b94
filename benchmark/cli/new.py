"""`benchmark new`: write a new method, task or model from a template."""

from typing import Annotated

import typer

from benchmark.core.errors import check_known


def new(
    kind: Annotated[str, typer.Argument(help="What to write: method, task or model.")],
    name: Annotated[str, typer.Argument(help="Its name in suites: small letters, digits and _.")],
    model: Annotated[
        str | None, typer.Option(help="With model: hub id, folder or .gguf file [default: zoo:large].")
    ] = None,
) -> None:
    """Write a new method, task or model from a template that works as it is, and print how to check it."""
    from benchmark.templates.create import KINDS, create

    check_known("kind", kind, KINDS)
    files, check = create(kind, name, model)
    for file in files:
        print(file)
    print(f"then: {check}")
