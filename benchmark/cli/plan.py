"""`benchmark plan`: what a run would do, what is cached and what it will cost."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import RESULTS, JsonOption, RecordsOption, ResultsOption, SuiteArgument
from benchmark.core.errors import UserError

if TYPE_CHECKING:
    from benchmark.runs.forecast import Forecast
    from benchmark.suite.schema import Suite


def plan(
    suite: SuiteArgument = "smoke",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    stages: Annotated[
        Path | None, typer.Option(help="Folder to write a file to for every missing stage, for `benchmark stage`.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Print what memory each stage needs and which GPU it fits.")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --memory: size of a GPU in GiB, as 80g [default: the usual sizes].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run would do, what is cached and what it will cost; with --memory, which GPU each stage fits."""
    from benchmark.suite.schema import find_suite, load_suite

    loaded = load_suite(find_suite(suite))
    if memory or gpu is not None:
        print_memory(loaded, memory, gpu, stages is not None, as_json)
        return
    from benchmark.runs.forecast import forecast
    from benchmark.store.calls import write_calls

    outlook = forecast(loaded, results, records or results / "records")
    files = None if stages is None else write_calls(stages, outlook.missing)
    if as_json:
        print(json.dumps(_summary(outlook, files)))
        return
    _print_table(outlook)
    if files is not None:
        print(f"{stages}: {len(files)} files, one for each stage to do, for `benchmark stage`")


def _summary(outlook: "Forecast", files: list[Path] | None) -> dict[str, Any]:
    seconds = outlook.worker_seconds_left
    summary: dict[str, Any] = {
        "suite": outlook.plan.suite.name,
        "device": outlook.plan.device,
        "cells": len(outlook.plan.cells),
        "cells_done": outlook.cells_done,
        "stages": outlook.stages,
        "stages_left": outlook.stages_left,
        "worker_seconds_left": None if seconds is None else round(seconds),
    }
    if outlook.unpacked:
        summary["bytes_to_unpack"] = outlook.unpacked
    return summary if files is None else {**summary, "stage_files": [str(file) for file in files]}


def _print_table(outlook: "Forecast") -> None:
    from tabulate import tabulate

    made, left, seconds = outlook.plan, outlook.stages_left, outlook.seconds
    print(f"suite {made.suite.name} on {made.device}: {len(made.cells)} cells, {outlook.cells_done} of them done")
    rows = [
        [stage, count, left.get(stage, 0), f"{seconds[stage]:.1f}" if stage in seconds else "-"]
        for stage, count in outlook.stages.items()
    ]
    print(tabulate(rows, headers=["stage", "total", "missing", "mean seconds"]))
    if outlook.unpacked:
        size = sum(outlook.unpacked.values()) / 2**30
        print(f"GGUF models to unpack into the store once: {', '.join(outlook.unpacked)} ({size:.1f} GiB on the disk)")
    total = outlook.worker_seconds_left
    print(
        "worker seconds left: "
        + (f"about {total:.0f}" if total is not None else "unknown until one stage of each kind is done")
    )


def print_memory(suite: "Suite", memory: bool, gpu: str | None, stages: bool, as_json: bool) -> None:
    """Print what memory each stage needs and which GPU it fits. Raises UserError for options that exclude each other.

    The options are checked before torch is loaded.
    """
    if not memory:
        raise UserError("--gpu: is for --memory alone; leave it out, or add that")
    if stages:
        raise UserError("--stages: --memory reads no weights, so stages have no keys yet; leave one of the two out")
    from benchmark.executors.worker import prepare, quiet

    prepare(suite.threads)
    quiet()
    from benchmark.memory.report import memory_report

    print(memory_report(suite, gpu, as_json))
