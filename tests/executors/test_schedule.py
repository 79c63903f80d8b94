"""The order of stages: compared with what a graph's order must be, on random graphs with random durations."""

import math
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from benchmark.core.errors import StageFailed
from benchmark.executors.schedule import TAIL, drive
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
def test_every_stage_is_done_once_after_what_it_reads_and_no_more_at_once_than_may_be(seed: int, slots: int) -> None:
    calls, rng = graph(seed), random.Random(seed)
    pauses = {call.key: rng.random() / 300 for call in calls}
    begun: list[str] = []
    done: list[str] = []
    most = 0

    def submit(call: StageCall) -> "Future[bool]":
        assert {source.key for source in call.inputs.values()} <= set(done)
        begun.append(call.key)
        return pool.submit(rest, pauses[call.key])

    def turn(running: object, any_finished: bool) -> None:
        nonlocal most
        most = max(most, len(running))  # type: ignore[arg-type]

    with ThreadPoolExecutor(slots) as pool:
        drive(calls, slots, submit, lambda call: done.append(call.key), turn)
    assert sorted(done) == sorted(begun) == sorted(call.key for call in calls)
    assert 1 <= most <= slots
    if slots == 1:  # nothing is free then but to take the first that can be begun
        assert begun == [call.key for call in calls]


def test_what_stands_first_is_begun_first_where_it_is_free() -> None:
    first = StageCall("corpus", 1, {"number": 0})
    after = StageCall("score", 1, {}, {"corpus": first})
    others = [StageCall("corpus", 1, {"number": number}) for number in range(1, 4)]
    begun: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        begun.append(call)
        future: Future[bool] = Future()
        future.set_result(True)
        return future

    drive([first, after, *others], 1, submit, lambda call: None)
    assert begun == [first, after, *others]


def test_a_stage_that_fails_ends_it_and_those_that_read_it_are_not_begun() -> None:
    first = StageCall("corpus", 1, {})
    after = StageCall("score", 1, {}, {"corpus": first})
    begun: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        begun.append(call)
        future: Future[bool] = Future()
        future.set_exception(StageFailed("no"))
        return future

    with pytest.raises(StageFailed, match="^no$"):
        drive([first, after], 2, submit, lambda call: pytest.fail("nothing was done"))
    assert begun == [first]


def test_artifacts_that_are_there_already_are_not_waited_for() -> None:
    """A plan lists what is missing alone; what it reads beside that has been made before."""
    there = StageCall("corpus", 1, {})
    missing = StageCall("score", 1, {}, {"corpus": there})
    done: list[StageCall] = []
    with ThreadPoolExecutor(1) as pool:
        drive([missing], 1, lambda call: pool.submit(lambda: True), done.append)
    assert done == [missing]


def chains(count: int) -> list[StageCall]:
    """So many cells of a long stage and a short one that reads it."""
    firsts = [StageCall("train", 1, {"number": number}) for number in range(count)]
    return [call for first in firsts for call in (first, StageCall("evaluate", 1, {}, {"trained": first}))]


def test_near_the_end_what_most_has_to_follow_goes_first() -> None:
    """25 cells of 600 + 120 s on ten slots. Cell by cell ends at 3 × 720 = 2160 s. If long stages go first, the last of
    them ends at 3 × 600 s, the short ones of the first 20 have found room beside it, and five more end at 1920 s.
    """
    calls = chains(25)
    fleet = Fleet(
        {call.key: {"train": 600.0, "evaluate": 120.0}[call.stage] for call in calls}, math.inf, random.Random(1)
    )
    drive(calls, 10, fleet.submit, lambda call: None, fleet.turn, turn=0)
    assert fleet.clock == pytest.approx(1920, abs=10)  # and what the scheduler itself took


def test_while_much_is_left_a_cell_is_finished_before_the_next_is_begun() -> None:
    calls = chains(TAIL + 5)  # on two slots, five cells before the end is near
    begun: list[StageCall] = []

    def submit(call: StageCall) -> "Future[bool]":
        begun.append(call)
        future: Future[bool] = Future()
        future.set_result(True)
        return future

    drive(calls, 2, submit, lambda call: None)
    first, second, third, fourth = (calls[2 * n : 2 * n + 2] for n in range(4))
    assert begun[:4] == [first[0], second[0], first[1], second[1]]
    assert begun[4:8] == [third[0], fourth[0], third[1], fourth[1]]
    at_the_end = [call.stage for call in begun[12:]]
    assert at_the_end == sorted(at_the_end, reverse=True)  # all that train, then all that evaluate
