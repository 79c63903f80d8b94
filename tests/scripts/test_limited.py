"""Commands with time limits within a budget: a failure, a hang or a crash is recorded, and the rest still runs."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.limited import Part, Result, run_limited, run_parts

HANGS = "sleep 60 & echo $!; wait"  # with a process of its own, which would outlive its shell


def shell(name: str, script: str, usual: float = 0.0, limit: float = 30.0, **more: Any) -> Part:
    return Part(name, ["sh", "-c", script], usual, limit, **more)


def results_of(*parts: Part, budget: float = 60.0) -> list[Result]:
    return run_parts(parts, budget, lambda _: None)


def lives(pid: int) -> bool:
    """Whether a process runs; a process that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not lives(pid)


def test_a_part_that_fails_is_recorded_with_its_error_and_the_next_part_runs() -> None:
    failed, good = results_of(
        shell("first", "echo some output; echo a warning >&2; echo 'error: no such model' >&2; exit 2"),
        shell("second", "echo done"),
    )
    assert (failed.result, failed.kind, failed.found) == ("failed", "exit code 2", "error: no such model")
    assert failed.tail == "some output\na warning\nerror: no such model"
    assert (good.result, good.kind, good.found, good.tail) == ("ok", "", "done", "")


def test_a_part_that_hangs_is_killed_at_its_limit_with_all_its_processes() -> None:
    hung, good = results_of(shell("first", HANGS, limit=0.5), shell("second", "echo done"))
    assert (hung.result, hung.kind) == ("failed", "time limit")
    assert 0.5 <= hung.seconds < 20
    assert wait_until_dead(int(hung.tail))
    assert good.result == "ok"


def test_a_process_that_a_finished_part_left_running_is_killed() -> None:
    (good,) = results_of(shell("first", "sleep 60 & echo $!"))
    assert good.result == "ok"
    assert wait_until_dead(int(good.found))


def test_an_interrupt_kills_the_running_command(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_limited(["sh", "-c", "sleep 60 & echo $! > pid; wait"], 60, tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert wait_until_dead(int((tmp_path / "pid").read_text()))


def test_a_crash_is_recorded_with_its_signal() -> None:
    (crashed,) = results_of(shell("first", "kill -SEGV $$"))
    assert (crashed.result, crashed.kind) == ("failed", "signal SIGSEGV")


def test_a_part_does_not_start_if_less_is_left_of_the_budget_than_it_usually_takes() -> None:
    first, late, short = results_of(
        shell("first", "sleep 1"), shell("late", "echo done", usual=9.5), shell("short", "echo done"), budget=10
    )
    assert [first.result, late.result, short.result] == ["ok", "not run", "ok"]
    assert late.found.startswith("no time: ") and late.found.endswith("it usually takes 10 s")
    assert short.limit < 9.5, "a limit is not longer than what is left"


def test_the_budget_ends_a_part_before_its_own_limit() -> None:
    (hung,) = results_of(shell("first", HANGS, limit=30), budget=0.5)
    assert hung.kind == "time limit" and hung.limit <= 0.5
    assert wait_until_dead(int(hung.tail))


def test_a_part_does_not_run_if_the_part_that_it_needs_has_failed() -> None:
    results = results_of(
        shell("unpack", "exit 1", model="a"),
        shell("unpack", "true", model="b"),
        shell("scoring", "echo done", model="a", needs="unpack a"),
        shell("scoring", "echo done", model="b", needs="unpack b"),
    )
    assert [result.result for result in results] == ["failed", "ok", "not run", "ok"]
    assert results[2].found == "needs unpack a, which did not succeed"


def test_a_part_that_cannot_run_here_says_why() -> None:
    (refused,) = results_of(shell("tests", "exit 1", refused="needs CUDA"))
    assert (refused.result, refused.found) == ("not run", "needs CUDA")


def test_a_measurement_is_read_from_the_json_after_other_lines() -> None:
    printed = """echo a library; echo "{'loss': 1}"; echo '{"a":'; echo ' 2}'"""
    (good,) = results_of(shell("first", printed, summary=lambda found: f"a is {found['a']}"))
    assert (good.result, good.found, good.measured) == ("ok", "a is 2", {"a": 2})


def test_temporary_files_of_a_killed_part_are_removed() -> None:
    (hung,) = results_of(shell("first", "mktemp; sleep 60", limit=1))
    assert hung.kind == "time limit"
    assert hung.tail.startswith("/") and not Path(hung.tail).exists()


@pytest.mark.parametrize("printed", ["", "nothing useful", '{"b": 1}', '{"a": '])
def test_output_without_the_measurement_counts_as_failed(printed: str) -> None:
    (failed,) = results_of(shell("first", f"echo '{printed}'", summary=lambda found: f"a is {found['a']}"))
    assert (failed.result, failed.kind) == ("failed", "output")
    assert failed.found.startswith("it printed no measurement")


def test_commands_run_without_the_hub() -> None:
    (printed,) = results_of(shell("first", "echo $HF_HUB_OFFLINE"))
    assert printed.found == "1"


def test_results_are_reported_after_every_part() -> None:
    seen: list[list[str]] = []
    parts = [shell("first", "true"), shell("second", "false")]
    run_parts(parts, 60, lambda results: seen.append([result.result for result in results]))
    assert seen == [["ok"], ["ok", "failed"]]
