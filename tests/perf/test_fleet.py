"""The simulated fleet, against what can be said of it by hand."""

import math

import pytest

from benchmark.store.artifacts import StageCall
from perf.fleet import longest_chain, simulate


def test_a_gpu_that_is_never_lost_is_always_busy() -> None:
    simulation = simulate(cells=10, gpus=1, hours_between_losses=math.inf)
    # one corpus, two models' scores, three stages of every cell, and facts counted where there are changed copies
    assert simulation.stages == 1 + 2 + 3 * 10 + 9
    assert simulation.losses == 0
    assert simulation.hours == pytest.approx(simulation.least_hours, rel=1e-3)
    assert simulation.held == simulation.useful == pytest.approx(1, rel=1e-3)


def test_lost_attempts_count_as_held_and_not_as_useful() -> None:
    simulation = simulate(cells=10, gpus=2, hours_between_losses=0.5)
    assert simulation.losses > 0
    assert simulation.useful < simulation.held <= 1
    assert simulation.hours > simulation.least_hours


def test_the_longest_chain_equals_a_sum_by_hand() -> None:
    corpus = StageCall("corpus", 1, {})
    large, small = (StageCall("score", 1, {"model": name}, {"corpus": corpus}) for name in ("large", "small"))
    augment = StageCall("augment", 1, {}, {"large": large, "small": small})
    calls = [corpus, large, small, augment]
    assert longest_chain(calls, {corpus.key: 1, large.key: 20, small.key: 300, augment.key: 4000}) == 4301
