"""Faults of memory: the kernel kills a worker, and an allocation fails while training."""

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scripts.faults.bench import Bench, Fault, Row, left_behind, needs_nothing, needs_root
from scripts.faults.signals import AGAIN, in_training
from scripts.runs import records, workers_of, write_small_suite

DIED = r"^error: stage \w+: a worker process died, most often for lack of memory"
CGROUPS = Path("/sys/fs/cgroup")
BATCH = 256  # texts in a step; half as many take some hundred MB less


def faults() -> list[Fault]:
    """The faults of this file."""
    return [
        Fault("a worker is killed", _worker_killed, needs_nothing),
        Fault("the kernel's OOM killer", _oom_killer, _needs_cgroup),
        Fault("out of memory while training", _no_memory, needs_nothing),
    ]


def _worker_killed(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder, "train")
    with bench.started(results) as run:
        in_training(run)
        os.kill(workers_of(run.mark)[0], signal.SIGKILL)
        done = run.ended()
        wrong = [*run.left(), *left_behind(results)]
    wrong += bench.resumed(results)
    return bench.judge(f"SIGKILL to a worker while training; {AGAIN}", done, 1, DIED, wrong, bench.lost(results))


def _memory_groups() -> Path | None:
    """The folder where a control group with a memory limit can be made; None if there is none."""
    if (CGROUPS / "memory" / "memory.limit_in_bytes").exists():
        return CGROUPS / "memory"
    controllers = CGROUPS / "cgroup.subtree_control"
    return CGROUPS if controllers.exists() and "memory" in controllers.read_text().split() else None


def _needs_cgroup() -> str:
    return needs_root() or ("" if _memory_groups() else "needs a control group with a limit of memory")


@contextmanager
def _limited(limit: int) -> Iterator[Path]:
    """A control group with a memory limit for all its processes together; yields the file that adds a process."""
    groups = _memory_groups()
    assert groups is not None
    (group := groups / f"faults-{os.getpid()}").mkdir()
    name = "memory.limit_in_bytes" if groups != CGROUPS else "memory.max"
    (group / name).write_text(str(limit))
    try:
        yield group / "cgroup.procs"
    finally:
        deadline = time.monotonic() + 10
        while group.exists() and time.monotonic() < deadline:  # its processes take a moment to disappear
            with suppress(OSError):
                group.rmdir()
            time.sleep(0.1)


def _oom_killer(bench: Bench, folder: Path) -> Row:
    """The limit lies half-way between the memory of the run alone and that of the run with a worker."""
    own = workers = 0
    with bench.started(bench.copy(folder / "free", "train"), "--workers", "1") as run:
        while run.process.poll() is None:
            own = max(own, _memory([run.process.pid], "RssAnon"))
            workers = max(workers, _memory(workers_of(run.mark), "RssAnon"))
            time.sleep(0.05)
        run.ended()
    limit = own + workers // 2
    results = bench.copy(folder, "train")
    with _limited(limit) as processes:
        options: dict[str, Any] = {"preexec_fn": lambda: processes.write_text(str(os.getpid()))}
        with bench.started(results, "--workers", "1", **options) as run:
            done = run.ended()
            wrong = [*run.left(), *left_behind(results)]
    wrong += bench.resumed(results)
    what = f"a control group of {limit >> 20} MB for all of the run; {AGAIN}, without it"
    return bench.judge(what, done, 1, DIED, wrong, bench.lost(results))


def _no_memory(bench: Bench, folder: Path) -> Row:
    """The limit lies between the memory of a step with all its texts at once and with half of them at once."""
    suite = _suite(folder, "whole")
    peak = 0
    with bench.started(folder / "free", "--workers", "1", suite=suite) as run:
        while run.process.poll() is None:
            peak = max(peak, _memory(workers_of(run.mark), "VmPeak"))
            time.sleep(0.05)
        done = run.ended()
    if done.code:
        return bench.judge("a run without a limit", done, 0, "^$", [], "nothing")
    limit = peak - (64 << 20)

    def take_less() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = bench.run(folder / "results", "--workers", "1", suite=suite, preexec_fn=take_less)
    if done.code:
        return bench.judge(f"{limit >> 20} MB of addresses for each process", done, 0, "^$", [], "nothing")
    (record,) = records(folder / "results").values()
    training = record["training"]
    micro = training["micro_batch"]
    noted = f"out of memory: micro-batch lowered to {micro}, effective batch kept at {BATCH}"
    wrong = [] if noted in training["notes"] else [f"the record's notes: {training['notes']}"]
    wrong += [] if training["effective_batch"] == BATCH else [f"effective batch {training['effective_batch']}"]
    bench.run(folder / "asked", "--workers", "1", suite=_suite(folder, "asked", micro_batch=micro))
    (asked,) = records(folder / "asked").values()
    lost = (
        "nothing"
        if _learnt(record) == _learnt(asked)
        else "other results than with that micro-batch set from the start"
    )
    what = f"{limit >> 20} MB of addresses for each process: micro-batch {BATCH} became {micro}"
    return bench.judge(what, done, 0, "^$", [*wrong, *left_behind(folder / "results")], lost)


def _suite(folder: Path, name: str, **recipe: Any) -> str:
    return write_small_suite(
        folder,
        name=name,
        methods=["plain_matched"],
        budgets=[{"steps": 2}],
        curve=[],
        retention=[],
        recipe={"learning_rate": 0.001, "batch_size": BATCH, **recipe},
    )


def _memory(pids: list[int], kind: str) -> int:
    """The largest memory of some processes in bytes, of a kind that /proc/PID/status names (see proc(5))."""
    most = 0
    for pid in pids:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            most = max(most, int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1]) << 10)
    return most


def _learnt(record: dict[str, Any]) -> str:
    """The results that must depend neither on the micro-batch nor on how it was set."""
    training = {key: record["training"][key] for key in ("steps", "tokens", "loss_first", "loss_last")}
    return json.dumps([training, record["scores"], record["answers"]["sha256"]])
