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
    from benchmark.suite.schema import Suite


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
    from benchmark.suite.schema import find_suite, load_suite

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
    run_and_print(load_suite(find_suite(suite)), results, records, workers, plain, as_json, where, price)


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


def run_and_print(
    suite: "Suite",
    results: Path,
    records: Path | None,
    workers: int | None,
    plain: bool,
    as_json: bool,
    executor: Any = None,
    price: float | None = None,
) -> None:
    """Run a suite and print its board, or a summary as JSON."""
    from benchmark.runs.recording import record_path
    from benchmark.runs.runner import run_suite

    folder = records or results / "records"
    outcome = run_suite(suite, results, folder, workers, plain or None, executor, price)
    if as_json:
        print(
            json.dumps(
                {"suite": suite.name, "cells": len(outcome.records), "made": outcome.made, "stages": outcome.stages}
            )
        )
        return
    from rich.console import Console

    from leaderboard.board.cache import remembered_board
    from leaderboard.views.terminal import print_board

    found = [(record_path(folder, outcome.plan, cell), outcome.records[cell.key]) for cell in outcome.plan.cells]
    print_board(remembered_board(found, results / ".boards" / f"{suite.name}.json"), Console())
    what = f"{outcome.made} made now" if outcome.made else "nothing to do, all were there"
    print(f"{suite.name}: {len(outcome.records)} cells, {what}; records in {folder / suite.name}")
