import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leaderboard.stats.significance import holm, more_right_p, paired_p
from leaderboard.stats.variance import effects


def p_of(totals: object, counts: object = 1) -> float | None:
    return paired_p(effects(totals, counts).spread())  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1])
def test_with_one_seed_or_subject_the_test_is_scipy_s_paired_t_test_over_the_other(axis: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30)) + rng.normal(size=30)
    assert p_of(np.expand_dims(a - b, axis)) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-9)


def quasi_f(rows: list[list[float]]) -> float:
    """The two-sided p-value with Satterthwaite's degrees of freedom, the mean squares from plain loops."""
    seeds, subjects = len(rows), len(rows[0])
    mean = sum(map(sum, rows)) / (seeds * subjects)
    by_seed = [sum(row) / subjects for row in rows]
    by_subject = [sum(column) / seeds for column in zip(*rows, strict=True)]
    a = subjects * sum((value - mean) ** 2 for value in by_seed) / (seeds - 1)
    b = seeds * sum((value - mean) ** 2 for value in by_subject) / (subjects - 1)
    rest = [rows[s][p] - by_seed[s] - by_subject[p] + mean for s in range(seeds) for p in range(subjects)]
    r = sum(value**2 for value in rest) / ((seeds - 1) * (subjects - 1))
    total = max(a + b - r, a, b)
    freedom = total**2 / (a**2 / (seeds - 1) + b**2 / (subjects - 1) + r**2 / ((seeds - 1) * (subjects - 1)))
    return float(2 * stats.t.sf(abs(mean) / (total / (seeds * subjects)) ** 0.5, freedom))


@pytest.mark.parametrize(("mean", "of_seeds", "larger"), [(0.4, 0.05, "both"), (2.0, 0.4, "seeds")])
def test_with_several_seeds_the_greater_p_value_of_both_factors_or_seeds_alone_counts(
    mean: float, of_seeds: float, larger: str
) -> None:
    rng = np.random.default_rng(3)
    table = mean + of_seeds * rng.normal(size=(4, 1)) + rng.normal(size=30) + rng.normal(size=(4, 30)) / 9
    values = {"both": quasi_f(table.tolist()), "seeds": stats.ttest_1samp(table.mean(axis=1), 0).pvalue}
    assert max(values, key=lambda name: values[name]) == larger
    assert p_of(table) == pytest.approx(values[larger], abs=1e-9)


def test_the_order_of_the_pair_does_not_change_the_p_value() -> None:
    gap = np.random.default_rng(2).normal(0.3, size=(3, 12))
    assert p_of(gap) == p_of(-gap)


@pytest.mark.parametrize("subjects", [2, 8])
def test_subjects_with_equal_differences_give_the_p_value_of_a_sign_test(subjects: int) -> None:
    assert p_of(np.ones((3, subjects))) == stats.binomtest(0, subjects, 0.5).pvalue


def test_equal_answers_have_a_p_value_of_one() -> None:
    assert p_of(np.zeros((3, 5)), 4) == 1


def test_one_seed_and_one_subject_have_no_p_value() -> None:
    assert p_of([[1.0]]) is None


def test_holm_gives_the_adjusted_values_of_the_textbook_example() -> None:
    """Four tests with p = .01, .04, .03, .005: Holm rejects the fourth and the first at 5%."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_procedure_with_bonferronis_tests(values: list[float]) -> None:
    """A hypothesis is rejected if every intersection that holds it is, each by the least p times their number."""
    places = range(len(values))
    groups = [g for size in range(1, len(values) + 1) for g in itertools.combinations(places, size)]
    expected = [max(min(1.0, len(g) * min(values[i] for i in g)) for g in groups if one in g) for one in places]
    assert holm(values) == pytest.approx(expected, abs=1e-9)


def test_missing_p_values_do_not_count_in_holm_s_correction() -> None:
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    assert holm([]) == []


@pytest.mark.parametrize("counts", [(10, 40, 0, 40), (1, 75, 0, 75), (7, 486, 0, 486), (30, 60, 2, 20), (0, 5, 3, 5)])
def test_the_p_value_of_two_counts_is_that_of_scipy_s_fisher_exact(counts: tuple[int, int, int, int]) -> None:
    right, asked, other_right, other_asked = counts
    table = [[right, asked - right], [other_right, other_asked - other_right]]
    assert more_right_p(*counts) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)
