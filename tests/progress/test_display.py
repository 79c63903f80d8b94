"""Progress as lines and as bars."""

import errno
import io
import os
import sys
from typing import Any

import pytest

from benchmark.progress.account import Overview
from benchmark.progress.display import PlainDisplay, RichDisplay, display
from benchmark.store.artifacts import StageCall

CALL, CORPUS = StageCall("train", 1, {"seed": 1}), StageCall("corpus", 1, {})


def overview() -> Overview:
    """Of a run that has two stages of one cell to do."""
    made = Overview("trial")
    made.expect(1, 0, [CORPUS, CALL])
    return made


def test_lines_count_what_is_finished_and_tell_of_long_stages_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown = PlainDisplay(overview())
    shown.start(CALL, "worker 17")
    for seconds, done in ((110.0, 1), (131.0, 5), (140.0, 6), (162.0, 8), (199.0, 9)):
        clock[0] = seconds
        shown.progress(CALL, done, 9, done * 400)
    shown.done(CALL)
    key, cells = CALL.key[:8], "0 of 1 cells, time left not known"
    assert capsys.readouterr().err.splitlines() == [
        f"[0/2]     31 s  train {key} 5/9, worker 17, 0.19 steps/s, 76 tokens/s; {cells}, 31 worker seconds",
        f"[0/2]     62 s  train {key} 8/9, worker 17, 0.13 steps/s, 54 tokens/s; {cells}, 62 worker seconds",
        f"[1/2]     99 s  train {key} done",
    ]


def test_bars_come_and_go_with_their_stages_and_late_news_brings_none_back() -> None:
    shown = RichDisplay(overview())
    shown.done(CORPUS)
    shown.progress(CALL, 1, 9)
    assert [(task.description, task.completed, task.total) for task in shown.bars.tasks] == [
        ("stages", 1, 2),
        (f"  train {CALL.key[:8]}", 1, 9),
    ]
    shown.done(CALL)
    shown.progress(CALL, 9, 9)
    assert [(task.description, task.completed) for task in shown.bars.tasks] == [("stages", 2)]


def test_bars_say_where_a_stage_runs_how_fast_and_what_the_run_has_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    monkeypatch.setenv("COLUMNS", "120")
    shown = RichDisplay(overview())
    shown.start(CALL, "container [bold]3f2a")
    for clock[0], done in ((110.0, 1), (130.0, 5)):
        shown.progress(CALL, done, 9, done * 1000)
    shown.bars.console.print(*shown.bars.get_renderables())
    shown.note("[red]tried again")
    seen = screen.getvalue()
    assert f"train {CALL.key[:8]}" in seen and "5/9" in seen
    assert "container [bold]3f2a, 0.2 steps/s, 200 tokens/s" in " ".join(seen.split()), "and is no markup"
    assert "0 of 1 cells, time left not known, 30 worker seconds\n" in seen
    assert "[red]tried again" in seen


@pytest.mark.parametrize(
    ("plain", "terminal", "kind"),
    [(None, True, RichDisplay), (None, False, PlainDisplay), (True, True, PlainDisplay), (False, False, RichDisplay)],
)
def test_people_at_a_terminal_get_bars_and_logs_get_lines(
    monkeypatch: pytest.MonkeyPatch, plain: bool | None, terminal: bool, kind: type[Any]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with display(overview(), plain) as shown:
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
        with display(overview(), plain) as shown:
            shown.progress(CALL, 1, 9)
            shown.done(CALL)

    monkeypatch.setattr(sys, "stderr", Gone())
    if goes_on:
        show()
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            show()
