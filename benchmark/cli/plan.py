"""`benchmark plan`: what a run would do, what is cached and what it will cost."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import RESULTS, JsonOption, RecordsOption, ResultsOption, SuiteArgument, WorkersOption
from benchmark.core.errors import UserError

if TYPE_CHECKING:
    from benchmark.runs.plan_status import PlanStatus
    from benchmark.runs.time_estimate import TimeEstimate
    from benchmark.store.artifacts import Store
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
    tried: Annotated[
        bool, typer.Option("--try", help="Try a few steps and questions of each model here, and predict the time.")
    ] = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run would do, what is cached and what it will cost; with --memory, which GPU each stage fits."""
    from benchmark.suite.schema import find_suite, load_suite

    if workers is not None and not tried:
        raise UserError("--workers: is for --try alone; leave it out, or add that")
    loaded = load_suite(find_suite(suite))
    if memory or gpu is not None:
        if tried:
            raise UserError("--try: --memory reads no weights, and tries nothing; leave one of the two out")
        print_memory(loaded, memory, gpu, stages is not None, as_json)
        return
    if tried:
        _prepare(loaded)
    from benchmark.runs.folders import Folders
    from benchmark.runs.plan_status import plan_status
    from benchmark.store.calls import write_calls

    folders = Folders.of(results, records)
    status = plan_status(loaded, folders.results, folders.records)
    prediction = _predict(status, folders.store, workers) if tried else None
    files = None if stages is None else write_calls(stages, status.missing)
    if as_json:
        print(json.dumps(_summary(status, files) | ({"try": prediction.as_dict()} if prediction else {})))
        return
    _print_table(status, prediction)
    if files is not None:
        print(f"{stages}: {len(files)} files, one for each stage to do, for `benchmark stage`")


def _summary(status: "PlanStatus", files: list[Path] | None) -> dict[str, Any]:
    seconds = status.worker_seconds_left
    summary: dict[str, Any] = {
        "suite": status.plan.suite.name,
        "device": status.plan.device,
        "cells": len(status.plan.cells),
        "cells_done": status.cells_done,
        "stages": status.stages,
        "stages_left": status.stages_left,
        "worker_seconds_left": None if seconds is None else round(seconds),
    }
    if status.unpacked:
        summary["bytes_to_unpack"] = status.unpacked
    return summary if files is None else {**summary, "stage_files": [str(file) for file in files]}


def _predict(status: "PlanStatus", store: "Store", workers: int | None) -> "TimeEstimate":
    from benchmark.executors.local import default_workers
    from benchmark.executors.protocol import Job
    from benchmark.progress.bar import bar
    from benchmark.runs.time_estimate import TimeEstimate
    from benchmark.runs.trying import try_stages

    missing = status.missing
    with bar("stages tried") as progress:
        tried = try_stages(missing, store, progress)
    at_once = workers or default_workers(Job(store, missing, status.plan.suite.threads))
    return TimeEstimate(missing, tried, status.mean_seconds, at_once)


def _print_table(status: "PlanStatus", prediction: "TimeEstimate | None") -> None:
    from tabulate import tabulate

    made, left, seconds = status.plan, status.stages_left, status.mean_seconds
    print(f"suite {made.suite.name} on {made.device}: {len(made.cells)} cells, {status.cells_done} of them done")
    rows = []
    for stage, count in status.stages.items():
        row = [stage, count, left.get(stage, 0), f"{seconds[stage]:.1f}" if stage in seconds else "-"]
        rows.append(row + (_predicted(stage, left.get(stage, 0), prediction) if prediction else []))
    headers = ["stage", "total", "missing", "mean seconds", *(["seconds left", "from"] if prediction else [])]
    print(tabulate(rows, headers=headers))
    if status.unpacked:
        size = sum(status.unpacked.values()) / 2**30
        print(f"GGUF models to unpack into the store once: {', '.join(status.unpacked)} ({size:.1f} GiB on the disk)")
    if prediction:
        print(_time_left(prediction))
        return
    total = status.worker_seconds_left
    print(
        "worker seconds left: "
        + (f"about {total:.0f}" if total is not None else "unknown until one stage of each kind is done")
    )


def _predicted(stage: str, missing: int, prediction: "TimeEstimate") -> list[str]:
    """The cells of a row with what the missing stages of a kind take, and where that is known from."""
    seconds = prediction.predicted(stage)
    lines = prediction.lines(stage)
    if missing and not lines:
        lines = ["stages done before" if seconds is not None else "not tried, and not done before"]
    return ["-" if seconds is None else f"{seconds:,.1f}", "\n".join(lines)]


def _time_left(prediction: "TimeEstimate") -> str:
    """The time of the run in a line, and which stages it does not count."""
    from benchmark.progress.state import duration

    unknown = ", ".join(f"{count} {stage}" for stage, count in prediction.not_known.items())
    workers = f"{prediction.workers} worker" + ("s" if prediction.workers > 1 else "")
    return (
        f"worker seconds left: about {prediction.worker_seconds:.0f}; time left with {workers}: "
        f"about {duration(prediction.seconds)}" + (f"; not counted: {unknown}" if unknown else "")
    )


def print_memory(suite: "Suite", memory: bool, gpu: str | None, stages: bool, as_json: bool) -> None:
    """Print what memory each stage needs and which GPU it fits. Raises UserError for options that exclude each other.

    The options are checked before torch is loaded.
    """
    if not memory:
        raise UserError("--gpu: is for --memory alone; leave it out, or add that")
    if stages:
        raise UserError("--stages: --memory reads no weights, so stages have no keys yet; leave one of the two out")
    _prepare(suite)
    from benchmark.memory.report import memory_report

    print(memory_report(suite, gpu, as_json))


def _prepare(suite: "Suite") -> None:
    """Set this process up for the suite's models, before torch is loaded."""
    from benchmark.executors.worker import prepare, quiet

    prepare(suite.threads)
    quiet()
