"""The account of a run: what is counted, how fast it is, how long it may take, what it has cost."""

from typing import Any

import pytest

from benchmark.progress.account import Overview, duration, line, summary
from benchmark.store.artifacts import StageCall


def stage(kind: str, number: int, **params: Any) -> StageCall:
    return StageCall(kind, 1, {"number": number, **params})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on when the test says so."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def under_way(overview: Overview) -> dict[str, tuple[Any, ...]]:
    return {
        f"{one.stage} {one.where}": (one.done, one.total, one.steps_per_second, one.tokens_per_second)
        for one in overview.state().under_way
    }


def test_a_rate_is_counted_from_the_first_news_so_that_loading_and_earlier_runs_are_no_part_of_it(
    clock: list[float],
) -> None:
    overview, call = Overview("s"), stage("train", 1)
    overview.expect(1, 0, [call])
    overview.start(call, "worker 1")
    clock[0] += 50  # loads a model
    overview.progress(call, 600, 1000, 60_000)  # goes on from a checkpoint
    assert under_way(overview) == {"train worker 1": (600, 1000, None, None)}
    clock[0] += 10
    overview.progress(call, 620, 1000, 62_500)
    assert under_way(overview) == {"train worker 1": (620, 1000, 2.0, 250.0)}
    assert overview.state().seconds_left == pytest.approx(380 / 2)


def test_another_round_of_a_stage_is_counted_anew(clock: list[float]) -> None:
    overview, call = Overview("s"), stage("retain", 1)
    overview.expect(1, 0, [call])
    for seconds, done, total in ((0, 10, 50), (10, 50, 50), (10, 1, 50), (4, 3, 50)):
        clock[0] += seconds
        overview.progress(call, done, total)
    assert under_way(overview) == {"retain ": (3, 50, 0.5, None)}


def test_time_left_is_not_known_before_every_kind_of_stage_has_been_done_once(clock: list[float]) -> None:
    overview = Overview("s")
    trains = [stage("train", number) for number in range(4)]
    overview.expect(4, 0, [*trains, stage("evaluate", 1), stage("evaluate", 2)])
    overview.took(stage("train", 99), 100.0)
    assert overview.state().seconds_left is None
    overview.took(stage("evaluate", 99), 10.0)
    assert overview.state().seconds_left == 420.0
    for call in trains[:2]:
        overview.start(call, "")
    clock[0] += 40
    assert overview.state().seconds_left == pytest.approx((60 + 60 + 200 + 20) / 2), "two at once"


def test_the_end_of_a_first_round_is_not_the_end_of_a_stage_of_several(clock: list[float]) -> None:
    overview, calls = Overview("s"), [stage("evaluate", 1), stage("train", 1)]
    overview.expect(1, 0, calls)
    for call in calls:
        overview.took(call, 100.0)
        overview.start(call, "")
        overview.progress(call, 0, 50)
    clock[0] += 10
    overview.progress(calls[1], 50, 50)
    overview.done(calls[1])
    overview.progress(calls[0], 50, 50)
    assert overview.state().seconds_left == pytest.approx(90)


def test_stages_of_another_model_or_budget_say_nothing_of_a_stages_time(clock: list[float]) -> None:
    overview = Overview("s")
    overview.expect(1, 0, [stage("train", 1, model={"fingerprint": "large"}, budget={"steps": 9})])
    overview.took(stage("train", 2, model={"fingerprint": "small"}, budget={"steps": 9}), 10.0)
    overview.took(stage("train", 2, model={"fingerprint": "large"}, budget={"steps": 1}), 10.0)
    assert overview.state().seconds_left is None
    overview.took(stage("train", 2, model={"fingerprint": "large"}, budget={"steps": 9}), 70.0)
    assert overview.state().seconds_left == 70.0


def test_time_left_is_never_less_than_the_longest_stage_takes(clock: list[float]) -> None:
    overview, calls = Overview("s"), [stage("train", number) for number in range(8)]
    overview.expect(8, 0, calls)
    for call in calls:
        overview.start(call, "")
    for call in calls[1:]:
        overview.done(call)
    for seconds, done in ((0, 0), (10, 1)):
        clock[0] += seconds
        overview.progress(calls[0], done, 11)
    assert overview.state().seconds_left == pytest.approx(100)


def test_what_a_run_costs_is_the_time_of_all_its_workers_and_of_stages_lost_on_the_way(clock: list[float]) -> None:
    overview = Overview("s", price=2.0)
    first, second = stage("train", 1, device="cuda"), stage("corpus", 1)
    overview.expect(2, 1, [first, second])
    overview.start(first, "container a, GPU 0")
    overview.start(second, "container b")
    clock[0] += 600
    overview.start(first, "container c, GPU 0")  # the first was lost
    clock[0] += 300
    overview.done(second)
    clock[0] += 900
    state = overview.state()
    assert (state.worker_seconds, state.device_seconds) == (600 + 300 + 900 + 900, 600 + 300 + 900)
    assert summary(state) == ("1 of 2 cells, time left not known, 2,700 worker seconds (1,800 on a GPU), cost 1.50")
    assert (state.stages_done, state.stages) == (1, 2)


def test_late_news_of_a_finished_stage_changes_nothing(clock: list[float]) -> None:
    overview, call = Overview("s"), stage("train", 1)
    overview.expect(1, 0, [call])
    overview.start(call, "worker 1")
    overview.done(call)
    overview.start(call, "worker 1")
    overview.progress(call, 3, 9)
    clock[0] += 10
    assert (overview.state().under_way, overview.state().worker_seconds) == ([], 0.0)


def test_a_line_names_some_of_many_stages(clock: list[float]) -> None:
    overview, calls = Overview("s"), [stage("train", number) for number in range(50)]
    overview.expect(50, 0, calls)
    for call in calls:
        overview.start(call, "node")
    told = line(overview.state()).split("; ")
    assert len(told) == 10 and told[8] == "42 more" and told[0] == f"train {calls[0].key[:8]} begun, node"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (720, "12 min"), (9000, "2.5 h"), (864000, "10.0 days")]
)
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
