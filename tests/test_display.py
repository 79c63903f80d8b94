"""Progress as lines and as bars."""

import errno
import io
import os
import sys
from typing import Any

import pytest

from benchmark.display import PlainDisplay, RichDisplay, display
from benchmark.store import StageCall

CALL = StageCall("train", 1, {"seed": 1})


def test_lines_count_what_is_finished_and_tell_of_long_stages_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown = PlainDisplay(2)
    for seconds, done in ((110.0, 1), (131.0, 5), (140.0, 6), (162.0, 8), (199.0, 9)):
        clock[0] = seconds
        shown.progress(CALL, done, 9)
    shown.done(CALL)
    key = CALL.key[:8]
    assert capsys.readouterr().err.splitlines() == [
        f"[0/2]     31 s  train {key} 5/9",
        f"[0/2]     62 s  train {key} 8/9",
        f"[1/2]     99 s  train {key} done",
    ]


def test_bars_come_and_go_with_their_stages_and_late_news_brings_none_back() -> None:
    shown = RichDisplay(2)
    shown.done(StageCall("corpus", 1, {}))
    shown.progress(CALL, 1, 9)
    assert [(task.description, task.completed, task.total) for task in shown.bars.tasks] == [
        ("stages", 1, 2),
        (f"  train {CALL.key[:8]}", 1, 9),
    ]
    shown.done(CALL)
    shown.progress(CALL, 9, 9)
    assert [(task.description, task.completed) for task in shown.bars.tasks] == [("stages", 2)]


@pytest.mark.parametrize(
    ("plain", "terminal", "kind"),
    [(None, True, RichDisplay), (None, False, PlainDisplay), (True, True, PlainDisplay), (False, False, RichDisplay)],
)
def test_people_at_a_terminal_get_bars_and_logs_get_lines(
    monkeypatch: pytest.MonkeyPatch, plain: bool | None, terminal: bool, kind: type[Any]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with display(1, plain) as shown:
        assert isinstance(shown, kind)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("number", "goes_on"), [(errno.EIO, True), (errno.ENOSPC, False)])
def test_a_terminal_that_is_gone_ends_no_run_that_was_to_outlive_it(
    monkeypatch: pytest.MonkeyPatch, plain: bool, number: int, goes_on: bool
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

        def isatty(self) -> bool:
            return True

    def show() -> None:
        with display(1, plain) as shown:
            shown.progress(CALL, 1, 9)
            shown.done(CALL)

    monkeypatch.setattr(sys, "stderr", Gone())
    if goes_on:
        show()
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            show()
