"""What runs leave word of in their store, and what `benchmark status` makes of it."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app as cli
from benchmark.core.errors import UserError
from benchmark.core.files import is_locked, locked
from benchmark.progress import presence as runs
from benchmark.progress.account import Overview, State
from benchmark.progress.presence import forget_killed, is_over, reported, running, runs_on
from benchmark.store.artifacts import StageCall, Store

CALL = StageCall("train", 1, {"seed": 1})


def overview(suite: str = "trial") -> Overview:
    made = Overview(suite)
    made.expect(3, 1, [CALL])
    made.start(CALL, "worker 17")
    made.progress(CALL, 2, 9)
    return made


def state(**changes: Any) -> str:
    """A state as it lies in a file."""
    return State.model_validate({**overview().state().model_dump(), **changes}).model_dump_json()


def leave(store: Store, content: str, run: str = "0123456789ab") -> Path:
    """A file of a run whose lock nobody holds."""
    (store.root / ".runs").mkdir(parents=True, exist_ok=True)
    file = store.root / ".runs" / f"{run}.json"
    file.write_text(content)
    return file


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def status(*options: str) -> str:
    done = CliRunner().invoke(cli.app, ["status", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_run_leaves_word_as_long_as_it_lives_and_nothing_after(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "EVERY", 0.02)
    told: list[str] = []
    account = overview()
    with reported(store, account.state, told.append):
        (run,) = wait_for(lambda: runs_on(store)[0])
        assert run.alive and (run.state.suite, run.state.cells, run.state.cells_done) == ("trial", 3, 1)
        assert [(one.stage, one.where, one.done) for one in run.state.under_way] == [("train", "worker 17", 2)]
        account.progress(CALL, 5, 9)
        wait_for(lambda: runs_on(store)[0][0].state.under_way[0].done == 5)
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == [] and told == []
    assert runs_on(store) == ([], [])


def test_a_run_that_fails_leaves_no_word_either(store: Store) -> None:
    def fail() -> None:
        with reported(store, overview().state, print):
            wait_for(lambda: runs_on(store)[0])
            raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        fail()
    assert runs_on(store) == ([], []) and list((store.root / ".locks").iterdir()) == []


LIVES_ON = """
import sys, time
from pathlib import Path
from tests.progress.test_presence import overview
from benchmark.progress.presence import reported
from benchmark.store.artifacts import Store
with reported(Store(Path(sys.argv[1])), overview().state, print):
    time.sleep(600)
