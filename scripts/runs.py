"""Start runs of a suite, watch their processes and stores from outside, and compare their records.

Tests and scripts that disturb runs share these functions. Needs Linux, for /proc.
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

MARK = "BENCHMARK_RUN_MARK"  # environment variable that identifies the processes of a run
PATIENCE = 10.0  # seconds within which the workers of an ended run have to end
HELD_OUT = "The tide came in at dawn, and the boats went out with it. Nobody on the quay said a word about that.\n"
OLD = "left-by-an-earlier-run"  # name of a file that marks an unfinished artifact of an earlier run


def write_small_suite(folder: Path, **changes: Any) -> str:
    """Write the smallest suite that has every kind of stage; returns the path of its file."""
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
    """Start `benchmark run` in a process group of its own.

    Args:
        suite: Name or path of a suite.
        results: Folder of its results.
        mark: Unique text; every process of the run has it in its environment.
        options: Further options of the command.
        before: A command that starts the command, as unshare.
        variables: Further variables of the environment.
        more: Options of Popen.
    """
    for number in SIGNALS:  # a process in the background of a shell ignores Ctrl-C, and so would the run
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    command = [*before, sys.executable, "-m", "benchmark", "run", suite, "--results", str(results), *options]
    with_mark = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT), **(variables or {})}
    given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True, "cwd": ROOT, **more}
    return subprocess.Popen(command, env=with_mark, **given)


def living(mark: str) -> list[int]:
    """Ids of the living processes with `mark` in their environment."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return pids


def workers_of(mark: str) -> list[int]:
    """Ids of a run's worker processes."""
    workers = []
    for pid in living(mark):
        try:
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                workers.append(pid)
        except OSError:
            continue
    return workers


def wait_until_gone(mark: str) -> float | None:
    """Seconds until all processes of a run have ended; None if one still lives after PATIENCE."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if not living(mark):
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def held_locks(results: Path) -> list[str]:
    """Names of the store's locks that are held."""
    held = []
    for path in sorted((results / "store" / ".locks").glob("*")):
        with locked(path, wait=False) as free:
            if not free:
                held.append(path.name)
    return held


def under_way(results: Path) -> list[str]:
    """Kinds of the stages with an unfinished artifact, without those that `set_aside` has marked."""
    folders = (folder for folder in (results / "store" / ".tmp").glob("*") if not (folder / OLD).exists())
    return sorted(folder.name.partition("-")[0] for folder in folders)


def set_aside(results: Path) -> None:
    """Mark unfinished artifacts as left by an ended run; they stay, for the next run to find."""
    for folder in (results / "store" / ".tmp").glob("*"):
        (folder / OLD).touch()


def artifacts(results: Path, stage: str = "[a-z]*") -> list[Path]:
    """Folders of the artifacts in the store, of one kind of stage or of all kinds."""
    return sorted(path.parent for path in (results / "store").glob(f"{stage}/*/manifest.json"))


def records(results: Path) -> dict[str, dict[str, Any]]:
    """The results of each record, which are equal in equal runs, by the record's file name."""
    return {path.name: read_record(path).results() for path in sorted((results / "records").glob("*/*.json"))}


def compare(expected: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Names of the records that are missing in one of two runs or differ between them."""
    return {name for name in expected.keys() | other.keys() if expected.get(name) != other.get(name)}


def finish(suite: str, results: Path, *options: str) -> float:
    """Run a suite to its end; returns the seconds that it took. Exits with the run's error if it fails."""
    began = time.monotonic()
    process = start(suite, results, uuid.uuid4().hex, *options)
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {errors.decode()}")
    return time.monotonic() - began
