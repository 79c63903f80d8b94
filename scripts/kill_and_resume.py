"""Kill a suite's run at random moments, resume it, and compare its records with those of an undisturbed run.

    python -m scripts.kill_and_resume --kills 100 --seed 1        (in the project's folder)

Without a suite it runs a very small one with every kind of stage. Half of the kills come at any moment of the run. The
other half is aimed at a random stage that has not finished, since some stages take a hundredth of the time of others.
Only the run itself receives SIGKILL; its worker processes have to end by themselves. Exit code 1: a record differs from
that of the undisturbed run, or a process or lock outlived a kill. Needs Linux.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from benchmark.suite.schema import find_suite
from scripts.runs import (
    artifacts,
    compare,
    finish,
    held_locks,
    living,
    records,
    set_aside,
    start,
    under_way,
    wait_until_gone,
    write_small_suite,
)

NO_STAGE = "none"  # while planning, between two stages, or while a record is written


def seconds_of(results: Path) -> dict[str, float]:
    """The longest time of a stage, by kind."""
    longest: dict[str, float] = {}
    for folder in artifacts(results):
        seconds = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["cost"]["seconds"]
        longest[folder.parent.name] = max(seconds, longest.get(folder.parent.name, 0.0))
    return longest


class Moment:
    """When to kill: some seconds after the run started, or after a stage of some kind started."""

    def __init__(self, seconds: float, stage: str | None = None) -> None:
        self.seconds, self.stage = seconds, stage

    def wait(self, process: "subprocess.Popen[bytes]", results: Path) -> None:
        """Wait for the moment, or for the end of the process."""
        while self.stage and process.poll() is None and self.stage not in under_way(results):
            time.sleep(0.002)
        try:
            process.wait(timeout=self.seconds)
        except subprocess.TimeoutExpired:
            return


def draw(rng: random.Random, number: int, undisturbed: Path, killed: Path, seconds: float) -> Moment:
    """Draw the moment of a kill: any moment for even numbers, within an unfinished kind of stage for odd ones."""
    longest = seconds_of(undisturbed)
    left = [kind for kind in longest if len(artifacts(killed, kind)) < len(artifacts(undisturbed, kind))]
    if number % 2 == 0 or not left:
        return Moment(rng.uniform(0, seconds))
    kind = rng.choice(sorted(left))
    return Moment(rng.uniform(0, longest[kind]), kind)


def kill_once(suite: str, results: Path, moment: Moment, *options: str) -> dict[str, Any] | None:
    """Start a run, kill it at the moment, and report what is left; None if the run finished before."""
    mark = uuid.uuid4().hex
    started = time.monotonic()
    process = start(suite, results, mark, *options)
    moment.wait(process, results)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
    seconds = time.monotonic() - started
    gone = wait_until_gone(mark)
    if process.returncode == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the run failed: {process.communicate()[1].decode()}")
    hit = under_way(results)
    set_aside(results)
    return {
        "killed after, s": f"{seconds:.1f}",
        "aimed at": moment.stage or "any moment",
        "under way": ", ".join(hit) or NO_STAGE,
        "stages done": len(artifacts(results)),
        "workers gone after, s": f"{gone:.1f}" if gone is not None else f"never: {living(mark)}",
        "locks held": ", ".join(held_locks(results)) or "none",
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison and print it; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("suite", nargs="?", help="name of a shipped suite, or a path to a .yaml file")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--workers", type=int, help="as for `benchmark run`")
    parser.add_argument("--folder", type=Path, help="folder that keeps the results [default: a temporary one]")
    options = parser.parse_args(arguments)
    if options.suite:
        find_suite(options.suite)
    workers = ["--workers", str(options.workers)] if options.workers else []
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    folder.mkdir(parents=True, exist_ok=True)
    suite = options.suite or write_small_suite(folder.resolve())
    try:
        return _kill_and_compare(suite, folder, options.kills, random.Random(options.seed), workers)
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def _kill_and_compare(suite: str, folder: Path, kills: int, rng: random.Random, options: list[str]) -> int:
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    seconds = finish(suite, undisturbed, *options)
    expected = records(undisturbed)
    print(f"undisturbed: {seconds:.0f} s, {len(artifacts(undisturbed))} stages, {len(expected)} records", flush=True)
    rows: list[dict[str, Any]] = []
    differences: set[str] = set()
    while len(rows) < kills:
        row = kill_once(suite, killed, draw(rng, len(rows), undisturbed, killed, seconds), *options)
        if row is not None:
            rows.append({"kill": len(rows) + 1, **row})
            continue
        differences |= compare(expected, records(killed))
        shutil.rmtree(killed)  # it finished between two kills: the next kill hits a new run
    finish(suite, killed, *options)
    differences |= compare(expected, records(killed))
    return _report(rows, [*seconds_of(undisturbed), NO_STAGE], len(expected), differences)


def _report(rows: list[dict[str, Any]], kinds: list[str], count: int, differences: set[str]) -> int:
    from tabulate import tabulate

    print(tabulate(rows, headers="keys"))
    hit = Counter(kind for row in rows for kind in {*row["under way"].split(", ")})
    print()
    print(tabulate([[kind, hit[kind]] for kind in kinds], headers=["stage under way", "kills"]))
    left = [row for row in rows if "never" in row["workers gone after, s"] or row["locks held"] != "none"]
    for name in sorted(differences):
        print(f"{name}: differs from the undisturbed run's", file=sys.stderr)
    print(f"\n{count} records, {len(differences)} differ after {len(rows)} kills; {len(left)} kills left something")
    return 1 if differences or left else 0


if __name__ == "__main__":
    raise SystemExit(main())
