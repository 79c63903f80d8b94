"""Termination signals: they stop at once or after a `finishing` block, and only once."""

import os
import signal
from pathlib import Path

import pytest

from benchmark.core import signals as stop
from benchmark.core.signals import Stopped, finishing, listening


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_stopped_and_its_number_is_kept_until_the_block_ends(number: int) -> None:
    before = signal.getsignal(number)
    with listening():
        with pytest.raises(Stopped):
            send(number)
        assert stop.first_signal() == number
    assert signal.getsignal(number) is before and stop.first_signal() is None


def test_a_finishing_block_completes_before_the_signal_raises(tmp_path: Path) -> None:
    def write() -> None:
        with finishing():
            send()
            (tmp_path / "first").write_text("")
            with finishing():
                (tmp_path / "second").write_text("")
            (tmp_path / "third").write_text("")
        raise AssertionError("the signal must raise at the end of the block")

    with listening(), pytest.raises(Stopped):
        write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_an_error_within_a_finishing_block_is_raised_rather_than_the_signal() -> None:
    def write() -> None:
        with finishing():
            send()
            raise OSError("full")

    with listening():
        with pytest.raises(OSError, match="full"):
            write()
        with pytest.raises(Stopped), finishing():
            pass


def test_repeated_signals_are_ignored_for_a_while_and_then_raise_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with listening():
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        send()
        send(signal.SIGHUP)
        now[0] += stop.REPEATS_IGNORED + 0.1  # as if a library had swallowed the first exception
        with pytest.raises(Stopped):
            send()
        assert stop.first_signal() == signal.SIGTERM


def test_a_signal_ignored_at_the_start_of_the_process_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening():
            send(signal.SIGHUP)
            assert stop.first_signal() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_inner_block_keeps_the_signal_for_the_outer_block() -> None:
    with listening():
        with listening(), pytest.raises(Stopped):
            send()
        assert stop.first_signal() == signal.SIGINT
        with pytest.raises(Stopped):
            stop.raise_if_signalled()


def test_a_signal_after_the_end_of_the_command_is_ignored() -> None:
    with listening():
        stop.ignore_repeats()
        send()
        assert stop.first_signal() is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_is_128_plus_the_signal_as_in_shells(
    number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening():
        with pytest.raises(Stopped):
            send(number)
        with pytest.raises(SystemExit) as end:
            stop.exit_stopped()
    assert end.value.code == code
    assert capsys.readouterr().err == "stopped; finished stages are kept; run the same command to continue\n"
