"""Which attempts at a stage are repeated."""

import threading
from collections.abc import Callable

import pytest

from benchmark.executors import attempts
from benchmark.executors.attempts import End, run_with_retries

LOST, DONE, MISTAKE = End("infrastructure", "its node died"), End("done"), End("mistake", "no such file")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.0)


def attempt_of(*ends: End) -> Callable[[int], End]:
    return lambda number: ends[number - 1]


def test_a_lost_attempt_is_repeated_until_one_ends_and_each_retry_is_noted() -> None:
    notes: list[str] = []
    ended = run_with_retries(attempt_of(LOST, LOST, DONE), 5, threading.Event(), notes.append)
    assert ended == (DONE, 3)
    assert notes == ["its node died; tried again (1 of 5)", "its node died; tried again (2 of 5)"]


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3)])
def test_no_more_attempts_are_made_than_the_retries_allow(retries: int, tries: int) -> None:
    assert run_with_retries(attempt_of(*[LOST] * 9), retries, threading.Event(), lambda note: None) == (LOST, tries)


def test_a_mistake_of_the_user_is_not_repeated() -> None:
    assert run_with_retries(attempt_of(MISTAKE, DONE), 5, threading.Event(), pytest.fail) == (MISTAKE, 1)


def test_nothing_is_repeated_once_the_run_is_over() -> None:
    over = threading.Event()
    over.set()
    assert run_with_retries(attempt_of(LOST, DONE), 5, over, pytest.fail) == (LOST, 1)


def test_a_run_that_ends_during_the_pause_ends_the_attempts() -> None:
    over = threading.Event()
    assert run_with_retries(attempt_of(LOST, DONE), 5, over, lambda note: over.set()) == (LOST, 1)
