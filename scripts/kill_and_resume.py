"""Kill a suite's run at random moments, let it go on, and compare its records with those of a run nobody killed.

    python -m scripts.kill_and_resume smoke --kills 10 --seed 1      (in the folder of the project)

Only the run itself gets SIGKILL; its worker processes have to end by themselves. Exit code 1: a record differs from
that of the undisturbed run, or a process or lock outlived a kill. Needs Linux, for it looks around in /proc.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark import ROOT
from benchmark.record import read_record
from benchmark.suite import find_suite

MARK = "KILL_AND_RESUME_RUN"  # environment variable by which the processes of a run are known
PATIENCE = 10.0  # seconds within which the workers of a killed run have to end


def start(suite: str, results: Path, mark: str, *options: str) -> "subprocess.Popen[bytes]":
    """Start `benchmark run` as the head of a process group; `mark` is in the environment of all its processes."""
    command = [sys.executable, "-m", "benchmark", "run", suite, "--results", str(results), "--plain", *options]
    return subprocess.Popen(
        command,
        env={**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def living(mark: str) -> list[int]:
    """Ids of the living processes that `mark` is in the environment of."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def wait_until_gone(mark: str) -> float | None:
    """Seconds until no process of a run is left; None if one is still there after PATIENCE."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if not living(mark):
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def held_locks(results: Path) -> list[str]:
    """Names of the store's locks that somebody holds."""
    held = []
    for path in sorted((results / "store" / ".locks").glob("*")):
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            held.append(path.name)
        else:
            lock.release()
    return held


def stages_done(results: Path) -> int:
    """Number of artifacts in the store."""
    return sum(1 for _ in (results / "store").glob("[a-z]*/*/manifest.json"))


def records(results: Path) -> dict[str, dict[str, Any]]:
    """What must be equal in two runs, by the record's file name."""
    return {path.name: read_record(path).results() for path in sorted((results / "records").glob("*/*.json"))}


def finish(suite: str, results: Path, *options: str) -> float:
    """Run to the end; returns the seconds it took. Exits with the run's error if it fails."""
    began = time.monotonic()
    process = start(suite, results, uuid.uuid4().hex, *options)
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {errors.decode()}")
    return time.monotonic() - began


def kill_once(suite: str, results: Path, delay: float, *options: str) -> dict[str, Any] | None:
    """Start a run, kill it after `delay` seconds, and look what is left; None if it was finished before."""
    mark = uuid.uuid4().hex
    process = start(suite, results, mark, *options)
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    gone = wait_until_gone(mark)
    if process.returncode == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the run failed: {process.communicate()[1].decode()}")
    return {
        "killed after, s": f"{delay:.1f}",
        "stages done": stages_done(results),
        "under way": ", ".join(path.name[:14] for path in sorted((results / "store" / ".tmp").glob("*"))),
        "workers gone after, s": f"{gone:.1f}" if gone is not None else f"never: {living(mark)}",
        "locks held": ", ".join(held_locks(results)) or "none",
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison and print it; returns the exit code."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("suite", help="name of a shipped suite, or a path to a .yaml file")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--workers", type=int, help="as of `benchmark run`")
    parser.add_argument("--folder", type=Path, help="where to work, and leave the results [default: a temporary one]")
    given = parser.parse_args(arguments)
    find_suite(given.suite)
    options = ["--workers", str(given.workers)] if given.workers else []
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    rng = random.Random(given.seed)
    try:
        seconds = finish(given.suite, undisturbed, *options)
        expected = records(undisturbed)
        print(f"undisturbed: {seconds:.0f} s, {stages_done(undisturbed)} stages, {len(expected)} records", flush=True)
        rows: list[dict[str, Any]] = []
        differences: set[str] = set()
        while len(rows) < given.kills:
            row = kill_once(given.suite, killed, rng.uniform(0, seconds), *options)
            if row is not None:
                rows.append({"kill": len(rows) + 1, **row})
                continue
            differences |= compare(expected, records(killed))
            shutil.rmtree(killed)  # it came to its end between two kills: the next ones hit a fresh run
        finish(given.suite, killed, *options)
        differences |= compare(expected, records(killed))
    finally:
        if not given.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(tabulate(rows, headers="keys"))
    left = [row for row in rows if "never" in row["workers gone after, s"] or row["locks held"] != "none"]
    for name in sorted(differences):
        print(f"{name}: differs from the undisturbed run's", file=sys.stderr)
    print(
        f"{len(expected)} records, {len(differences)} differ after {len(rows)} kills; {len(left)} kills left something"
    )
    return 1 if differences or left else 0


def compare(expected: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """Names of the records that are not equal in both."""
    return {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}


if __name__ == "__main__":
    raise SystemExit(main())
