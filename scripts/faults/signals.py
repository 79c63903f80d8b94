"""Faults of processes: a run is stopped or killed, or loses its terminal or pipes; two runs at once."""

import fcntl
import os
import pty
import select
import shutil
import signal
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.faults.bench import Bench, Done, Fault, Row, Run, left_behind, needs_compiler, needs_nothing, needs_root
from scripts.runs import under_way, workers_of, write_small_suite

STOPPED = "^stopped; finished stages are kept; run the same command to continue$"
AGAIN = "then run again"  # what is done after the fault


def faults() -> list[Fault]:
    """The faults of this file."""
    planning = partial(_stopped, moment=lambda run: until(run, lambda: _has_loaded(run, "pydantic_core")))
    starting = partial(_stopped, moment=lambda run: until(run, lambda: workers_of(run.mark)))
    training = partial(_stopped, moment=in_training)
    terminate = partial(training, number=signal.SIGTERM)
    written = partial(_killed_at_rename, end=".answers.parquet", when="before")
    return [
        Fault("Ctrl-C while planning", planning, needs_nothing),
        Fault("Ctrl-C as a worker starts", starting, needs_nothing),
        Fault("Ctrl-C while training", training, needs_nothing),
        Fault("Ctrl-C three times in a row", partial(training, times=3), needs_nothing),
        Fault("Ctrl-C as answers are written", partial(_stopped_at_rename, end=".answers.parquet"), needs_compiler),
        Fault("Ctrl-C as a record is written", partial(_stopped_at_rename, end=".json"), needs_compiler),
        Fault("SIGTERM to the run", partial(terminate, send=os.kill), needs_nothing),
        Fault("SIGTERM to all its processes", terminate, needs_nothing),
        Fault("SIGTERM to process 1 of a container", _first_process, needs_root),
        Fault("the terminal goes away", partial(_terminal, ignored=False), needs_nothing),
        Fault("the terminal goes away, SIGHUP ignored", partial(_terminal, ignored=True), needs_nothing),
        Fault("SIGKILL as answers are written", written, needs_compiler),
        Fault("SIGKILL between answers and record", partial(written, when="after"), needs_compiler),
        Fault("SIGKILL before a replaced record is removed", _killed_before_removal, needs_compiler),
        Fault("two runs at once", _two_at_once, needs_nothing),
        Fault("stderr whose reader is gone", _head, needs_nothing),
        Fault("no stdin, stdout and stderr", _closed, needs_nothing),
        Fault("stdout on a full disk", _full_stdout, needs_nothing),
    ]


def until(run: Run, condition: Callable[[], object], meanwhile: Callable[[], object] | None = None) -> None:
    """Wait for a condition or for the run's end; `meanwhile` is called again and again."""
    while not condition() and run.process.poll() is None:
        meanwhile() if meanwhile else time.sleep(0.01)


def _has_loaded(run: Run, library: str) -> bool:
    """Whether a run has loaded a library of this name."""
    try:
        return library in Path(f"/proc/{run.process.pid}/maps").read_text()
    except OSError:  # it has ended
        return False


def in_training(run: Run) -> None:
    """Wait until a training is running."""
    until(run, lambda: "train" in under_way(run.results))


def _stopped(
    bench: Bench,
    folder: Path,
    moment: Callable[[Run], None],
    number: int = signal.SIGINT,
    send: Callable[[int, int], None] = os.killpg,
    times: int = 1,
) -> Row:
    """A signal to the process group, as a terminal sends it, or by `send` to the run's main process only."""
    results = bench.copy(folder, "train")
    with bench.started(results) as run:
        moment(run)
        for _ in range(times):
            send(run.process.pid, number)
            time.sleep(0.05 if times > 1 else 0)
        done = run.ended()
        wrong = [*run.left(), *left_behind(results)]
    wrong += bench.resumed(results)
    receiver = "the process group" if send is os.killpg else "its main process alone"
    what = f"{signal.Signals(number).name} to {receiver}{f', {times} times' if times > 1 else ''}; {AGAIN}"
    return bench.judge(what, done, 128 + number, STOPPED, wrong, bench.lost(results))


def _stopped_at_rename(bench: Bench, folder: Path, end: str) -> Row:
    """A signal just before the first of two records, or its answers, get their name."""
    results = bench.copy(folder)
    done = bench.run(results, variables=bench.shim(at=end, signal=str(signal.SIGINT)))
    written = len(list((results / "records").glob("*/*.json")))
    wrong = [] if written == 1 else [f"{written} records in place of the one that was being written"]
    wrong += [*left_behind(results), *bench.resumed(results)]
    what = f"SIGINT just before the rename of the first record's {end}; {AGAIN}"
    return bench.judge(what, done, 130, STOPPED, wrong, bench.lost(results))


