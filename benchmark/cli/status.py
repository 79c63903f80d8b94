"""`benchmark status`: the progress of the runs in a results folder, from another terminal."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import RESULTS, JsonOption, ResultsOption
from benchmark.core.errors import clean

if TYPE_CHECKING:
    from benchmark.progress.presence import ListedRun

_SILENT = 60.0  # seconds without an update after which a live run is reported as silent
_CLEAR = "\x1b[H\x1b[J"  # terminal codes: move to the upper left corner and clear the screen


def status(
    results: ResultsOption = RESULTS,
    watch: Annotated[bool, typer.Option("--watch", help="Print again every few seconds, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the progress of the runs in a results folder: stages done and under way, time left, cost."""
    from benchmark.progress.presence import EVERY, list_runs
    from benchmark.runs.folders import Folders

    while True:
        runs, notes = list_runs(Folders.of(results).store)
        text = _as_json(runs, notes) if as_json else "\n".join(_lines(results, runs, notes))
        if watch and not as_json and sys.stdout.isatty():
            text = _CLEAR + text
        print(text, flush=True)
        if not watch:
            return
        time.sleep(EVERY)


def _as_json(runs: "list[ListedRun]", notes: list[str]) -> str:
    entries: list[dict[str, Any]] = [
        {"run": run.name, "alive": run.alive, **run.state.model_dump(mode="json")} for run in runs
    ]
    return json.dumps({"runs": entries, "notes": [clean(note) for note in notes]})


def _lines(results: Path, runs: "list[ListedRun]", notes: list[str]) -> list[str]:
    lines = [line for run in runs for line in _lines_of(run)] or [f"{results}: no run is under way"]
    return [clean(line) for line in [*lines, *(f"note: {note}" for note in notes)]]


def _lines_of(run: "ListedRun") -> list[str]:
    from benchmark.progress.state import duration, stage_name, stage_words, summary

    state = run.state
    head = f"{state.suite} (run {run.name}, {state.host}, process {state.pid})"
    if not run.alive:
        return [f"{head}: killed; the stages under way are lost, and the same command continues"]
    silent = time.time() - state.at
    lines = [
        f"{head}: {state.stages_done} of {state.stages} stages, {summary(state)}; started "
        f"{duration(state.seconds + max(0.0, silent))} ago"
    ]
    lines += [f"  {stage_name(stage)} {stage_words(stage)}, for {duration(stage.seconds)}" for stage in state.under_way]
    if silent > _SILENT:
        lines.append(f"  no update for {duration(silent)}: its machine or disk may hang")
    return lines
