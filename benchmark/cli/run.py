"""`benchmark run`: run a suite, write its records, print the board."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import (
    RESULTS,
    JsonOption,
    PlainOption,
    RecordsOption,
    ResultsOption,
    SuiteArgument,
    WorkersOption,
)
from benchmark.core.errors import UserError, check_known

if TYPE_CHECKING:
    from benchmark.api import Run


def run(
    suite: SuiteArgument = "smoke",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    workers: WorkersOption = None,
    executor: Annotated[str, typer.Option(help="Where stages run: local, docker or ray.")] = "local",
    containers: Annotated[
        Path | None, typer.Option(help="With docker: YAML file of container settings (docs/scale_out.md).")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="With ray: YAML file of cluster settings (docs/scale_out.md).")
    ] = None,
    remote: Annotated[
        str | None, typer.Option(help="With ray: address that nodes share artifacts through, as s3://bucket/folder.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of one worker for an hour, to estimate the cost of the run.")
    ] = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the stages of a suite that are missing, write its records and print the board."""
    import benchmark

    check_known("--executor", executor, ("local", "docker", "ray"))
    for option, value, needs in (
        ("containers", containers, "docker"),
        ("cluster", cluster, "ray"),
        ("remote", remote, "ray"),
    ):
        if value and executor != needs:
            raise UserError(f"--{option}: is for --executor {needs} alone; leave it out, or add that")
    where = None
    if executor == "docker":
        where = _docker(containers, workers)
    elif executor == "ray":
        where = _ray(cluster, workers, remote)
    outcome = benchmark.run(suite, results, records, workers=workers, executor=where, plain=plain or None, price=price)
    print_run(outcome, as_json)


def _docker(file: Path | None, workers: int | None) -> Any:
    """An executor with the settings of a file; --workers goes before what it says."""
    from benchmark.executors.containers import read_settings

    settings = read_settings(file)
    if workers:
        settings = settings.model_copy(update={"workers": workers})

    def execute(store: Any, calls: Any, threads: int, shown: Any, done: Any) -> None:
        from benchmark.executors.docker import run_in_containers

        run_in_containers(store, calls, settings, threads, shown.progress, done, shown.note, shown.start)

    return execute


def _ray(file: Path | None, workers: int | None, remote: str | None) -> Any:
    """An executor with the settings of a file; --workers goes before what it says."""
    from importlib.util import find_spec

    from benchmark.executors.cluster import Cluster
    from benchmark.executors.settings import settings_from
    from benchmark.store.remote import Remote

    settings = settings_from(Cluster, file)
    if workers:
        settings = settings.model_copy(update={"workers": workers})
    place = Remote(remote) if remote else None
    if find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; pip install -r requirements-ray.lock")

    def execute(store: Any, calls: Any, threads: int, shown: Any, done: Any) -> None:
        from benchmark.executors.ray import run_on_cluster

        run_on_cluster(store, calls, settings, place, threads, shown.progress, done, shown.note, shown.start)

    return execute


def print_run(outcome: "Run", as_json: bool) -> None:
    """Print the board of a run, or a summary as JSON."""
    cells = len(outcome.paths)
    if as_json:
        print(json.dumps({"suite": outcome.suite, "cells": cells, "made": outcome.made, "stages": outcome.stages}))
        return
    outcome.print_board()
    made = f"{outcome.made} made now" if outcome.made else "nothing to do, all were there"
    print(f"{outcome.suite}: {cells} cells, {made}; records in {outcome.folder}")
