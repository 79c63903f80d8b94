"""Run commands one after another within a budget of seconds, each with a time limit; record how each ended.

A command has a process group of its own, which does not outlive it.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from benchmark import ROOT

TAIL = 4000  # characters of output that are kept of a command that failed
OFFLINE = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
PATIENCE = 10.0  # seconds that a killed command is waited for


@dataclass(frozen=True)
class Ended:
    """The end of a command.

    Attributes:
        code: Exit code; minus the signal's number if a signal ended it; None if it was killed at its limit.
        seconds: How long it ran.
        output: Everything on stdout.
        errors: The last characters on stderr.
    """

    code: int | None
    seconds: float
    output: str
    errors: str

    @property
    def message(self) -> str:
        """The last line of its errors, or else of its output; empty if it printed nothing."""
        lines = [line.strip() for text in (self.output, self.errors) for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    @property
    def tail(self) -> str:
        """The last characters of output and errors."""
        return "\n".join(part for part in (self.output[-TAIL:].strip(), self.errors.strip()) if part)


def run_limited(
    command: Sequence[str], limit: float, folder: Path, variables: Mapping[str, str] | None = None
) -> Ended:
    """Run a command, and kill its process group at the limit, or when this function is left for any reason.

    Args:
        command: The command.
        limit: Seconds.
        folder: The folder that it runs in.
        variables: Further variables of its environment.
    """
    # Files, because the end of a pipe is only reached when every process that inherited it has ended.
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        (Path(scratch) / "out").open("w+b") as out,
        (Path(scratch) / "err").open("w+b") as err,
    ):
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={**os.environ, **(variables or {}), "TMPDIR": scratch},  # a killed command removes no temporary files
            start_new_session=True,
        )
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=limit)
        finally:
            with suppress(ProcessLookupError):  # also what an ended command left running
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # a process that a driver does not let go of cannot be killed
                process.wait(timeout=PATIENCE)
        return Ended(code, time.monotonic() - started, _text(out), _text(err)[-TAIL:])


@dataclass(frozen=True)
class Part:
    """A command with a time limit.

    Attributes:
        name: What is checked or measured.
        command: The command; it prints JSON if there is a `summary`.
        usual: Seconds that have to be left for it to start.
        limit: Seconds after which it is killed.
        model: The model that it measures; empty for none.
        summary: Makes a line of what it prints. None: the last line that it prints.
        needs: Label of a part that has to have succeeded; empty for none.
        refused: Why it cannot run here; empty if it can.
    """

    name: str
    command: Sequence[str]
    usual: float
    limit: float
    model: str = ""
    summary: Callable[[Any], str] | None = None
    needs: str = ""
    refused: str = ""

    @property
    def label(self) -> str:
        """Its name, and its model if it has one."""
        return f"{self.name} {self.model}".strip()


@dataclass(frozen=True)
class Result:
    """The result of a part.

    Attributes:
        part: Name of the part.
        model: Its model; empty for none.
        result: "ok", "failed" or "not run".
        kind: How it failed: "time limit", "exit code 1", "signal SIGSEGV", "output"; empty if it did not.
        found: One line: what it found, the error, or why it did not run.
        seconds: How long it ran.
        limit: Seconds after which it would have been killed.
        command: Its command line.
        tail: The end of its output if it failed.
        measured: All that it measured.
    """

    part: str
    model: str
    result: str
    kind: str = ""
    found: str = ""
    seconds: float = 0.0
    limit: float = 0.0
    command: str = ""
    tail: str = ""
    measured: Any = None

    @property
    def label(self) -> str:
        """The label of its part."""
        return f"{self.part} {self.model}".strip()


def run_parts(parts: Sequence[Part], budget: float, report: Callable[[list[Result]], None]) -> list[Result]:
    """Run the parts one after another within `budget` seconds; `report` receives all results after each part."""
    started = time.monotonic()
    results: list[Result] = []
    for part in parts:
        results.append(_attempt(part, budget - (time.monotonic() - started), results))
        report(results)
    return results


def _attempt(part: Part, left: float, before: Sequence[Result]) -> Result:
    why = part.refused
    if part.needs and not any(result.label == part.needs and result.result == "ok" for result in before):
        why = f"needs {part.needs}, which did not succeed"
    if not why and left < part.usual:
        why = f"no time: {max(0.0, left):.0f} s of the budget are left, and it usually takes {part.usual:.0f} s"
    if why:
        return Result(part.name, part.model, "not run", found=why, command=shlex.join(part.command))
    limit = min(part.limit, left)
    return _judged(part, run_limited(part.command, limit, ROOT, OFFLINE), limit)


def _judged(part: Part, ended: Ended, limit: float) -> Result:
    measured, found, kind = None, ended.message, ""
    if ended.code is None:
        kind, found = "time limit", f"killed after {limit:.0f} s; last line: {ended.message or 'none'}"
    elif ended.code < 0:
        kind = f"signal {signal.Signals(-ended.code).name}"
    elif ended.code:
        kind = f"exit code {ended.code}"
    elif part.summary:
        try:
            measured = _json_in(ended.output)
            found = part.summary(measured)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            kind, found = "output", f"it printed no measurement ({type(error).__name__}: {error})"
    tail = ended.tail if kind else ""
    outcome = "failed" if kind else "ok"
    command = shlex.join(part.command)
    return Result(part.name, part.model, outcome, kind, found, ended.seconds, limit, command, tail, measured)


def _json_in(output: str) -> Any:
    """The JSON at the end of an output; libraries print lines before it. Raises ValueError if there is none."""
    for start in re.finditer(r"^\{", output, re.MULTILINE):
        with suppress(ValueError):
            return json.loads(output[start.start() :])
    raise ValueError("no JSON at the end of its output")


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
