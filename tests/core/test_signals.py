"""Being told to stop: at once, or when what is being written is whole; and once, however often it is said."""

import os
import signal
from pathlib import Path

import pytest

from benchmark.core import signals as stop
from benchmark.core.signals import Stopped, finishing, listening


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_and_its_number_is_known_till_the_end_of_the_block(number: int) -> None:
    before = signal.getsignal(number)
    with listening():
        with pytest.raises(Stopped):
            send(number)
        assert stop.asked() == number
    assert signal.getsignal(number) is before and stop.asked() is None


def test_what_is_being_finished_is_finished_first(tmp_path: Path) -> None:
    def write() -> None:
        with finishing():
            send()
            (tmp_path / "first").write_text("")
            with finishing():
                (tmp_path / "second").write_text("")
            (tmp_path / "third").write_text("")
        raise AssertionError("it goes on as if nothing had been said")

    with listening(), pytest.raises(Stopped):
        write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_an_error_of_what_is_being_finished_is_not_lost_behind_the_signal() -> None:
    def write() -> None:
        with finishing():
            send()
            raise OSError("full")

    with listening():
        with pytest.raises(OSError, match="full"):
            write()
        with pytest.raises(Stopped), finishing():
            pass


def test_said_again_it_changes_nothing_for_a_while_and_then_raises_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with listening():
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        send()
        send(signal.SIGHUP)
        now[0] += stop.PATIENCE + 0.1  # a library must have swallowed the first
        with pytest.raises(Stopped):
            send()
        assert stop.asked() == signal.SIGTERM


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening():
            send(signal.SIGHUP)
            assert stop.asked() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_block_within_a_block_forgets_nothing() -> None:
    with listening():
        with listening(), pytest.raises(Stopped):
            send()
        assert stop.asked() == signal.SIGINT
        with pytest.raises(Stopped):
            stop.raise_if_asked()


def test_when_the_command_is_through_a_signal_comes_too_late() -> None:
    with listening():
        stop.wind_up()
        send()
        assert stop.asked() is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_is_that_of_shells(number: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with listening():
        with pytest.raises(Stopped):
            send(number)
        with pytest.raises(SystemExit) as end:
            stop.leave()
    assert end.value.code == code
    assert capsys.readouterr().err == "stopped; what is finished is kept, the same command goes on from there\n"
