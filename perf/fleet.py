"""How well the scheduler keeps a fleet of GPUs busy, some of which are lost during the run.

    python -m perf.fleet
    python -m perf.fleet --cells 10000 --gpus 1000 --hours-between-losses 100

The scheduler (`benchmark.executors.schedule.drive`) is the real one, with the plan of a real suite. The GPUs are
simulated: stages take random times on a clock that jumps from the end of one stage to the next. The scheduler's own
time is measured and moves the clock as well, while GPUs that have finished a stage wait for their next. A stage whose
GPU is lost starts again from nothing, after the pauses that executors make. The result is compared with a lower bound
for any scheduler: the longest chain of stages, or all work shared evenly, whichever takes longer.
"""

import argparse
import heapq
import json
import math
import random
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.store.artifacts import StageCall
from perf.ratios import run

MEDIAN_SECONDS = {"corpus": 5.0, "score": 60.0, "augment": 5.0, "facts": 5.0, "train": 600.0, "evaluate": 120.0}
SPREAD = 0.3  # standard deviation of the logarithm of a stage's time
PAUSE = 1.0  # seconds before a lost stage is tried again, doubled each time


@dataclass(frozen=True)
class Simulation:
    """The result of a simulation.

    Attributes:
        cells: Cells of the suite.
        gpus: GPUs of the fleet, each with one stage at a time.
        stages: Finished stages.
        losses: Attempts that were lost with their GPU.
        plan_seconds: Real time to plan the suite.
        scheduler_seconds: Real time of the scheduler in total.
        hours: Simulated time from the first stage to the last.
        least_hours: Lower bound of `hours` for any scheduler.
        held: Share of the GPUs' time in which they had a stage.
        useful: Share of the GPUs' time in which they did work that was not lost.
    """

    cells: int
    gpus: int
    stages: int
    losses: int
    plan_seconds: float
    scheduler_seconds: float
    hours: float
    least_hours: float
    held: float
    useful: float


class Fleet:
    """Simulated GPUs with a clock of their own; `submit` and `turn` are the callbacks of the scheduler."""

    def __init__(self, seconds: Mapping[str, float], hours_between_losses: float, rng: random.Random) -> None:
        """Set the seconds of each stage by its key, and the mean hours between two losses of a GPU."""
        self._seconds, self._mean, self._rng = seconds, hours_between_losses * 3600, rng
        self._ends: list[tuple[float, int, Future[bool]]] = []
        self._count = 0
        self._left = time.perf_counter()
        self.clock = self.held = self.scheduler_seconds = 0.0
        self.losses = 0

    def submit(self, call: StageCall) -> "Future[bool]":
        """Start a stage now; it ends when an attempt lasts as long as the stage takes."""
        needed, held, pause = self._seconds[call.key], 0.0, PAUSE
        while (lived := self._rng.expovariate(1 / self._mean) if math.isfinite(self._mean) else needed) < needed:
            held += lived + pause
            pause *= 2
            self.losses += 1
        held += needed
        self.held += held
        future: Future[bool] = Future()
        self._count += 1
        heapq.heappush(self._ends, (self.clock + held, self._count, future))
        return future

    def turn(self, running: Collection[StageCall], any_finished: bool) -> None:
        """Move the clock by the scheduler's own time, and to the next end of a stage if the scheduler waits for it."""
        took = time.perf_counter() - self._left
        self.scheduler_seconds += took
        self.clock += took
        if not any_finished:
            self.clock = max(self.clock, self._ends[0][0])
        while self._ends and self._ends[0][0] <= self.clock:
            heapq.heappop(self._ends)[2].set_result(True)
        self._left = time.perf_counter()


