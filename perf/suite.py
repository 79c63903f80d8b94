"""How long a suite takes in one run, compared with a separate run for each of its cells, which share nothing.

    python -m perf.suite tiny --steps 40 --seeds 1

A suite that takes hours is measured with fewer steps and seeds. Both ways then train less, so that the ratio mostly
shows start-up times, scoring and the use of cores.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark import ROOT
from benchmark.suite.plan import Cell, make_plan
from benchmark.suite.schema import Suite, find_suite, load_suite
from perf.ratios import Timed, arguments, run, show


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = arguments(str(__doc__), rounds=1)
    parser.add_argument("suite", help="name or file")
    parser.add_argument("--steps", type=int, help="steps of every budget, in place of the suite's")
    parser.add_argument("--seeds", type=int, help="number of the suite's seeds")
    parser.add_argument("--train", nargs="+", help="trained models, in place of the suite's")
    options = parser.parse_args(given)
    suite = load_suite(find_suite(options.suite))
    content = smaller(suite, options.steps, options.seeds, options.train)
    cells = make_plan(Suite.model_validate(content)).cells
    seconds: dict[str, list[float]] = {"one run": [], "cell by cell": []}
    for _ in range(options.rounds):
        seconds["one run"].append(_run(content))
        seconds["cell by cell"].append(sum(_run(_only(content, cell)) for cell in cells))
    show([Timed(f"suite {suite.name}", seconds, "cell by cell", (len(cells), "cells"))], options, suite=content)
    return 0


def smaller(
    suite: Suite, steps: int | None = None, seeds: int | None = None, train: Sequence[str] | None = None
) -> dict[str, Any]:
    """The content of a suite's file with one budget of `steps`, its first `seeds`, and only the models `train`."""
    content = suite.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["train"] = list(train or content["train"])
    content["seeds"] = content["seeds"][:seeds]
    if steps:
        content["budgets"] = [{"steps": steps}]
    # A suite that was read has a list of recipes; a file has one recipe, with lists in it.
    (content["recipe"],) = content.pop("recipe")
    content["methods"] = _listed(content["methods"], content["train"])
    return content


def _listed(methods: list[dict[str, Any]], trained: list[str]) -> list[dict[str, Any]]:
    """The methods that apply to some trained models, limited to these models."""
    kept = []
    for method in methods:
        limits = [name for name in method.get("for", trained) if name in trained]
        if limits:
            kept.append({**method, "for": limits} if "for" in method else method)
    return kept


def _only(content: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """The content of a suite with one trained cell."""
    assert cell.budget is not None
    method = {"name": cell.method.name, **cell.method.model_dump(mode="json")}
    return {
        **content,
        "tasks": [cell.task.model_dump(mode="json")],
        "train": [cell.trained],
        "methods": [{**method, "pairs": [cell.pair]} if cell.pair else method],
        "seeds": [cell.seed],
        "references": False,
        "budgets": [cell.budget.model_dump(mode="json", exclude_none=True)],
    }


def _run(content: dict[str, Any]) -> float:
    """Seconds of `benchmark run` on a suite in an empty folder."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "suite.yaml"
        file.write_text(json.dumps(content))  # JSON is YAML
        command = [sys.executable, "-m", "benchmark", "run", str(file), "--results", folder, "--plain"]
        started = time.perf_counter()
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        seconds = time.perf_counter() - started
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return seconds


if __name__ == "__main__":
    raise SystemExit(run(main))
