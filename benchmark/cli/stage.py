"""`benchmark stage`: make one stage of a plan, for schedulers that start a process for each stage."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import UserError


def stage(
    file: Annotated[Path, typer.Argument(help="File of a stage, written by `benchmark plan --stages FOLDER`.")],
    store: Annotated[Path, typer.Option(help="Folder of artifacts.")] = Path("results/store"),
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 1,
    remote: Annotated[
        str | None, typer.Option(help="Address to fetch artifacts from and upload them to, as s3://bucket/folder.")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Print progress as a JSON object a line.")] = False,
) -> None:
    """Make the artifact of one stage, and the artifacts it reads if they are missing.

    Any number of processes can do so at once on one store, also where they need the same artifact. With --remote each
    machine may have a store of its own: artifacts that exist remotely are fetched, new ones are uploaded.
    """
    from benchmark.executors.worker import prepare, run_in_worker
    from benchmark.store.artifacts import StageCall, Store
    from benchmark.store.calls import read_call
    from benchmark.store.remote import Remote, make_or_download

    call = read_call(file)
    shared = Remote(remote) if remote else None
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{store}: {error.strerror}; give a folder that can be written with --store") from None
    prepare(threads)

    def print_progress(done: int, total: int, *tokens: int) -> None:
        if lines:
            numbers = dict(zip(("done", "total", "tokens"), (done, total, *tokens), strict=False))
            print(json.dumps({"key": call.key, **numbers}), flush=True)

    def make_here(part: StageCall) -> bool:
        return run_in_worker(store, part, print_progress, lambda text: print(text, file=sys.stderr, flush=True))

    made = make_or_download(shared, Store(store), call, make_here) if shared else make_here(call)
    if not lines:
        print(f"{shared.url if shared else store}/{call.stage}/{call.key}: {'made' if made else 'already stored'}")
