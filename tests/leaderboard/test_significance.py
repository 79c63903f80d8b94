import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leaderboard.significance import holm, paired_p
from leaderboard.variance import effects


def p_of(totals: object, counts: object = 1) -> float | None:
    return paired_p(effects(totals, counts).spread())  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1])
def test_one_seed_is_the_paired_t_test_of_scipy_over_subjects_and_one_subject_that_over_seeds(axis: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30)) + rng.normal(size=30)
    assert p_of(np.expand_dims(a - b, axis)) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-9)


def test_several_seeds_are_a_t_test_with_satterthwaites_degrees_of_freedom() -> None:
    # The table of test_variance.py: mean 4, variance 2, 12² / 70 degrees of freedom.
    assert p_of([[2, 3, 4], [2, 5, 8]]) == pytest.approx(0.25)  # what three subjects can give at the least
    wide = np.array([[2.0, 3, 4, 2, 3, 4, 2, 3, 4], [2, 5, 8, 2, 5, 8, 2, 5, 8]]) - 2.5
    seeds, subjects, both = 9 * 2 / 1, 2 * 3 * 8 / 8, 3 * 4 / 8
    freedom = (seeds + subjects - both) ** 2 / (seeds**2 / 1 + subjects**2 / 8 + both**2 / 8)
    t = 1.5 / ((seeds + subjects - both) / 18) ** 0.5
    assert p_of(wide) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-9)


def test_which_one_is_taken_from_the_other_does_not_matter() -> None:
    gap = np.random.default_rng(2).normal(0.3, size=(3, 12))
    assert p_of(gap) == p_of(-gap)


@pytest.mark.parametrize("subjects", [2, 8])
def test_subjects_that_all_differ_alike_give_what_a_sign_test_gives(subjects: int) -> None:
    assert p_of(np.ones((3, subjects))) == stats.binomtest(0, subjects, 0.5).pvalue


def test_no_difference_anywhere_has_a_p_value_of_one() -> None:
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


def test_what_has_no_p_value_counts_for_nothing_in_holm() -> None:
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    assert holm([]) == []
