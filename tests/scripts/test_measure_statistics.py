"""The board's statistics on made-up answers of known truth. The slow ones measure what docs/statistics.md claims."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from leaderboard.stats.comparisons import among_first, to_baseline
from leaderboard.stats.intervals import mean_interval, paired_difference
from leaderboard.stats.significance import paired_p
from leaderboard.stats.variance import effects
from scripts.measure_statistics import QUESTIONS, World, _contender, answers, asked_in_ways, main, measure_choice

SEEDS_DIFFER = World(0.5)


def test_made_up_answers_are_right_as_often_as_their_truth_says() -> None:
    rng = np.random.default_rng(1)
    totals, truth = answers(rng, SEEDS_DIFFER, [0.1, 0.5], seeds=400, subjects=400)
    assert truth.tolist() == [0.1, 0.5]
    assert totals.mean(axis=(1, 2)) / QUESTIONS == pytest.approx(truth, abs=0.02)


def test_the_truth_of_one_seed_is_that_seeds_own() -> None:
    rng = np.random.default_rng(2)
    totals, truth = answers(rng, World(2.0), [0.3] * 6, seeds=1, subjects=20_000)
    assert totals.mean(axis=(1, 2)) / QUESTIONS == pytest.approx(truth, abs=0.02)
    assert truth.std() > 0.1


def test_the_script_prints_its_tables_and_writes_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--draws", "1", "--only", "families", "--out", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["families"]
    assert [row["case"] for row in rows] == ["equal"] * 8 + ["mixed"] * 8
    assert capsys.readouterr().out.count("mixed") == 8


def test_ways_of_asking_have_the_accuracies_asked_for_and_halves_the_same_seeds() -> None:
    wanted = np.array([[0.5, 0.3], [0.1, 0.9]])
    halves, truth = asked_in_ways(np.random.default_rng(1), SEEDS_DIFFER, wanted, 0.5, seeds=400, subjects=300)
    assert truth.tolist() == wanted.tolist()
    means = [half.mean(axis=3) / QUESTIONS for half in halves]
    assert means[0].mean(axis=2) == pytest.approx(wanted, abs=0.03)
    by_seed = [np.corrcoef(means[0][0, way], means[1][0, way])[0, 1] for way in (0, 1)]
    assert min(by_seed) > 0.8, "a seed that is lucky in one half is in the other"
    ways = np.corrcoef(means[0][0, 0], means[0][0, 1])[0, 1]
    assert 0.3 < ways < 0.7, "half of a seed's deviation is of one way of asking"


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5, 10])
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds: int) -> None:
    rng, mean_held, gap_held, runs = np.random.default_rng(3), 0, 0, 0
    for subjects, accuracy, _ in product((20, 50), (0.02, 0.1, 0.5, 0.9), range(200)):
        (a, b), truth = answers(rng, SEEDS_DIFFER, [accuracy] * 2, seeds, subjects)
        mean, gap = mean_interval(a, QUESTIONS), paired_difference(a, b, QUESTIONS)
        mean_held += mean.low <= truth[0] <= mean.high
        gap_held += gap.low <= truth[0] - truth[1] <= gap.high
        runs += 1
    assert 0.93 <= mean_held / runs <= 0.98
    assert 0.93 <= gap_held / runs <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.5), (5, 0.5), (5, 1.0)])
def test_the_paired_test_is_wrong_about_equal_methods_no_more_often_than_it_says(seeds: int, spread: float) -> None:
    rng, false, runs = np.random.default_rng(4), 0, 0
    for subjects, accuracy, _ in product((20, 50), (0.02, 0.1, 0.5), range(400)):
        (a, b), _truth = answers(rng, World(spread), [accuracy] * 2, seeds, subjects)
        false += (paired_p(effects(a - b, QUESTIONS).spread()) or 0) < 0.05
        runs += 1
    assert 0.01 <= false / runs <= 0.06


@pytest.mark.slow
def test_after_holm_a_table_of_equal_methods_seldom_holds_a_false_claim_and_the_best_is_among_the_first() -> None:
    rng, runs, false, best = np.random.default_rng(5), 400, 0, 0
    for _ in range(runs):
        totals, _truth = answers(rng, SEEDS_DIFFER, [0.3] * 9, 5, 50)
        table = [_contender(place, one) for place, one in enumerate(totals)]
        false += any(one.verdict for one in to_baseline(table) if one)
        totals, _truth = answers(rng, SEEDS_DIFFER, [0.3, 0.4, 0.45, 0.48], 5, 50)
        best += among_first([_contender(place, one) for place, one in enumerate(totals)])[3]
    assert false / runs <= 0.07
    assert best / runs >= 0.95


@pytest.mark.slow
def test_a_chosen_number_of_examples_leaves_intervals_and_tests_as_good_as_they_say() -> None:
    rows = [row for row in measure_choice(150, np.random.default_rng(5)) if row["seeds"] > 1]
    assert np.mean([row["bias"] for row in rows]) > np.mean([row["bias, one way"] for row in rows])
    assert 0.93 <= np.mean([row["coverage"] for row in rows]) <= 0.98
    assert np.mean([row["false positives"] for row in rows]) <= 0.06
