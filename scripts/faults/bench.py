"""The test bench of all faults: a small suite, the results of an undisturbed run, and a judge of disturbed runs."""

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import ROOT
from benchmark.core.errors import UserError
from scripts.runs import (
    artifacts,
    compare,
    finish,
    held_locks,
    living,
    records,
    start,
    under_way,
    wait_until_gone,
    write_small_suite,
)

SHIM = Path(__file__).with_name("shim.c")
PROGRESS = re.compile(r"^\[\d+/\d+\] |Loading weights")
LIMIT = 900.0  # seconds after which a run counts as hung


@dataclass(frozen=True)
class Done:
    """The result of a command: its exit code, and the lines on stderr except progress."""

    code: int
    messages: list[str]


@dataclass(frozen=True)
class Row:
    """A row of the table. `wrong` lists what is not as expected; `skipped` says why the fault was not tried."""

    fault: str
    done: str
    code: int | None = None
    message: str = ""
    lost: str = ""
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """The last cell of the row."""
        return f"not tried: {self.skipped}" if self.skipped else "; ".join(self.wrong) or "good"


@dataclass(frozen=True)
class Run:
    """A run of the suite, active or ended."""

    process: "subprocess.Popen[bytes]"
    mark: str
    results: Path

    def ended(self) -> Done:
        """Wait for its end and read its messages."""
        _, errors = self.process.communicate(timeout=LIMIT)
        return Done(self.process.returncode, messages_in(errors))

    def left(self) -> list[str]:
        """A sentence about the processes that outlive the run; empty if there are none."""
        return [] if wait_until_gone(self.mark) is not None else [f"processes left: {living(self.mark)}"]


class Bench:
    """A folder with the small suite and the results of an undisturbed run, where disturbed runs work as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.suite = write_small_suite(self.folder)
        self.undisturbed = self.folder / "undisturbed"
        finish(self.suite, self.undisturbed)
        self.expected = records(self.undisturbed)

    def copy(self, to: Path, *without: str, with_records: bool = False) -> Path:
        """Copy the undisturbed results without records; `without` names kinds of which one artifact is removed."""
        results = shutil.copytree(self.undisturbed, to / "results")
        for kind in without:
            shutil.rmtree(artifacts(results, kind)[0])
        if not with_records:
            shutil.rmtree(results / "records")
        return results

    @contextmanager
    def started(self, results: Path, *options: str, suite: str = "", **more: Any) -> Iterator[Run]:
        """Start a run of the suite; the end of the block kills what is left of it. `more` as for `start`."""
        run = Run(start(suite or self.suite, results, mark := uuid.uuid4().hex, *options, **more), mark, results)
        try:
            yield run
        finally:
            for pid in living(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ValueError):  # its pipes are already closed
                run.process.communicate()

    def run(self, results: Path, *options: str, **more: Any) -> Done:
        """Run the suite until it ends, in whatever way."""
        with self.started(results, *options, **more) as run:
            return run.ended()

    def command(self, *arguments: str | Path, **more: Any) -> Done:
        """Run another command of the benchmark."""
        command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": ROOT, "check": False, **more}
        done = subprocess.run(command, timeout=LIMIT, **given)
        return Done(done.returncode, messages_in(done.stderr))

    def resumed(self, results: Path, **more: Any) -> list[str]:
        """Run again without the fault; returns what is wrong with the run or with what it leaves."""
        done = self.run(results, **more)
        wrong = [f"the next run exits with {done.code}: {done.messages[-1:]}"] if done.code else []
        return [*wrong, *left_behind(results)]

    def lost(self, results: Path) -> str:
        """How the records differ from the undisturbed ones, except for times; "nothing" if they do not."""
        try:
            differences = compare(self.expected, records(results))
        except UserError as error:
            return str(error)
        return f"{len(differences)} of {len(self.expected)} records differ" if differences else "nothing"

    def shim(self, **faults: str) -> dict[str, str]:
        """Environment variables that make system calls of a command fail: see shim.c."""
        library = self.folder / "shim.so"
        if not library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
        return {"LD_PRELOAD": str(library), **{f"FAULT_{name.upper()}": value for name, value in faults.items()}}

    def judge(self, what: str, done: Done, code: int, says: str, wrong: list[str], lost: str) -> Row:
        """The row of a fault. Good: the expected exit code and a message of one line, and nothing lost or wrong."""
        message = done.messages[-1] if done.messages else ""
        problems = [f"exit code {done.code} in place of {code}"] if done.code != code else []
        problems += [f"the message does not say {says!r}"] if not re.search(says, message) else []
        problems += (
            [f"{len(done.messages)} lines on stderr: {' | '.join(done.messages)[:500]}"]
            if len(done.messages) > 1
            else []
        )
        problems += [f"lost: {lost}"] if lost != "nothing" else []
        return Row("", what, done.code, message.replace(f"{self.folder}/", ""), lost, [*problems, *wrong])


def messages_in(errors: bytes | None) -> list[str]:
    """The lines on stderr except progress."""
    lines = (errors or b"").decode(errors="replace").splitlines()
    return [line for line in lines if line.strip() and not PROGRESS.search(line)]


def left_behind(results: Path) -> list[str]:
    """What an ended run has left: held locks, unfinished stages, half-written files."""
    hidden = [str(file.relative_to(results)) for file in results.rglob(".*.*") if file.is_file()]
    left = {"locks held": held_locks(results), "half done": under_way(results), "half written": hidden}
    return [f"{what}: {', '.join(names)}" for what, names in left.items() if names]


# --- the list of faults


@dataclass(frozen=True)
class Fault:
    """A fault: its name, how to try it in an empty folder, and what is missing to try it; empty if nothing is."""

    name: str
    attempt: Callable[[Bench, Path], Row]
    needs: Callable[[], str]


def needs_nothing() -> str:
    """For faults that can be tried anywhere."""
    return ""


def needs_root() -> str:
    """For faults that need mounts."""
    return "" if os.geteuid() == 0 else "needs root"


def needs_compiler() -> str:
    """For faults of system calls."""
    return "" if shutil.which("cc") else "needs a C compiler"
