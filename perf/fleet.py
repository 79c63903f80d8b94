"""How well the scheduler fills a fleet of GPUs, some of which are lost on the way.

    python -m perf.fleet
    python -m perf.fleet --cells 10000 --gpus 1000 --hours-between-losses 100

The scheduler (`benchmark.executors.schedule.drive`) is the real one, with the plan of a real suite. The GPUs are
simulated: stages take drawn times by a clock that jumps from one end of a stage to the next. What the scheduler itself
takes is measured, and the clock goes on by it too, while GPUs that have ended a stage wait for their next. A stage
whose GPU is lost is begun again from nothing, after the pauses that the executors keep. Beside it stands the least
time that any scheduler takes: that of the longest chain of stages, or all work shared evenly, whichever is longer.
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
class Found:
    """What a simulation came to.

    Attributes:
        cells: of the suite.
        gpus: of the fleet, each with one stage at a time.
        stages: done.
        losses: attempts that were lost with their GPU.
        plan_seconds: real time from the suite to its stages in order.
        scheduler_seconds: real time that the scheduler took in all.
        hours: simulated, from the first stage to the last.
        least_hours: what no scheduler goes below.
        held: share of the GPUs' time in which they had a stage.
        useful: share in which they did work that was not lost.
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
    """GPUs by a clock of their own, as an executor's `submit` and `on_turn`."""

    def __init__(self, seconds: Mapping[str, float], hours_between_losses: float, rng: random.Random) -> None:
        """Take the time of every stage, by its key, and the mean hours between two losses of one GPU."""
        self._seconds, self._mean, self._rng = seconds, hours_between_losses * 3600, rng
        self._ends: list[tuple[float, int, Future[bool]]] = []
        self._count = 0
        self._left = time.perf_counter()
        self.clock = self.held = self.scheduler_seconds = 0.0
        self.losses = 0

    def submit(self, call: StageCall) -> "Future[bool]":
        """Begin a stage now; it ends when an attempt lives as long as the stage takes."""
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
        """Let the clock go on: by what the scheduler took since, and to the next end of a stage where it waits."""
        took = time.perf_counter() - self._left
        self.scheduler_seconds += took
        self.clock += took
        if not any_finished:
            self.clock = max(self.clock, self._ends[0][0])
        while self._ends and self._ends[0][0] <= self.clock:
            heapq.heappop(self._ends)[2].set_result(True)
        self._left = time.perf_counter()


def simulate(cells: int, gpus: int, hours_between_losses: float, seed: int = 1) -> Found:
    """Plan a suite of `cells` (a multiple of ten) and run it on `gpus`."""
    from benchmark.executors.schedule import drive
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
    began = time.perf_counter()
    calls = make_plan(suite).calls()
    plan_seconds = time.perf_counter() - began
    rng = random.Random(seed)
    seconds = {call.key: MEDIAN_SECONDS[call.stage] * rng.lognormvariate(0, SPREAD) for call in calls}
    fleet = Fleet(seconds, hours_between_losses, rng)
    drive(calls, gpus, fleet.submit, lambda call: None, fleet.turn, turn=0)
    work = sum(seconds.values())
    return Found(
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
    """Seconds from the first stage to the end of the last, were there a GPU for each."""
    ends: dict[str, float] = {}
    for call in calls:  # sources stand first
        ends[call.key] = seconds[call.key] + max((ends[source.key] for source in call.inputs.values()), default=0.0)
    return max(ends.values())


def table(found: Sequence[Found]) -> str:
    """A row per fleet, in Markdown."""
    from tabulate import tabulate

    rows = [
        [
            f"{one.cells:,}",
            f"{one.gpus:,}",
            f"{one.stages:,}",
            f"{one.losses:,}",
            f"{one.plan_seconds:.2f}",
            f"{1000 * one.scheduler_seconds / one.cells:.2f}",
            f"{one.hours:.2f}",
            f"{one.hours / one.least_hours:.3f}",
            f"{one.held:.1%}",
            f"{one.useful:.1%}",
        ]
        for one in found
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
        "--gpus", type=int, nargs="+", default=[10, 100, 1000, 1000], help="one number for each of them"
    )
    parser.add_argument(
        "--hours-between-losses",
        type=float,
        nargs="+",
        default=[100.0, 100.0, 100.0, math.inf],
        help="of one GPU, the mean",
    )
    parser.add_argument("--json", action="store_true", help="everything measured, for machines")
    options = parser.parse_args(given)
    losses = options.hours_between_losses
    if len(losses) == 1:
        losses = losses * len(options.cells)
    found = [simulate(*sizes) for sizes in zip(options.cells, options.gpus, losses, strict=True)]
    rows: list[dict[str, Any]] = [asdict(one) for one in found]
    print(json.dumps(rows, indent=1) if options.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