def _killed_at_rename(bench: Bench, folder: Path, end: str, when: str) -> Row:
    results = bench.copy(folder)
    done = bench.run(results, variables=bench.shim(at=end, signal=str(signal.SIGKILL), when=when))
    wrong = bench.resumed(results)
    names = {file.name.partition(".json")[0].partition(".answers")[0] for file in (results / "records").glob("*/*")}
    wrong += [f"files beside the records: {sorted(names)}"] if len(names) != len(bench.expected) else []
    what = f"SIGKILL just {when} the rename of a record's {end}; {AGAIN}"
    return bench.judge(what, done, -signal.SIGKILL, "^$", wrong, bench.lost(results))


def _killed_before_removal(bench: Bench, folder: Path) -> Row:
    """A suite that measures less runs first; the kill prevents the small suite from removing its records."""
    results = bench.copy(folder)
    (less := folder / "less").mkdir()
    wrong = bench.resumed(results, suite=write_small_suite(less, retention=[]))
    done = bench.run(results, variables=bench.shim(at=".json", signal=str(signal.SIGKILL), when="after"))
    wrong += bench.resumed(results)
    what = f"SIGKILL as a record has its name and the one it replaces is still there; {AGAIN}"
    return bench.judge(what, done, -signal.SIGKILL, "^$", wrong, bench.lost(results))


def _first_process(bench: Bench, folder: Path) -> Row:
    """Process 1 receives only the signals that it handles, as after `docker stop` without --init."""
    results = bench.copy(folder, "train")
    with bench.started(results, before=("unshare", "--pid", "--fork", "--mount-proc")) as run:
        in_training(run)
        children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        done = run.ended()
        wrong = [*run.left(), *left_behind(results)]
    wrong += bench.resumed(results)
    what = f"SIGTERM while training in a PID namespace; {AGAIN}"
    return bench.judge(what, done, 143, STOPPED, wrong, bench.lost(results))


def _terminal(bench: Bench, folder: Path, ignored: bool) -> Row:
    results = bench.copy(folder, "train")
    terminal, inside = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    def read() -> None:
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 1 << 16)

    with bench.started(results, preexec_fn=take_terminal, stdin=inside, stdout=inside, stderr=inside) as run:
        os.close(inside)
        until(run, lambda: "train" in under_way(results), read)
        os.close(terminal)
        done = run.ended()
        wrong = [*run.left(), *left_behind(results)]
    if ignored:
        what = "it is closed while training, SIGHUP ignored: the run continues to its end"
        return bench.judge(what, done, 2, "^$", wrong, bench.lost(results))
    wrong += bench.resumed(results)
    return bench.judge(f"it is closed while training; {AGAIN}", done, 129, "^$", wrong, bench.lost(results))


def _two_at_once(bench: Bench, folder: Path) -> Row:
    results = folder / "results"
    with bench.started(results, "--workers", "1") as first, bench.started(results, "--workers", "1") as second:
        both = [first.ended(), second.ended()]
    done = Done(max(done.code for done in both), [message for done in both for message in done.messages])
    what = "both from nothing on one folder, to their ends"
    return bench.judge(what, done, 0, "^$", left_behind(results), bench.lost(results))


def _head(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder, "train", "evaluate")  # a line of progress each
    with bench.started(results) as run:
        assert run.process.stderr is not None
        run.process.stderr.readline()
        run.process.stderr.close()
        run.process.wait()
        wrong = [*run.left(), *left_behind(results)]
    wrong += bench.resumed(results)
    done = Done(run.process.returncode, [])
    return bench.judge(f"as `| head -1` does; {AGAIN}", done, 1, "^$", wrong, bench.lost(results))


def _closed(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder, "train")
    done = bench.run(results, before=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    return bench.judge("`<&- >&- 2>&-`", done, 0, "^$", left_behind(results), bench.lost(results))


def _full_stdout(bench: Bench, folder: Path) -> Row:
    shutil.copytree(bench.undisturbed, folder / "results")
    with open("/dev/full", "wb") as full:
        done = bench.command("plan", bench.suite, "--results", folder / "results", stdout=full)
    return bench.judge("`benchmark plan > /dev/full`", done, 2, "^error: .*No space left", [], "nothing")
