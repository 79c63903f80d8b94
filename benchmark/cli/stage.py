"""`benchmark stage`: one stage of a plan, for executors that start a process of their own for each."""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import UserError


def stage(
    file: Annotated[Path, typer.Argument(help="a stage, as `benchmark plan --stages FOLDER` wrote it")],
    store: Annotated[Path, typer.Option(help="folder of artifacts")] = Path("results/store"),
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1,
    remote: Annotated[
        str | None, typer.Option(help="where artifacts are fetched from and brought to, as s3://bucket/folder")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="print progress as a JSON object a line")] = False,
) -> None:
    """Make the artifact of one stage, and what it reads if that is missing.

    Any number of processes can do so at once on one store, also where they need the same. With --remote each machine
    may have a store of its own: what is there already is brought, and what is made is put there.
    """
    from benchmark.executors.worker import prepare, work
    from benchmark.store.artifacts import StageCall, Store
    from benchmark.store.calls import read_call
    from benchmark.store.remote import Remote, make

    call = read_call(file)
    place = Remote(remote) if remote else None
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{store}: {error.strerror}; give a folder that can be written with --store") from None
    prepare(threads)

    def tell(done: int, total: int, *tokens: int) -> None:
        if lines:
            told = dict(zip(("done", "total", "tokens"), (done, total, *tokens), strict=False))
            print(json.dumps({"key": call.key, **told}), flush=True)

    def make_here(part: StageCall) -> bool:
        return work(store, part, tell)

    made = make(place, Store(store), call, make_here) if place else make_here(call)
    if not lines:
        print(f"{place.url if place else store}/{call.stage}/{call.key}: {'made' if made else 'there already'}")
