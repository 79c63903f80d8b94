"""`benchmark run`: run a suite, write its records, print the board."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from benchmark.executors.factory import make_executor

    chosen = make_executor(executor, workers, containers, cluster, remote)
    print_run(benchmark.run(suite, results, records, executor=chosen, plain=plain or None, price=price), as_json)


def print_run(outcome: "Run", as_json: bool) -> None:
    """Print the board of a run, or a summary as JSON."""
    cells = len(outcome.paths)
    if as_json:
        print(json.dumps({"suite": outcome.suite, "cells": cells, "made": outcome.made, "stages": outcome.stages}))
        return
    outcome.print_board()
    made = f"{outcome.made} made now" if outcome.made else "nothing to do, all records exist"
    print(f"{outcome.suite}: {cells} cells, {made}; records in {outcome.folder}")
