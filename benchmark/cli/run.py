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
    from benchmark.executors.protocol import Executor
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
    from benchmark.executors.choice import make_executor
    from benchmark.suite.schema import find_suite, load_suite

    chosen = make_executor(executor, workers, containers, cluster, remote)
    run_and_print(load_suite(find_suite(suite)), results, records, chosen, plain, as_json, price)


def run_and_print(
    suite: "Suite",
    results: Path,
    records: Path | None,
    executor: "Executor",
    plain: bool,
    as_json: bool,
    price: float | None = None,
) -> None:
    """Run a suite and print its board, or a summary as JSON."""
    from benchmark.runs.recording import record_path
    from benchmark.runs.runner import run_suite

    folder = records or results / "records"
    outcome = run_suite(suite, results, folder, executor, plain or None, price)
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
