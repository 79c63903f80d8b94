"""What every fault is tried with: a small suite, the results of a run that nothing disturbed, a judge of others."""

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
LIMIT = 900.0  # seconds that a run may take


@dataclass(frozen=True)
class Done:
    """What came of a command: its exit code, and the lines on stderr beside progress."""

    code: int
    said: list[str]


@dataclass(frozen=True)
class Row:
    """A line of the table. `wrong` has what is not as it should be; `skipped` says why the fault was not tried."""

    fault: str
    done: str
    code: int | None = None
    message: str = ""
    lost: str = ""
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """What the table says of it in the end."""
        return f"not tried: {self.skipped}" if self.skipped else "; ".join(self.wrong) or "good"


@dataclass(frozen=True)
class Run:
    """A run of the suite that is under way, or was."""

    process: "subprocess.Popen[bytes]"
    mark: str
    results: Path

    def ended(self) -> Done:
        """Wait for its end, and see what it said."""
        _, errors = self.process.communicate(timeout=LIMIT)
        return Done(self.process.returncode, spoken(errors))

    def left(self) -> list[str]:
        """Processes that outlive it, in words; nothing if there are none."""
        return [] if wait_until_gone(self.mark) is not None else [f"processes left: {living(self.mark)}"]


class Bench:
    """A folder with the small suite, the results of a run that nothing disturbed, and room for others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.suite = write_small_suite(self.folder)
        self.undisturbed = self.folder / "undisturbed"
        finish(self.suite, self.undisturbed)
        self.expected = records(self.undisturbed)

    def copy(self, to: Path, *without: str, with_records: bool = False) -> Path:
        """Copy the undisturbed results, without one artifact of each of some kinds and, as a rule, without records."""
        results = shutil.copytree(self.undisturbed, to / "results")
        for kind in without:
            shutil.rmtree(artifacts(results, kind)[0])
        if not with_records:
            shutil.rmtree(results / "records")
        return results

    @contextmanager
    def started(self, results: Path, *options: str, suite: str = "", **more: Any) -> Iterator[Run]:
        """A run of the suite; what is left of it at the end of the block is killed. `more` as of `start`."""
        run = Run(start(suite or self.suite, results, mark := uuid.uuid4().hex, *options, **more), mark, results)
        try:
            yield run
        finally:
            for pid in living(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ValueError):  # its pipes are closed already
                run.process.communicate()

    def run(self, results: Path, *options: str, **more: Any) -> Done:
        """Run the suite to whatever end it comes to."""
        with self.started(results, *options, **more) as run:
            return run.ended()

    def command(self, *arguments: str | Path, **more: Any) -> Done:
        """Run another command of the benchmark."""
        command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": ROOT, "check": False, **more}
        done = subprocess.run(command, timeout=LIMIT, **given)
        return Done(done.returncode, spoken(done.stderr))

    def resumed(self, results: Path, **more: Any) -> list[str]:
        """Run once more, with nothing in the way; says what is wrong with the run or in what it leaves."""
        done = self.run(results, **more)
        wrong = [f"the next run exits with {done.code}: {done.said[-1:]}"] if done.code else []
        return [*wrong, *left_behind(results)]

    def lost(self, results: Path) -> str:
        """What the records lack, compared with the undisturbed ones, times aside."""
        try:
            differences = compare(self.expected, records(results))
        except UserError as error:
            return str(error)
        return f"{len(differences)} of {len(self.expected)} records differ" if differences else "nothing"

    def shim(self, **faults: str) -> dict[str, str]:
        """Variables under which a command meets faults at the system's calls: see shim.c."""
        library = self.folder / "shim.so"
        if not library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
        return {"LD_PRELOAD": str(library), **{f"FAULT_{name.upper()}": value for name, value in faults.items()}}

    def judge(self, what: str, done: Done, code: int, says: str, wrong: list[str], lost: str) -> Row:
        """The row of a fault: exit code and message, one line, have to be as they should, and nothing lost or wrong."""
        message = done.said[-1] if done.said else ""
        found = [f"exit code {done.code} in place of {code}"] if done.code != code else []
        found += [f"the message does not say {says!r}"] if not re.search(says, message) else []
        found += [f"{len(done.said)} lines on stderr: {' | '.join(done.said)[:500]}"] if len(done.said) > 1 else []
        found += [f"lost: {lost}"] if lost != "nothing" else []
        return Row("", what, done.code, message.replace(f"{self.folder}/", ""), lost, [*found, *wrong])


def spoken(errors: bytes | None) -> list[str]:
    """The lines on stderr beside progress."""
    lines = (errors or b"").decode(errors="replace").splitlines()
    return [line for line in lines if line.strip() and not PROGRESS.search(line)]


def left_behind(results: Path) -> list[str]:
    """What a run that is over has left: locks that are held, stages half done, files half written."""
    hidden = [str(file.relative_to(results)) for file in results.rglob(".*.*") if file.is_file()]
    found = {"locks held": held_locks(results), "half done": under_way(results), "half written": hidden}
    return [f"{what}: {', '.join(names)}" for what, names in found.items() if names]


# --- the list of faults


@dataclass(frozen=True)
class Fault:
    """A fault by its name, and how to try it in an empty folder. `needs` says why that cannot be; empty if it can."""

    name: str
    attempt: Callable[[Bench, Path], Row]
    needs: Callable[[], str]


def needs_nothing() -> str:
    """A fault that can be tried anywhere."""
    return ""


def needs_root() -> str:
    """A fault that takes mounting."""
    return "" if os.geteuid() == 0 else "needs root"


def needs_compiler() -> str:
    """A fault of the system's calls."""
    return "" if shutil.which("cc") else "needs a C compiler"
