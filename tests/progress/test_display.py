"""Progress as lines and as bars."""

import errno
import io
import os
import sys
from typing import TypeVar

import pytest

from benchmark.progress.account import Account
from benchmark.progress.display import PlainDisplay, RichDisplay, display
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall

Display = TypeVar("Display", PlainDisplay, RichDisplay)
CALL, CORPUS = StageCall("train", 1, {"seed": 1}), StageCall("corpus", 1, {})


def an_account() -> Account:
    """The account of a run with one cell and two stages to run."""
    account = Account("trial")
    account.add(1, 0, [CORPUS, CALL])
    return account


def a_run(kind: type[Display]) -> tuple[Events, Display]:
    """The events of a run, and the display that shows them."""
    account = an_account()
    shown = kind(account)
    return Events(account, shown), shown


def test_lines_count_finished_stages_and_describe_running_ones_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    events, _ = a_run(PlainDisplay)
    events.stage_started(CALL, "worker 17")
    for seconds, done in ((110.0, 1), (131.0, 5), (140.0, 6), (162.0, 8), (199.0, 9)):
        clock[0] = seconds
        events.stage_progressed(CALL, done, 9, done * 400)
    events.stage_finished(CALL)
    key, cells = CALL.key[:8], "0 of 1 cells, time left not known"
    assert capsys.readouterr().err.splitlines() == [
        f"[0/2]     31 s  train {key} 5/9, worker 17, 0.19 steps/s, 76 tokens/s; {cells}, 31 worker seconds",
        f"[0/2]     62 s  train {key} 8/9, worker 17, 0.13 steps/s, 54 tokens/s; {cells}, 62 worker seconds",
        f"[1/2]     99 s  train {key} done",
    ]


def test_each_running_stage_has_a_bar_and_late_reports_bring_none_back() -> None:
    events, shown = a_run(RichDisplay)
    events.stage_finished(CORPUS)
    events.stage_progressed(CALL, 1, 9)
    assert [(task.description, task.completed, task.total) for task in shown.bars.tasks] == [
        ("stages", 1, 2),
        (f"  train {CALL.key[:8]}", 1, 9),
    ]
    events.stage_finished(CALL)
    events.stage_progressed(CALL, 9, 9)
    assert [(task.description, task.completed) for task in shown.bars.tasks] == [("stages", 2)]


def test_bars_show_where_a_stage_runs_its_speed_and_the_cost_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    monkeypatch.setenv("COLUMNS", "120")
    events, shown = a_run(RichDisplay)
    events.stage_started(CALL, "container [bold]3f2a")
    for clock[0], done in ((110.0, 1), (130.0, 5)):
        events.stage_progressed(CALL, done, 9, done * 1000)
    shown.bars.console.print(*shown.bars.get_renderables())
    events.note("[red]tried again")
    seen = screen.getvalue()
    assert f"train {CALL.key[:8]}" in seen and "5/9" in seen
    assert "container [bold]3f2a, 0.2 steps/s, 200 tokens/s" in " ".join(seen.split()), "not read as markup"
    assert "0 of 1 cells, time left not known, 30 worker seconds\n" in seen
    assert "[red]tried again" in seen


@pytest.mark.parametrize(
    ("plain", "terminal", "kind"),
    [(None, True, RichDisplay), (None, False, PlainDisplay), (True, True, PlainDisplay), (False, False, RichDisplay)],
)
def test_a_terminal_gets_bars_and_a_log_gets_lines(
    monkeypatch: pytest.MonkeyPatch, plain: bool | None, terminal: bool, kind: type[PlainDisplay | RichDisplay]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with display(an_account(), plain) as shown:
        assert isinstance(shown, kind)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("number", "continues"), [(errno.EIO, True), (errno.ENOSPC, False)])
def test_losing_the_terminal_does_not_end_a_run_but_a_full_disk_does(
    monkeypatch: pytest.MonkeyPatch, plain: bool, number: int, continues: bool
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

        def isatty(self) -> bool:
            return True

    def show() -> None:
        account = an_account()
        with display(account, plain) as shown:
            events = Events(account, shown)
            events.stage_progressed(CALL, 1, 9)
            events.stage_finished(CALL)

    monkeypatch.setattr(sys, "stderr", Gone())
    if continues:
        show()
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            show()