"""


def test_a_killed_run_is_known_as_such_until_the_next_one_of_its_suite(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", LIVES_ON, str(store.root)], cwd=Path(__file__).parents[2])
    try:
        (alive,) = wait_for(lambda: runs_on(store)[0])
        assert alive.alive and alive.state.pid == process.pid
        forget_killed(store, "trial")
        assert len(runs_on(store)[0]) == 1, "it lives"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (killed,) = runs_on(store)[0]
    assert not killed.alive
    said = status("--results", str(store.root.parent))
    assert said == (
        f"trial (run {killed.name}, {killed.state.host}, process {process.pid}): killed, what is under way was lost; "
        "the same command goes on\n"
    )
    forget_killed(store, "another")
    assert len(runs_on(store)[0]) == 1
    forget_killed(store, "trial")
    assert runs_on(store) == ([], []) and list((store.root / ".runs").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_run_goes_on_where_its_state_cannot_be_written_and_says_so_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tried: list[Any] = []

    def refuse(*arguments: Any) -> None:
        tried.append(arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(runs, "EVERY", 0.01)
    monkeypatch.setattr(runs._Reporter, "_write", refuse)
    told: list[str] = []
    with reported(store, overview().state, told.append):
        wait_for(lambda: len(tried) > 3)
    reason = os.strerror(number)
    assert told == [f"benchmark status will not tell of this run: its state cannot be written ({reason})"]


def test_a_run_goes_on_where_not_even_a_lock_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.locks").touch()  # no folder
    told: list[str] = []
    with reported(Store(tmp_path / "store"), overview().state, told.append):
        pass
    assert len(told) == 1 and told[0].endswith("its state cannot be written (File exists)")


def test_the_lock_of_a_run_tells_whether_it_is_over(store: Store) -> None:
    with running(store) as run:
        assert not is_over(store, run) and is_locked(store.root / ".locks" / f"run-{run}")
    assert is_over(store, run)


def test_whether_a_lock_is_held_is_seen_without_writing(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing") and list(tmp_path.iterdir()) == []
    with locked(tmp_path / "lock"):
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")
    os.mkfifo(tmp_path / "pipe")
    assert not is_locked(tmp_path / "pipe"), "which is not waited for"


def test_status_says_what_is_done_and_under_way_and_where(store: Store) -> None:
    results = str(store.root.parent)
    assert status("--results", results) == f"{results}: no run is under way\n"
    with reported(store, overview().state, print):
        wait_for(lambda: runs_on(store)[0])
        said = status("--results", results).splitlines()
        made = json.loads(status("--results", results, "--json"))
    far = r"0 of 1 stages, 1 of 3 cells, time left not known, \d+ worker seconds; begun \d+ s ago"
    head = rf"trial \(run [0-9a-f]{{12}}, .*, process \d+\): {far}"
    assert re.fullmatch(head, said[0])
    assert re.fullmatch(rf"  train {CALL.key[:8]} 2/9, worker 17, for \d+ s", said[1])
    (run,) = made["runs"]
    assert (run["alive"], run["suite"], run["under_way"][0]["where"], made["notes"]) == (True, "trial", "worker 17", [])


def test_status_says_where_nothing_was_heard_of_a_run_for_long(store: Store) -> None:
    leave(store, state(at=time.time() - 3600), "0123456789ab")
    (store.root / ".locks").mkdir()
    with locked(store.root / ".locks/run-0123456789ab"):
        said = status("--results", str(store.root.parent)).splitlines()
    assert said[-1] == "  last heard of 60 min ago: its machine or disk may hang"


STEERS = "\x1b]0;owned\x07\x1b[2J‮\n# not a line"


@pytest.mark.parametrize("field", ["suite", "host"])
def test_nothing_in_a_state_steers_the_terminal(store: Store, field: str) -> None:
    leave(store, state(**{field: STEERS}))
    for options in ((), ("--json",)):
        said = status("--results", str(store.root.parent), *options)
        assert said.count("\n") == 1 and not set(said) & set("\x1b\x07‮")


@pytest.mark.parametrize("field", ["stage", "key", "where"])
def test_nothing_in_a_stage_under_way_steers_the_terminal(store: Store, field: str) -> None:
    one = {**json.loads(state())["under_way"][0], field: STEERS}
    leave(store, state(under_way=[one]))
    (store.root / ".locks").mkdir()
    with locked(store.root / ".locks/run-0123456789ab"):
        said = status("--results", str(store.root.parent))
    assert said.count("\n") == 2 and not set(said) & set("\x1b\x07‮")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"suite": "x"}',
        state().replace('"cells":3', '"cells":1e400'),
        state().replace('"cells":3', '"cells":-3'),
        state().replace('"price":null', '"price":NaN'),
        state().replace('"cells":3', '"cells":3,"more":1'),
        state().replace("trial", "x" * 501),
        "[" * 100_000,
        " " * (2**20 + 1),
    ],
)
def test_a_broken_file_is_a_note_of_one_line(store: Store, content: str) -> None:
    file = leave(store, content)
    first, note = status("--results", str(store.root.parent)).splitlines()
    assert first.endswith("no run is under way")
    assert note.startswith(f"note: {file}: ") and note.endswith("remove it")
    assert len(json.loads(status("--results", str(store.root.parent), "--json"))["notes"]) == 1
    forget_killed(store, "trial")
    assert not file.exists()


def test_pipes_folders_links_and_other_names_are_not_waited_for(store: Store, tmp_path: Path) -> None:
    folder = leave(store, state()).parent
    os.mkfifo(folder / "aaaaaaaaaaaa.json")
    (folder / "bbbbbbbbbbbb.json").mkdir()
    (folder / "cccccccccccc.json").symlink_to(tmp_path / "nowhere")
    (folder / "../../evil.json").write_text(state())
    (folder / "x.json").write_text(state())
    found, notes = runs_on(store)
    assert [run.name for run in found] == ["0123456789ab"] and len(notes) == 3


def test_watching_tells_again_until_it_is_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    done = CliRunner().invoke(cli.app, ["status", "--watch", "--results", str(store.root.parent)])
    assert done.stdout.count("no run is under way\n") == 3 and slept == [runs.EVERY] * 3
