"""Runs of a suite, seen from outside: started, looked at, and compared by their records. Needs Linux, for /proc.

What the scripts that disturb runs share, with the suite that they do it to.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark import ROOT
from benchmark.core.files import locked
from benchmark.core.signals import SIGNALS
from benchmark.records.record import read_record

MARK = "BENCHMARK_RUN_MARK"  # environment variable by which the processes of a run are known
PATIENCE = 10.0  # seconds within which the workers of a run that ended have to end
HELD_OUT = "The tide came in at dawn, and the boats went out with it. Nobody on the quay said a word about that.\n"
OLD = "left-by-an-earlier-run"  # a file in what is half done, by which it is known


def write_small_suite(folder: Path, **changes: Any) -> str:
    """Write the smallest suite that has every kind of stage, with LoRA; returns the path of its file."""
    (folder / "held_out.txt").write_text(HELD_OUT, encoding="utf-8")
    content: dict[str, Any] = {
        "name": "small",
        "models": {"small": "zoo:small", "thinned": {"model": "zoo:small", "skip_layers": [1]}},
        "pairs": {"thinned": {"large": "small", "small": "thinned"}},
        "tasks": [{"name": "biography", "people": 4, "evaluate": ["biography_major"]}],
        "train": ["small"],
        "methods": ["plain_matched", {"name": "contrastive_dropout", "alpha": 0.2}],
        "copies": 2,
        "budgets": [{"steps": 6}],
        "curve": [3],
        "recipe": {"learning_rate": 0.001, "batch_size": 4},
        "evaluation": {"num_fewshot": 0},
        "retention": [{"name": "words", "text": str(folder / "held_out.txt"), "context": 64}],
        "device": "cpu",
    }
    file = folder / f"{changes.get('name', content['name'])}.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return str(file)


def start(
    suite: str,
    results: Path,
    mark: str,
    *options: str,
    before: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    **more: Any,
) -> "subprocess.Popen[bytes]":
    """Start `benchmark run` as the head of a process group; `mark` is in the environment of all its processes.

    Args:
        suite: name or path of a suite.
        results: folder of its results.
        mark: any text that no other run has.
        options: of the command, beside these.
        before: a command that starts the command.
        variables: of the environment, beside those of this process.
        more: options of Popen.
    """
    for number in SIGNALS:  # in the background of a shell this process ignores Ctrl-C, and so would the run
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    command = [*before, sys.executable, "-m", "benchmark", "run", suite, "--results", str(results), *options]
    with_mark = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT), **(variables or {})}
    given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True, "cwd": ROOT, **more}
    return subprocess.Popen(command, env=with_mark, **given)


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


def workers_of(mark: str) -> list[int]:
    """Ids of a run's worker processes."""
    found = []
    for pid in living(mark):
        try:
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
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
        with locked(path, wait=False) as free:
            if not free:
                held.append(path.name)
    return held


def under_way(results: Path) -> list[str]:
    """Kinds of the stages whose artifacts are half done, without those that `set_aside` has seen."""
    folders = (folder for folder in (results / "store" / ".tmp").glob("*") if not (folder / OLD).exists())
    return sorted(folder.name.partition("-")[0] for folder in folders)


def set_aside(results: Path) -> None:
    """Mark what is half done as left by a run that is over; it stays where it is, for the next run to find."""
    for folder in (results / "store" / ".tmp").glob("*"):
        (folder / OLD).touch()


def artifacts(results: Path, stage: str = "[a-z]*") -> list[Path]:
    """Folders of the artifacts in the store, of one kind of stage or of all."""
    return sorted(path.parent for path in (results / "store").glob(f"{stage}/*/manifest.json"))


def records(results: Path) -> dict[str, dict[str, Any]]:
    """What must be equal in two runs, by the record's file name."""
    return {path.name: read_record(path).results() for path in sorted((results / "records").glob("*/*.json"))}


def compare(expected: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """Names of the records that are not equal in both."""
    return {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}


def finish(suite: str, results: Path, *options: str) -> float:
    """Run to the end; returns the seconds it took. Exits with the run's error if it fails."""
    began = time.monotonic()
    process = start(suite, results, uuid.uuid4().hex, *options)
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {errors.decode()}")
    return time.monotonic() - began
