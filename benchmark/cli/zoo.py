"""`benchmark zoo`: the tiny pair of models that ships with the project."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import check_known

zoo_app = typer.Typer(
    no_args_is_help=True, help="The tiny pair of models that ships with the project.", rich_markup_mode=None
)


@zoo_app.command("train")
def zoo_train(
    name: Annotated[str, typer.Argument(help="Which model of the pair: large or small.")],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")],
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 1,
) -> None:
    """Train a model of the tiny pair from scratch, as the shipped one was (the large one takes about 1.5 hours)."""
    import torch

    from benchmark.models.zoo.recipe import SHAPES, train
    from benchmark.tasks.biography import biography

    check_known("model of the pair", name, tuple(SHAPES))
    torch.set_num_threads(threads)
    people = [*biography.read_people(), *biography.read_shots()]
    train(name, out, {person["name"] for person in people}, lambda line: print(line, flush=True))
