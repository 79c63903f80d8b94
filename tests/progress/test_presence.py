"""The states that runs write to their store, and what `benchmark status` prints of them."""

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
from benchmark.progress import presence
from benchmark.progress.account import Account
from benchmark.progress.events import Listener
from benchmark.progress.presence import has_ended, list_runs, published, remove_killed, run_lock
from benchmark.progress.state import RunState
from benchmark.store.artifacts import StageCall, Store
from tests.tiny import Heard

CALL = StageCall("train", 1, {"seed": 1})


def an_account() -> Account:
    """The account of a run of three cells, one done, with one stage running."""
    account = Account("trial")
    account.add(3, 1, [CALL])
    account.stage_started(CALL, "worker 17")
    account.stage_progressed(CALL, 2, 9)
    return account


def state(**changes: Any) -> str:
    """The content of a state's file."""
    return RunState.model_validate({**an_account().state().model_dump(), **changes}).model_dump_json()


def write_state_file(store: Store, content: str, run: str = "0123456789ab") -> Path:
    """Write the state of a run that holds no lock."""
    (store.root / ".runs").mkdir(parents=True, exist_ok=True)
    file = store.root / ".runs" / f"{run}.json"
    file.write_text(content)
    return file


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (value := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def status(*options: str) -> str:
    done = CliRunner().invoke(cli.app, ["status", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_running_suite_is_listed_and_removed_when_it_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "EVERY", 0.02)
    heard, account = Heard(), an_account()
    with published(store, account, heard):
        (run,) = wait_for(lambda: list_runs(store)[0])
        assert run.alive and (run.state.suite, run.state.cells, run.state.cells_done) == ("trial", 3, 1)
        assert [(stage.stage, stage.where, stage.done) for stage in run.state.under_way] == [("train", "worker 17", 2)]
        account.stage_progressed(CALL, 5, 9)
        wait_for(lambda: list_runs(store)[0][0].state.under_way[0].done == 5)
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == [] and heard.notes == []
    assert list_runs(store) == ([], [])


def test_a_run_that_fails_is_removed_from_the_list(store: Store) -> None:
    def fail() -> None:
        with published(store, an_account(), Listener()):
            wait_for(lambda: list_runs(store)[0])
            raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        fail()
    assert list_runs(store) == ([], []) and list((store.root / ".locks").iterdir()) == []


SLEEPING_RUN = """
import sys, time
from pathlib import Path
from tests.progress.test_presence import an_account
from benchmark.progress.events import Listener
from benchmark.progress.presence import published
from benchmark.store.artifacts import Store
with published(Store(Path(sys.argv[1])), an_account(), Listener()):
    time.sleep(600)
"""


def test_a_killed_run_is_listed_as_killed_until_its_suite_runs_again(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEPING_RUN, str(store.root)], cwd=Path(__file__).parents[2])
    try:
        (alive,) = wait_for(lambda: list_runs(store)[0])
        assert alive.alive and alive.state.pid == process.pid
        remove_killed(store, "trial")
        assert len(list_runs(store)[0]) == 1, "its process lives"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (killed,) = list_runs(store)[0]
    assert not killed.alive
    said = status("--results", str(store.root.parent))
    assert said == (
        f"trial (run {killed.name}, {killed.state.host}, process {process.pid}): killed; the stages under way are "
        "lost, and the same command continues\n"
    )
    remove_killed(store, "another")
    assert len(list_runs(store)[0]) == 1
    remove_killed(store, "trial")
    assert list_runs(store) == ([], []) and list((store.root / ".runs").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_run_whose_state_cannot_be_written_continues_with_one_note(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tried: list[Any] = []

    def refuse(*arguments: Any) -> None:
        tried.append(arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(presence, "EVERY", 0.01)
    monkeypatch.setattr(presence._Publisher, "_write", refuse)
    heard = Heard()
    with published(store, an_account(), heard):
        wait_for(lambda: len(tried) > 3)
    reason = os.strerror(number)
    assert heard.notes == [f"benchmark status will not show this run: its state cannot be written ({reason})"]


def test_a_run_that_cannot_take_its_lock_continues_with_one_note(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.locks").touch()  # no folder
    heard = Heard()
    with published(Store(tmp_path / "store"), an_account(), heard):
        pass
    (note,) = heard.notes
    assert note.endswith("its state cannot be written (File exists)")


def test_the_lock_of_a_run_shows_whether_it_has_ended(store: Store) -> None:
    with run_lock(store) as run:
        assert not has_ended(store, run) and is_locked(store.root / ".locks" / f"run-{run}")
    assert has_ended(store, run)


def test_checking_a_lock_writes_nothing_and_does_not_wait_for_pipes(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing") and list(tmp_path.iterdir()) == []
    with locked(tmp_path / "lock"):
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")
    os.mkfifo(tmp_path / "pipe")
    assert not is_locked(tmp_path / "pipe"), "a pipe is not waited for"


def test_status_shows_what_is_done_and_what_runs_where(store: Store) -> None:
    results = str(store.root.parent)
    assert status("--results", results) == f"{results}: no run is under way\n"
    with published(store, an_account(), Listener()):
        wait_for(lambda: list_runs(store)[0])
        said = status("--results", results).splitlines()
        made = json.loads(status("--results", results, "--json"))
    far = r"0 of 1 stages, 1 of 3 cells, time left not known, \d+ worker seconds; started \d+ s ago"
    head = rf"trial \(run [0-9a-f]{{12}}, .*, process \d+\): {far}"
    assert re.fullmatch(head, said[0])
    assert re.fullmatch(rf"  train {CALL.key[:8]} 2/9, worker 17, for \d+ s", said[1])
    (run,) = made["runs"]
    assert (run["alive"], run["suite"], run["under_way"][0]["where"], made["notes"]) == (True, "trial", "worker 17", [])


def test_status_says_since_when_a_run_has_been_silent(store: Store) -> None:
    write_state_file(store, state(at=time.time() - 3600), "0123456789ab")
    (store.root / ".locks").mkdir()
    with locked(store.root / ".locks/run-0123456789ab"):
        said = status("--results", str(store.root.parent)).splitlines()
    assert said[-1] == "  no update for 60 min: its machine or disk may hang"


CONTROLS = "\x1b]0;owned\x07\x1b[2J‮\n# not a line"


@pytest.mark.parametrize("field", ["suite", "host"])
def test_control_characters_in_a_state_do_not_reach_the_terminal(store: Store, field: str) -> None:
    write_state_file(store, state(**{field: CONTROLS}))
    for options in ((), ("--json",)):
        said = status("--results", str(store.root.parent), *options)
        assert said.count("\n") == 1 and not set(said) & set("\x1b\x07‮")


@pytest.mark.parametrize("field", ["stage", "key", "where"])
def test_control_characters_in_a_running_stage_do_not_reach_the_terminal(store: Store, field: str) -> None:
    stage = {**json.loads(state())["under_way"][0], field: CONTROLS}
    write_state_file(store, state(under_way=[stage]))
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
def test_a_file_that_holds_no_state_becomes_a_note_of_one_line(store: Store, content: str) -> None:
    file = write_state_file(store, content)
    first, note = status("--results", str(store.root.parent)).splitlines()
    assert first.endswith("no run is under way")
    assert note.startswith(f"note: {file}: ") and note.endswith("remove it")
    assert len(json.loads(status("--results", str(store.root.parent), "--json"))["notes"]) == 1
    remove_killed(store, "trial")
    assert not file.exists()


def test_pipes_folders_links_and_other_names_among_the_states_are_harmless(store: Store, tmp_path: Path) -> None:
    folder = write_state_file(store, state()).parent
    os.mkfifo(folder / "aaaaaaaaaaaa.json")
    (folder / "bbbbbbbbbbbb.json").mkdir()
    (folder / "cccccccccccc.json").symlink_to(tmp_path / "nowhere")
    (folder / "../../evil.json").write_text(state())
    (folder / "x.json").write_text(state())
    found, notes = list_runs(store)
    assert [run.name for run in found] == ["0123456789ab"] and len(notes) == 3


def test_watching_prints_again_until_ctrl_c(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    done = CliRunner().invoke(cli.app, ["status", "--watch", "--results", str(store.root.parent)])
    assert done.stdout.count("no run is under way\n") == 3 and slept == [presence.EVERY] * 3
