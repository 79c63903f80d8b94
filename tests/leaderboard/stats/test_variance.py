import numpy as np
import pytest
from scipy import stats

from leaderboard.stats.variance import effects


def table_of(rng: np.random.Generator, seeds: int, subjects: int, deviations: tuple[float, float, float]) -> np.ndarray:
    """Values with effects of seeds, of subjects and of both, whose mean is 0."""
    a, b, c = deviations
    return a * rng.normal(size=(seeds, 1)) + b * rng.normal(size=(1, subjects)) + c * rng.normal(size=(seeds, subjects))


def test_mean_squares_equal_those_computed_by_hand() -> None:
    # Means: all 4, seeds 3 and 5, subjects 2, 4 and 6; what remains is ±1, 0, ∓1.
    found = effects([[2, 3, 4], [2, 5, 8]]).spread()
    assert (found.mean, found.seeds, found.subjects) == (4, 2, 3)
    assert found.of_seeds == pytest.approx(3 * (1 + 1) / 1)
    assert found.of_subjects == pytest.approx(2 * (4 + 0 + 4) / 2)
    assert found.of_both == pytest.approx(4 / 2)
    assert found.variance == pytest.approx((6 + 8 - 2) / 6)
    assert found.freedom == pytest.approx(12**2 / (6**2 / 1 + 8**2 / 2 + 2**2 / 2))


def test_the_mean_squares_agree_with_the_one_way_analysis_of_scipy() -> None:
    """F of subjects as groups, seeds as replicates: between over within, the within being seeds and both together."""
    values = table_of(np.random.default_rng(1), 4, 7, (1, 1, 1))
    found = effects(values).spread()
    within = (found.of_seeds * 3 + found.of_both * 18) / 21
    assert found.of_subjects / within == pytest.approx(stats.f_oneway(*values.T).statistic)


@pytest.mark.parametrize("axis", [0, 1])
def test_with_one_seed_or_subject_the_variance_is_that_of_a_plain_mean(axis: int) -> None:
    values = np.random.default_rng(2).normal(size=9)
    found = effects(np.expand_dims(values, axis)).spread()
    assert found.variance == pytest.approx(stats.sem(values) ** 2)
    assert found.freedom == pytest.approx(8)


def test_unequal_counts_give_the_variance_of_a_ratio() -> None:
    """Against the textbook's formula of a ratio of sums, written out."""
    totals, counts = np.array([3.0, 0, 2, 5, 1]), np.array([4.0, 1, 2, 6, 3])
    ratio = totals.sum() / counts.sum()
    expected = sum((t - ratio * c) ** 2 for t, c in zip(totals, counts, strict=True)) / 4 * 5 / counts.sum() ** 2
    found = effects(totals[None], counts).spread()
    assert found.mean == pytest.approx(ratio)
    assert found.variance == pytest.approx(expected)


def test_the_variance_matches_the_variance_of_simulated_means() -> None:
    rng = np.random.default_rng(3)
    spreads = [effects(table_of(rng, 4, 8, (1, 1, 0.5))).spread() for _ in range(3000)]
    truth = 1 / 4 + 1 / 8 + 0.25 / 32
    assert np.var([one.mean for one in spreads]) == pytest.approx(truth, rel=0.1)
    assert np.mean([one.variance for one in spreads]) == pytest.approx(truth, rel=0.1)


def test_the_variance_never_falls_below_that_of_seeds_or_subjects_alone() -> None:
    # Both mean squares are below what remains, so their sum less that would be below 0.
    found = effects(np.array([[1, -1, 0.1], [-1, 1, 0]])).spread()
    assert found.of_seeds + found.of_subjects < found.of_both
    assert found.variance == pytest.approx(max(found.of_seeds, found.of_subjects) / 6)


def test_equal_values_have_no_spread_whatever_the_counts() -> None:
    counts = np.array([3.0, 7, 11])
    found = effects(np.stack([0.1 * counts] * 3), counts).spread()
    assert (found.of_seeds, found.of_subjects, found.of_both, found.freedom) == (0, 0, 0, 0)
