"""The simulated fleet, against what can be said of it by hand."""

import math

import pytest

from benchmark.store.artifacts import StageCall
from perf.fleet import longest_chain, simulate


def test_one_gpu_that_is_never_lost_is_always_busy() -> None:
    found = simulate(cells=10, gpus=1, hours_between_losses=math.inf)
    # one corpus, two models' scores, three stages of every cell, and facts counted where there are changed copies
    assert found.stages == 1 + 2 + 3 * 10 + 9
    assert found.losses == 0
    assert found.hours == pytest.approx(found.least_hours, rel=1e-3)
    assert found.held == found.useful == pytest.approx(1, rel=1e-3)


def test_lost_attempts_hold_gpus_and_are_of_no_use() -> None:
    found = simulate(cells=10, gpus=2, hours_between_losses=0.5)
    assert found.losses > 0
    assert found.useful < found.held <= 1
    assert found.hours > found.least_hours


def test_the_longest_chain_is_that_of_the_sums_by_hand() -> None:
    corpus = StageCall("corpus", 1, {})
    large, small = (StageCall("score", 1, {"model": name}, {"corpus": corpus}) for name in ("large", "small"))
    augment = StageCall("augment", 1, {}, {"large": large, "small": small})
    calls = [corpus, large, small, augment]
    assert longest_chain(calls, {corpus.key: 1, large.key: 20, small.key: 300, augment.key: 4000}) == 4301
