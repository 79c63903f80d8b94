"""Several trainings at once: which process does how many, and that real processes do them."""

import argparse
import json
from typing import cast

import pytest

from perf.at_once import DONE, READY, SERIAL, TrainingProcess, compare, main


class Asked:
    """A training process that notes what it is asked for and does nothing."""

    def __init__(self, trainings: list[tuple[int, int]], number: int) -> None:
        self.trainings, self.number = trainings, number

    def start(self, trainings: int) -> None:
        self.trainings.append((self.number, trainings))

    def wait_for(self, answer: str) -> str:
        return {READY: "50", DONE: ""}[answer]


def test_every_way_does_the_same_number_of_trainings_in_equal_shares() -> None:
    asked: list[tuple[int, int]] = []
    processes = cast(list[TrainingProcess], [Asked(asked, number) for number in range(4)])
    options = argparse.Namespace(at_once=[2, 4], rounds=1, steps=3, batch=8)
    measured = compare(processes, options)
    serial, two, four = [(0, 4)], [(0, 2), (1, 2)], [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert asked == 2 * (serial + two + four), "once untimed, once timed"
    assert list(measured.seconds) == [SERIAL, "2 at once", "4 at once"]
    assert (measured.to, measured.amount) == (SERIAL, (200, "tokens"))


def test_numbers_that_do_not_divide_each_other_share_their_least_common_multiple() -> None:
    asked: list[tuple[int, int]] = []
    processes = cast(list[TrainingProcess], [Asked(asked, number) for number in range(3)])
    compare(processes, argparse.Namespace(at_once=[2, 3], rounds=1, steps=1, batch=1))
    assert asked[:6] == [(0, 6), (0, 3), (1, 3), (0, 2), (1, 2), (2, 2)]


@pytest.mark.slow
def test_trainings_at_once_are_compared_with_trainings_in_turn(capfd: pytest.CaptureFixture[str]) -> None:
    given = ["zoo:small", "--at-once", "2", "--steps", "1", "--batch", "2", "--rounds", "1", "--threads", "1", "--json"]
    assert main(given) == 0
    (timed,) = json.loads(capfd.readouterr().out)["measured"]
    assert timed["ways"].keys() == {SERIAL, "2 at once"}
    assert all(way["median"] > 0 for way in timed["ways"].values())


@pytest.mark.slow
def test_a_training_process_that_fails_ends_the_measurement_with_its_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="a training process ended with exit code 2"):
        main(["zoo:none", "--at-once", "1", "--rounds", "1"])
    assert "not in the zoo" in capfd.readouterr().err
