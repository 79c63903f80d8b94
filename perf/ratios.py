"""Several ways to do one thing, timed by turns in one process: medians, and how each stands to one of them.

A machine's speed drifts, so that a time alone says little. Here every round does each way once, the ratio is taken
within the round, and the median over rounds is what counts.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OUTSIDE = "outside of torch"


@dataclass(frozen=True)
class Timed:
    """Seconds of every way, round by round.

    Attributes:
        question: What was asked, as a heading.
        seconds: Way → one number per round, the same number of rounds for each.
        to: The way that ratios are to: a peer, or a limit.
        amount: What one doing of it works off, and in which unit, as (6600, "tokens").
        profile: What the time of each way is spent on, as a table; empty if nobody asked.
    """

    question: str
    seconds: Mapping[str, Sequence[float]]
    to: str
    amount: tuple[float, str] | None = None
    profile: str = ""

    def median(self, way: str) -> float:
        """Median seconds of a way."""
        return statistics.median(self.seconds[way])

    def ratio(self, way: str) -> float:
        """Median over rounds of a way's seconds over those of `to` in the same round: below 1 is faster."""
        return statistics.median(
            mine / other for mine, other in zip(self.seconds[way], self.seconds[self.to], strict=True)
        )

    def spread(self, way: str) -> tuple[float, float]:
        """Lowest and highest ratio of any round."""
        ratios = [mine / other for mine, other in zip(self.seconds[way], self.seconds[self.to], strict=True)]
        return min(ratios), max(ratios)

    def table(self) -> str:
        """A row per way, in Markdown."""
        from tabulate import tabulate

        rates = [] if self.amount is None else [f"{self.amount[1]} per second"]
        rows = []
        for way in self.seconds:
            low, high = self.spread(way)
            rate = [] if self.amount is None else [f"{self.amount[0] / self.median(way):,.4g}"]
            rows.append([way, f"{self.median(way):.4g}", *rate, f"{self.ratio(way):.2f} [{low:.2f}, {high:.2f}]"])
        headers = [self.question, "seconds", *rates, f"× {self.to}"]
        return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "question": self.question,
            "to": self.to,
            "amount": self.amount,
            "profile": self.profile,
            "ways": {
                way: {"seconds": list(each), "median": self.median(way), "ratio": self.ratio(way)}
                for way, each in self.seconds.items()
            },
        }


def timed(
    question: str,
    ways: Mapping[str, Callable[[], object]],
    to: str,
    rounds: int,
    amount: tuple[float, str] | None = None,
    profiled: bool = False,
) -> Timed:
    """Do every way once untimed, then `rounds` times by turns, each time beginning with another one.

    Work queued on a GPU is waited for. A way that has to prepare what is not to be timed returns its own seconds, as a
    float.
    """
    wait = _waiting()
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            wait()
            began = time.perf_counter()
            own = ways[name]()
            wait()
            seconds[name].append(own if isinstance(own, float) else time.perf_counter() - began)
    return Timed(question, seconds, to, amount, profile(ways) if profiled else "")


def _waiting() -> Callable[[], None]:
    import torch

    return torch.cuda.synchronize if torch.cuda.is_available() else lambda: None


def profile(ways: Mapping[str, Callable[[], object]], rows: int = 10) -> str:
    """What the time of each way is spent on, by torch's profiler: its heaviest operators, and all that is not torch.

    Each way is done once more. A share is of the way's own wall time under the profiler,
    which makes everything slower, Python most; on a GPU it is that of its kernels.
    """
    import torch
    from tabulate import tabulate

    on_gpu = torch.cuda.is_available()
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if on_gpu else []
    shares: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        wait = _waiting()
        with torch.profiler.profile(activities=activities) as found:
            began = time.perf_counter()
            way()
            wait()
            whole = time.perf_counter() - began
        kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        spent = {event.key: getattr(event, kind) / 1e6 / whole for event in found.key_averages()}
        shares[name] = {**spent, OUTSIDE: max(0.0, 1 - sum(spent.values()))}
    operators = {operator for spent in shares.values() for operator in spent}
    most = {operator: max(spent.get(operator, 0.0) for spent in shares.values()) for operator in operators}
    heaviest = sorted(operators, key=lambda operator: -most[operator])[:rows]
    table = [[one, *(f"{spent.get(one, 0.0):.0%}" for spent in shares.values())] for one in heaviest]
    rest = [f"{max(0.0, 1 - sum(spent.get(one, 0.0) for one in heaviest)):.0%}" for spent in shares.values()]
    headers = ["where the time goes", *shares]
    return tabulate([*table, ["all other operators", *rest]], headers=headers, tablefmt="pipe", disable_numparse=True)


def arguments(description: str, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that every script has: --rounds, --threads, --device and --json."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2, help="of torch, on a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="everything measured, for machines")
    return parser


def with_profile(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same with --profile, where all is done in this process."""
    parser.add_argument("--profile", action="store_true", help="say as well what the time of each way is spent on")
    return parser


def show(found: Sequence[Timed], given: argparse.Namespace, **also: Any) -> None:
    """Print the tables, or with --json all that was measured, `also`, and what it was measured on."""
    if not given.json:
        print("\n\n".join(part for one in found for part in (one.table(), one.profile) if part))
        return
    from benchmark.core.environment import environment

    made_on = environment(given.device, given.threads).model_dump(mode="json")
    print(json.dumps({"measured": [one.as_dict() for one in found], **also, "environment": made_on}, indent=1))


def run(main: Callable[[], int]) -> int:
    """The exit code of a script: that of `main`, or 2 after a line on stderr for what a user got wrong."""
    from benchmark.core.errors import UserError

    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
