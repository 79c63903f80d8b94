import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from benchmark.cli.app import app
from leaderboard.board.power import Components, components, power, seeds_needed, smallest_difference, subjects_needed
from leaderboard.stats.significance import paired_p
from leaderboard.stats.variance import effects
from tests.leaderboard.factory import even_chance, write_record
from tests.leaderboard.stats.test_variance import table_of

PARTS = Components(0.02, 0.2, 1.0)


def test_a_medium_effect_needs_34_subjects_as_in_tables_of_the_paired_t_test() -> None:
    """Cohen's d = .5, two-sided 5%, power 80%: 34 pairs."""
    assert subjects_needed(Components(None, 1.0, 0.0), 0.5, 1) == 34


def test_one_seed_has_the_power_of_the_t_test_by_the_noncentral_t_of_scipy() -> None:
    critical, shift = stats.t.ppf(0.975, 19), 0.4 * 20**0.5
    expected = stats.nct.sf(critical, 19, shift) + stats.nct.cdf(-critical, 19, shift)
    assert power(Components(None, 1.0, 0.0), -0.4, 1, 20) == pytest.approx(expected, abs=1e-6)


def test_the_power_for_no_difference_is_the_level() -> None:
    assert power(PARTS, 0.0, 5, 50) == pytest.approx(0.05, abs=1e-6)
    assert power(PARTS, 0.0, 5, 50, alpha=0.01) == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize(("seeds", "subjects", "difference"), [(5, 40, 0.3), (3, 60, 0.3), (10, 20, 0.5)])
def test_power_is_how_often_the_test_detects_a_difference(seeds: int, subjects: int, difference: float) -> None:
    rng, runs = np.random.default_rng(4), 1500
    deviations = (PARTS.of_seeds or 0) ** 0.5, PARTS.of_subjects**0.5, PARTS.of_both**0.5
    made = (effects(difference + table_of(rng, seeds, subjects, deviations)).spread() for _ in range(runs))
    measured = sum((paired_p(one) or 0) < 0.05 for one in made) / runs
    assert power(PARTS, difference, seeds, subjects) == pytest.approx(measured, abs=0.05)


def test_components_are_estimated_from_mean_squares() -> None:
    rng = np.random.default_rng(5)
    found = [components(effects(table_of(rng, 5, 20, (0.5, 1.0, 0.8))).spread()) for _ in range(1000)]
    truth = {"of_seeds": 0.25, "of_subjects": 1.0, "of_both": 0.64}
    assert {key: np.mean([getattr(one, key) for one in found]) for key in truth} == pytest.approx(truth, rel=0.08)


def test_the_smallest_difference_is_detected_in_four_of_five_cases() -> None:
    least = smallest_difference(PARTS, 5, 50)
    assert least is not None
    assert power(PARTS, least, 5, 50) == pytest.approx(0.8, abs=1e-4)
    assert smallest_difference(Components(4.0, 4.0, 4.0), 2, 10) is None


def test_the_needed_numbers_are_the_least_that_suffice() -> None:
    seeds, subjects = seeds_needed(PARTS, 0.25, 50), subjects_needed(PARTS, 0.25, 5)
    assert seeds and subjects
    assert power(PARTS, 0.25, seeds, 50) >= 0.8 > power(PARTS, 0.25, seeds - 1, 50)
    assert power(PARTS, 0.25, 5, subjects) >= 0.8 > power(PARTS, 0.25, 5, subjects - 1)


def test_the_needed_number_is_none_if_no_number_suffices() -> None:
    # The mean over ever more seeds still varies with the 50 subjects, by a deviation of .2.
    assert seeds_needed(Components(0.01, 2.0, 0.1), 0.1, 50) is None
    assert subjects_needed(Components(2.0, 0.01, 0.1), 0.1, 5) is None


def test_one_seed_gives_no_power_for_several() -> None:
    alone = components(effects(np.random.default_rng(6).normal(size=(1, 30))).spread())
    assert alone.of_seeds is None
    assert seeds_needed(alone, 0.1, 30) is None
    with pytest.raises(ValueError, match="one seed does not show how seeds differ"):
        power(alone, 0.1, 3, 30)


def test_power_without_any_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="no spread"):
        power(Components(0.0, 0.0, 0.0), 0.1, 3, 30)


def test_too_few_subjects_for_any_test_have_no_power() -> None:
    assert power(PARTS, 1.0, 5, 5) == 0


def test_the_command_prints_each_table_and_the_same_rows_as_json(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, seed=seed)
        write_record(
            tmp_path, "other", seed=seed, grade=lambda field, person, seed: even_chance(field, person, seed + 9)
        )
    write_record(tmp_path, "lonely", training__budget="9 steps")
    shown = CliRunner().invoke(app, ["leaderboard", "power", "--records", str(tmp_path), "--difference", "0.2"])
    assert shown.exit_code == 0
    assert "biography, tiny-large, 400 steps" in shown.output and "seeds for .2" in shown.output
    assert "no row is compared with plain_matched" in shown.output
    given = ["leaderboard", "power", "--records", str(tmp_path), "--difference", "0.2", "--json"]
    (line,) = json.loads(CliRunner().invoke(app, given).output)
    assert (line["label"], line["seeds"], line["subjects"], line["spread"]) == ("other", 3, 8, True)


def test_rows_with_equal_differences_are_reported_without_spread(tmp_path: Path) -> None:
    write_record(tmp_path, grade=lambda field, person, seed: 0.0)
    write_record(tmp_path, "other", grade=lambda field, person, seed: 1.0)
    shown = CliRunner().invoke(app, ["leaderboard", "power", "--records", str(tmp_path)])
    assert "no spread" in shown.output
