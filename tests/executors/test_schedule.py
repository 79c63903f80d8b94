"""The order of stages, checked on random graphs with random durations."""

import math
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from benchmark.core.errors import StageFailed
from benchmark.executors.schedule import TAIL, run_in_order
from benchmark.store.artifacts import StageCall
from perf.fleet import Fleet


def graph(seed: int, size: int = 40) -> list[StageCall]:
    """Stages that read up to three earlier ones each."""
    rng = random.Random(seed)
    calls: list[StageCall] = []
    for number in range(size):
        sources = rng.sample(calls, min(len(calls), rng.randrange(4)))
        calls.append(StageCall("corpus", 1, {"number": number}, {str(n): call for n, call in enumerate(sources)}))
    return calls


def rest(seconds: float) -> bool:
    time.sleep(seconds)
    return True


@pytest.mark.parametrize("slots", [1, 3, 100])
@pytest.mark.parametrize("seed", range(5))
def test_each_stage_runs_once_after_its_inputs_and_at_most_slots_run_at_once(seed: int, slots: int) -> None:
    calls, rng = graph(seed), random.Random(seed)
    pauses = {call.key: rng.random() / 300 for call in calls}
    started: list[str] = []
    done: list[str] = []
    most = 0

    def submit(call: StageCall) -> "Future[bool]":
        assert {source.key for source in call.inputs.values()} <= set(done)
        started.append(call.key)
        return pool.submit(rest, pauses[call.key])

    def turn(running: object, any_finished: bool) -> None:
        nonlocal most
        most = max(most, len(running))  # type: ignore[arg-type]

    with ThreadPoolExecutor(slots) as pool:
        run_in_order(calls, slots, submit, lambda call: done.append(call.key), turn)
    assert sorted(done) == sorted(started) == sorted(call.key for call in calls)
    assert 1 <= most <= slots
    if slots == 1:  # only one order is possible then
        assert started == [call.key for call in calls]


def test_among_ready_stages_the_first_listed_starts_first() -> None:
    first = StageCall("corpus", 1, {"number": 0})
    after = StageCall("score", 1, {}, {"corpus": first})
    others = [StageCall("corpus", 1, {"number": number}) for number in range(1, 4)]
    started: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        started.append(call)
        future: Future[bool] = Future()
        future.set_result(True)
        return future

    run_in_order([first, after, *others], 1, submit, lambda call: None)
    assert started == [first, after, *others]


def test_a_failing_stage_ends_the_run_and_its_readers_do_not_start() -> None:
    first = StageCall("corpus", 1, {})
    after = StageCall("score", 1, {}, {"corpus": first})
    started: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        started.append(call)
        future: Future[bool] = Future()
        future.set_exception(StageFailed("no"))
        return future

    with pytest.raises(StageFailed, match="^no$"):
        run_in_order([first, after], 2, submit, lambda call: pytest.fail("nothing was done"))
    assert started == [first]


def test_inputs_that_are_not_listed_count_as_finished() -> None:
    """A run lists missing artifacts only; its stages may read others, which are in the store."""
    cached = StageCall("corpus", 1, {})
    missing = StageCall("score", 1, {}, {"corpus": cached})
    done: list[StageCall] = []
    with ThreadPoolExecutor(1) as pool:
        run_in_order([missing], 1, lambda call: pool.submit(lambda: True), done.append)
    assert done == [missing]


def chains(count: int) -> list[StageCall]:
    """Cells of a long stage and a short one that reads it."""
    firsts = [StageCall("train", 1, {"number": number}) for number in range(count)]
    return [call for first in firsts for call in (first, StageCall("evaluate", 1, {}, {"trained": first}))]


def test_near_the_end_stages_with_the_longest_chain_start_first() -> None:
    """25 cells of 600 + 120 s on ten slots. Cell by cell ends at 3 × 720 = 2160 s. If long stages go first, the last of
    them ends at 3 × 600 s, the short ones of the first 20 have run beside it, and five more end at 1920 s.
    """
    calls = chains(25)
    fleet = Fleet(
        {call.key: {"train": 600.0, "evaluate": 120.0}[call.stage] for call in calls}, math.inf, random.Random(1)
    )
    run_in_order(calls, 10, fleet.submit, lambda call: None, fleet.turn, turn=0)
    assert fleet.clock == pytest.approx(1920, abs=10)  # and the real time of the scheduler


def test_before_the_end_is_near_cells_run_in_order() -> None:
    calls = chains(TAIL + 5)  # on two slots, five cells before the end is near
    started: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        started.append(call)
        future: Future[bool] = Future()
        future.set_result(True)
        return future

    run_in_order(calls, 2, submit, lambda call: None)
    first, second, third, fourth = (calls[2 * n : 2 * n + 2] for n in range(4))
    assert started[:4] == [first[0], second[0], first[1], second[1]]
    assert started[4:8] == [third[0], fourth[0], third[1], fourth[1]]
    at_the_end = [call.stage for call in started[12:]]
    assert at_the_end == sorted(at_the_end, reverse=True)  # all that train, then all that evaluate
