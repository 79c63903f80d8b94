"""`benchmark stage`: one stage of a plan, for executors that start a process of their own for each."""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import UserError


def stage(
    file: Annotated[Path, typer.Argument(help="a stage, as `benchmark plan --stages FOLDER` wrote it")],
    store: Annotated[Path, typer.Option(help="folder of artifacts")] = Path("results/store"),
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1,
    lines: Annotated[bool, typer.Option("--lines", help="print progress as a JSON object a line")] = False,
) -> None:
    """Make the artifact of one stage, and what it reads if that is missing.

    Any number of processes can do so at once on one store, also where they need the same.
    """
    from benchmark.executors.calls import read_call
    from benchmark.executors.worker import prepare, work

    call = read_call(file)
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{store}: {error.strerror}; give a folder that can be written with --store") from None
    prepare(threads)

    def tell(done: int, total: int, *tokens: int) -> None:
        if lines:
            told = dict(zip(("done", "total", "tokens"), (done, total, *tokens), strict=False))
            print(json.dumps({"key": call.key, **told}), flush=True)

    made = work(store, call, tell)
    if not lines:
        print(f"{store / call.stage / call.key}: {'made' if made else 'there already'}")
