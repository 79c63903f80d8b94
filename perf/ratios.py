"""Time several ways to do the same thing in turns: median seconds, and their ratio to one of the ways.

The speed of a machine drifts, so a single time says little. Each round does every way once, ratios are taken within a
round, and the median over rounds is reported.
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
    """Seconds of each way, round by round.

    Attributes:
        question: What was measured, as a heading.
        seconds: Way → seconds in each round.
        to: The way that ratios refer to: a peer or a limit.
        amount: The work that each way does, and its unit, as (6600, "tokens").
        profile: A table of where the time of each way goes; empty without --profile.
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
        """Median over rounds of a way's seconds divided by those of `to` in the same round: below 1 is faster."""
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
        """All values, for JSON."""
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
    """Do each way once untimed, then `rounds` times in turns; each round starts with another way.

    Work queued on a GPU is waited for. A way with preparations that do not count returns its own seconds, as a float.

    Args:
        question: What is measured, as a heading.
        ways: Name → function.
        to: Name of the way that ratios refer to.
        rounds: Number of timed rounds.
        amount: The work that each way does, and its unit.
        profiled: Whether to profile each way as well.
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
            started = time.perf_counter()
            own = ways[name]()
            wait()
            seconds[name].append(own if isinstance(own, float) else time.perf_counter() - started)
    return Timed(question, seconds, to, amount, profile(ways) if profiled else "")


def _waiting() -> Callable[[], None]:
    import torch

    return torch.cuda.synchronize if torch.cuda.is_available() else lambda: None


def profile(ways: Mapping[str, Callable[[], object]], rows: int = 10) -> str:
    """Where the time of each way goes, by torch's profiler: the heaviest operators, and all outside of torch.

    Each way is done once more. Shares are of its wall time under the profiler, which slows everything down;
    on a GPU they are those of its kernels.
    """
    import torch
    from tabulate import tabulate

    on_gpu = torch.cuda.is_available()
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if on_gpu else []
    shares: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        wait = _waiting()
        with torch.profiler.profile(activities=activities) as profiler:
            started = time.perf_counter()
            way()
            wait()
            whole = time.perf_counter() - started
        kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        spent = {event.key: getattr(event, kind) / 1e6 / whole for event in profiler.key_averages()}
        shares[name] = {**spent, OUTSIDE: max(0.0, 1 - sum(spent.values()))}
    operators = {operator for spent in shares.values() for operator in spent}
    most = {operator: max(spent.get(operator, 0.0) for spent in shares.values()) for operator in operators}
    heaviest = sorted(operators, key=lambda operator: -most[operator])[:rows]
    table = [[name, *(f"{spent.get(name, 0.0):.0%}" for spent in shares.values())] for name in heaviest]
    rest = [f"{max(0.0, 1 - sum(spent.get(name, 0.0) for name in heaviest)):.0%}" for spent in shares.values()]
    headers = ["where the time goes", *shares]
    return tabulate([*table, ["all other operators", *rest]], headers=headers, tablefmt="pipe", disable_numparse=True)


def arguments(description: str, rounds: int = 5) -> argparse.ArgumentParser:
    """A parser with the options of all scripts: --rounds, --threads, --device and --json."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch on a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print all measurements as JSON")
    return parser


def with_profile(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the option --profile, for scripts that do all work in this process."""
    parser.add_argument("--profile", action="store_true", help="also show where the time of each way goes")
    return parser


def show(measured: Sequence[Timed], options: argparse.Namespace, **also: Any) -> None:
    """Print the tables; with --json all measurements, `also`, and the environment that they were made in."""
    if not options.json:
        print("\n\n".join(part for timed in measured for part in (timed.table(), timed.profile) if part))
        return
    from benchmark.core.environment import environment

    made_on = environment(options.device, options.threads).model_dump(mode="json")
    print(json.dumps({"measured": [timed.as_dict() for timed in measured], **also, "environment": made_on}, indent=1))


def run(main: Callable[[], int]) -> int:
    """Run `main` and return its exit code; a UserError is printed as one line on stderr, exit code 2."""
    from benchmark.core.errors import UserError

    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
