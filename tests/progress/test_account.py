"""The account of a run: its counts, speed, time left and cost."""

from typing import Any

import pytest

from benchmark.progress.account import Account
from benchmark.progress.state import duration, line, summary
from benchmark.store.artifacts import StageCall


def a_stage(kind: str, number: int, **params: Any) -> StageCall:
    return StageCall(kind, 1, {"number": number, **params})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def running_stages(account: Account) -> dict[str, tuple[Any, ...]]:
    return {
        f"{stage.stage} {stage.where}": (stage.done, stage.total, stage.steps_per_second, stage.tokens_per_second)
        for stage in account.state().under_way
    }


def test_rates_count_from_the_first_report_and_so_exclude_loading_and_earlier_runs(
    clock: list[float],
) -> None:
    account, call = Account("s"), a_stage("train", 1)
    account.add(1, 0, [call])
    account.stage_started(call, "worker 1")
    clock[0] += 50  # loading a model
    account.stage_progressed(call, 600, 1000, 60_000)  # resumed from a checkpoint
    assert running_stages(account) == {"train worker 1": (600, 1000, None, None)}
    clock[0] += 10
    account.stage_progressed(call, 620, 1000, 62_500)
    assert running_stages(account) == {"train worker 1": (620, 1000, 2.0, 250.0)}
    assert account.state().seconds_left == pytest.approx(380 / 2)


def test_rates_restart_with_each_round_of_a_stage(clock: list[float]) -> None:
    account, call = Account("s"), a_stage("retain", 1)
    account.add(1, 0, [call])
    for seconds, done, total in ((0, 10, 50), (10, 50, 50), (10, 1, 50), (4, 3, 50)):
        clock[0] += seconds
        account.stage_progressed(call, done, total)
    assert running_stages(account) == {"retain ": (3, 50, 0.5, None)}


def test_time_left_is_unknown_until_each_kind_of_stage_has_finished_once(clock: list[float]) -> None:
    account = Account("s")
    trains = [a_stage("train", number) for number in range(4)]
    account.add(4, 0, [*trains, a_stage("evaluate", 1), a_stage("evaluate", 2)])
    account.add_duration(a_stage("train", 99), 100.0)
    assert account.state().seconds_left is None
    account.add_duration(a_stage("evaluate", 99), 10.0)
    assert account.state().seconds_left == 420.0
    for call in trains[:2]:
        account.stage_started(call, "")
    clock[0] += 40
    assert account.state().seconds_left == pytest.approx((60 + 60 + 200 + 20) / 2), "two at once"


def test_a_finished_round_does_not_count_as_a_finished_stage(clock: list[float]) -> None:
    account, calls = Account("s"), [a_stage("evaluate", 1), a_stage("train", 1)]
    account.add(1, 0, calls)
    for call in calls:
        account.add_duration(call, 100.0)
        account.stage_started(call, "")
        account.stage_progressed(call, 0, 50)
    clock[0] += 10
    account.stage_progressed(calls[1], 50, 50)
    account.stage_finished(calls[1])
    account.stage_progressed(calls[0], 50, 50)
    assert account.state().seconds_left == pytest.approx(90)


def test_durations_of_other_models_and_budgets_are_not_used_as_estimates(clock: list[float]) -> None:
    account = Account("s")
    account.add(1, 0, [a_stage("train", 1, model={"fingerprint": "large"}, budget={"steps": 9})])
    account.add_duration(a_stage("train", 2, model={"fingerprint": "small"}, budget={"steps": 9}), 10.0)
    account.add_duration(a_stage("train", 2, model={"fingerprint": "large"}, budget={"steps": 1}), 10.0)
    assert account.state().seconds_left is None
    account.add_duration(a_stage("train", 2, model={"fingerprint": "large"}, budget={"steps": 9}), 70.0)
    assert account.state().seconds_left == 70.0


def test_time_left_is_at_least_that_of_the_longest_running_stage(clock: list[float]) -> None:
    account, calls = Account("s"), [a_stage("train", number) for number in range(8)]
    account.add(8, 0, calls)
    for call in calls:
        account.stage_started(call, "")
    for call in calls[1:]:
        account.stage_finished(call)
    for seconds, done in ((0, 0), (10, 1)):
        clock[0] += seconds
        account.stage_progressed(calls[0], done, 11)
    assert account.state().seconds_left == pytest.approx(100)


def test_cost_counts_the_time_of_all_workers_including_lost_attempts(clock: list[float]) -> None:
    account = Account("s", price=2.0)
    first, second = a_stage("train", 1, device="cuda"), a_stage("corpus", 1)
    account.add(2, 1, [first, second])
    account.stage_started(first, "container a, GPU 0")
    account.stage_started(second, "container b")
    clock[0] += 600
    account.stage_started(first, "container c, GPU 0")  # the first container was lost
    clock[0] += 300
    account.stage_finished(second)
    clock[0] += 900
    state = account.state()
    assert (state.worker_seconds, state.device_seconds) == (600 + 300 + 900 + 900, 600 + 300 + 900)
    assert summary(state) == ("1 of 2 cells, time left not known, 2,700 worker seconds (1,800 on a GPU), cost 1.50")
    assert (state.stages_done, state.stages) == (1, 2)


def test_late_reports_of_a_finished_stage_are_ignored(clock: list[float]) -> None:
    account, call = Account("s"), a_stage("train", 1)
    account.add(1, 0, [call])
    account.stage_started(call, "worker 1")
    account.stage_finished(call)
    account.stage_started(call, "worker 1")
    account.stage_progressed(call, 3, 9)
    clock[0] += 10
    assert (account.state().under_way, account.state().worker_seconds) == ([], 0.0)


def test_a_line_names_the_first_eight_of_many_stages(clock: list[float]) -> None:
    account, calls = Account("s"), [a_stage("train", number) for number in range(50)]
    account.add(50, 0, calls)
    for call in calls:
        account.stage_started(call, "node")
    parts = line(account.state()).split("; ")
    assert len(parts) == 10 and parts[8] == "42 more" and parts[0] == f"train {calls[0].key[:8]} started, node"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (720, "12 min"), (9000, "2.5 h"), (864000, "10.0 days")]
)
def test_durations_are_given_in_a_suitable_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words