def simulate(cells: int, gpus: int, hours_between_losses: float, seed: int = 1) -> Simulation:
    """Plan a suite of `cells` (a multiple of ten) and run it on `gpus`."""
    from benchmark.executors.schedule import run_in_order
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import Suite

    suite = Suite.model_validate(
        {
            "name": "fleet",
            "models": {"large": "zoo:large", "small": "zoo:small"},
            "pairs": {"tiny": {"large": "large", "small": "small"}},
            "tasks": ["biography"],
            "train": ["large"],
            "methods": [
                "plain_matched",
                {"name": "contrastive_dropout", "alpha": [round(0.05 * n, 2) for n in range(1, 10)]},
            ],
            "seeds": list(range(1, cells // 10 + 1)),
            "references": False,
            "budgets": [{"steps": 1}],
            "device": "cpu",
        }
    )
    started = time.perf_counter()
    calls = make_plan(suite).calls()
    plan_seconds = time.perf_counter() - started
    rng = random.Random(seed)
    seconds = {call.key: MEDIAN_SECONDS[call.stage] * rng.lognormvariate(0, SPREAD) for call in calls}
    fleet = Fleet(seconds, hours_between_losses, rng)
    run_in_order(calls, gpus, fleet.submit, lambda call: None, fleet.turn, turn=0)
    work = sum(seconds.values())
    return Simulation(
        cells=cells,
        gpus=gpus,
        stages=len(calls),
        losses=fleet.losses,
        plan_seconds=plan_seconds,
        scheduler_seconds=fleet.scheduler_seconds,
        hours=fleet.clock / 3600,
        least_hours=max(work / gpus, longest_chain(calls, seconds)) / 3600,
        held=fleet.held / (gpus * fleet.clock),
        useful=work / (gpus * fleet.clock),
    )


def longest_chain(calls: Sequence[StageCall], seconds: Mapping[str, float]) -> float:
    """Seconds from the first stage to the end of the last if each stage had a GPU of its own."""
    ends: dict[str, float] = {}
    for call in calls:  # sources stand first
        ends[call.key] = seconds[call.key] + max((ends[source.key] for source in call.inputs.values()), default=0.0)
    return max(ends.values())


def table(simulations: Sequence[Simulation]) -> str:
    """A table with a row per fleet, in Markdown."""
    from tabulate import tabulate

    rows = [
        [
            f"{simulation.cells:,}",
            f"{simulation.gpus:,}",
            f"{simulation.stages:,}",
            f"{simulation.losses:,}",
            f"{simulation.plan_seconds:.2f}",
            f"{1000 * simulation.scheduler_seconds / simulation.cells:.2f}",
            f"{simulation.hours:.2f}",
            f"{simulation.hours / simulation.least_hours:.3f}",
            f"{simulation.held:.1%}",
            f"{simulation.useful:.1%}",
        ]
        for simulation in simulations
    ]
    headers = [
        "cells",
        "GPUs",
        "stages",
        "losses",
        "plan, s",
        "scheduler, ms a cell",
        "hours",
        "× least",
        "GPUs held",
        "useful",
    ]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main(given: list[str] | None = None) -> int:
    """Simulate and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 1000, 10_000, 10_000], help="multiples of ten")
    parser.add_argument(
        "--gpus", type=int, nargs="+", default=[10, 100, 1000, 1000], help="one number for each number of cells"
    )
    parser.add_argument(
        "--hours-between-losses",
        type=float,
        nargs="+",
        default=[100.0, 100.0, 100.0, math.inf],
        help="mean hours between two losses of a GPU",
    )
    parser.add_argument("--json", action="store_true", help="print all measurements as JSON")
    options = parser.parse_args(given)
    losses = options.hours_between_losses
    if len(losses) == 1:
        losses = losses * len(options.cells)
    if not len(options.cells) == len(options.gpus) == len(losses):
        parser.error("give as many values of --gpus and --hours-between-losses as of --cells")
    simulations = [simulate(*sizes) for sizes in zip(options.cells, options.gpus, losses, strict=True)]
    rows: list[dict[str, Any]] = [asdict(simulation) for simulation in simulations]
    print(json.dumps(rows, indent=1) if options.json else table(simulations))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
