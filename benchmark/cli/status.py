"""`benchmark status`: how far the runs on a store are, seen from another terminal."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.core.errors import clean
from benchmark.progress.presence import EVERY, ListedRun, list_runs
from benchmark.progress.state import duration, stage_name, stage_words, summary
from benchmark.store.artifacts import Store

_SILENT = 60.0  # seconds without word after which a run that lives is said to be silent
_CLEAR = "\x1b[H\x1b[J"  # a terminal: to its upper left corner, and nothing below


def show_status(results: Path, watch: bool, as_json: bool) -> None:
    """Print it, once, or with `watch` again and again."""
    while True:
        runs, strange = list_runs(Store(results / "store"))
        text = _as_json(runs, strange) if as_json else "\n".join(_lines(results, runs, strange))
        if watch and not as_json and sys.stdout.isatty():
            text = _CLEAR + text
        print(text, flush=True)
        if not watch:
            return
        time.sleep(EVERY)


def _as_json(runs: list[ListedRun], strange: list[str]) -> str:
    found: list[dict[str, Any]] = [
        {"run": run.name, "alive": run.alive, **run.state.model_dump(mode="json")} for run in runs
    ]
    return json.dumps({"runs": found, "notes": [clean(line) for line in strange]})


def _lines(results: Path, runs: list[ListedRun], strange: list[str]) -> list[str]:
    lines = [line for run in runs for line in _about(run)] or [f"{results}: no run is under way"]
    return [clean(line) for line in [*lines, *(f"note: {line}" for line in strange)]]


def _about(run: ListedRun) -> list[str]:
    state = run.state
    head = f"{state.suite} (run {run.name}, {state.host}, process {state.pid})"
    if not run.alive:
        return [f"{head}: killed, what is under way was lost; the same command goes on"]
    silent = time.time() - state.at
    lines = [
        f"{head}: {state.stages_done} of {state.stages} stages, {summary(state)}; started "
        f"{duration(state.seconds + max(0.0, silent))} ago"
    ]
    lines += [f"  {stage_name(one)} {stage_words(one)}, for {duration(one.seconds)}" for one in state.under_way]
    if silent > _SILENT:
        lines.append(f"  last heard of {duration(silent)} ago: its machine or disk may hang")
    return lines
