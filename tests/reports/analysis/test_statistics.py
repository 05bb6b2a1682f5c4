"""The numbers of a report against scipy, against values worked out by hand, and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.analysis.statistics import (
    difference_of_differences,
    estimate,
    holm,
    interval_half_width,
    paired,
    pareto_front,
    welch,
)

ACCURACIES = st.floats(0, 1, allow_nan=False).map(lambda value: round(value, 4))


def test_an_interval_worked_out_by_hand():
    # mean 5, deviation 1, n 3: 4.302653 (t, 2 degrees of freedom) x 1 / sqrt(3)
    found = estimate([4.0, 5.0, 6.0])
    assert (found.mean, found.n) == (5.0, 3)
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 50])
def test_an_interval_equals_scipys(n):
    values = np.random.default_rng(n).normal(0.97, 0.01, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    found = estimate(values)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_true_mean_in_95_of_100_samples(n):
    samples = np.random.default_rng(20 + n).normal(0.0, 1.0, (40_000, n))
    half_widths = interval_half_width(samples.std(axis=1, ddof=1), np.full(len(samples), n))
    covered = np.mean(np.abs(samples.mean(axis=1)) <= half_widths)
    # The standard error of the simulated coverage is 0.0011.
    assert covered == pytest.approx(0.95, abs=0.004)


def test_a_percentile_bootstrap_of_three_values_would_not_cover_it():
    """Why the intervals are Student's: the reason given in docs/decisions, kept true."""
    random = np.random.default_rng(3)
    samples = random.normal(0.0, 1.0, (4_000, 3))
    resampled = samples[np.arange(4_000)[:, None, None], random.integers(0, 3, (4_000, 200, 3))].mean(axis=2)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.85


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert estimate([0.9]).mean == 0.9
    assert math.isnan(estimate([0.9]).half_width)
    assert math.isnan(estimate([]).mean)
    assert estimate([0.9, math.nan]).n == 1


def test_welch_equals_scipys():
    first, second = [98.2, 98.3, 98.1, 98.25], [97.9, 97.7, 98.05]
    expected = stats.ttest_ind(first, second, equal_var=False)
    found = welch(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert (found.test, found.n) == ("Welch", (4, 3))


def test_paired_equals_scipys():
    first, second = [98.2, 98.3, 98.1, 98.25], [97.9, 97.7, 98.05, 97.95]
    expected = stats.ttest_rel(first, second)
    found = paired(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert found.test == "paired"


def test_the_difference_of_differences_is_the_interaction_of_a_regression():
    chance = np.random.default_rng(3)
    samples = [chance.normal(mean, spread, n) for mean, spread, n in ((3, 1, 5), (1, 2, 4), (2, 0.5, 6), (1, 1, 3))]
    here, there = (samples[0], samples[1]), (samples[2], samples[3])
    # A saturated regression on both factors and their product, with White's errors (HC2), which allow for spreads.
    side, part = np.repeat([1, 1, 0, 0], [5, 4, 6, 3]), np.repeat([1, 0, 1, 0], [5, 4, 6, 3])
    columns = np.column_stack([np.ones(18), side, part, side * part])
    values = np.concatenate(samples)
    inverse = np.linalg.inv(columns.T @ columns)
    effects = inverse @ columns.T @ values
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns)
    meat = (columns * ((values - columns @ effects) ** 2 / (1 - leverage))[:, None]).T @ columns
    error = math.sqrt((inverse @ meat @ inverse)[3, 3])
    found = difference_of_differences(here, there)
    assert found.mean == pytest.approx(effects[3])
    assert found.low == pytest.approx(found.mean - stats.t.ppf(0.975, found.degrees_of_freedom) * error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.mean) / error, found.degrees_of_freedom))
    assert found.n == (4, 3)


def test_a_difference_of_differences_against_what_has_no_spread_is_welchs():
    first, second = [98.2, 98.3, 98.1, 98.25], [97.9, 97.7, 98.05]
    found, alone = difference_of_differences((first, second), ([1.0, 1.0], [1.0, 1.0])), welch(first, second)
    assert found.degrees_of_freedom == pytest.approx(alone.degrees_of_freedom)
    assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_intervals_of_differences_of_differences_hold_the_truth_as_often_as_they_say():
    chance, held = np.random.default_rng(5), 0
    for _ in range(2000):
        a, b, c, d = (chance.normal(0, spread, 4) for spread in (1, 3, 1, 2))
        found = difference_of_differences((a, b), (c, d))
        held += found.low <= 0 <= found.high
    assert 0.93 < held / 2000 < 0.975  # 0.95 ± 3 deviations of 0.005; Satterthwaite's errs to the cautious side


def test_paired_differences_of_differences_equal_scipys():
    four = np.random.default_rng(4).normal(size=(4, 5))
    found = difference_of_differences((four[0], four[1]), (four[2], four[3]), by_place=True)
    expected = stats.ttest_1samp(four[0] - four[1] - four[2] + four[3], 0)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.p_value) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert math.isnan(difference_of_differences(([1], [2]), ([3], [4])).low)


@pytest.mark.parametrize("test", [welch, paired])
def test_a_threshold_moves_what_is_tested_and_not_what_is_measured(test):
    first, second = np.array([0.97, 0.98, 0.99, 0.96]), np.array([0.80, 0.82, 0.83, 0.79])
    plain, moved = test(first, second), test(first, second, threshold=0.1)
    assert (plain.mean, plain.low, plain.high) == (moved.mean, moved.low, moved.high)
    assert moved.p_value == pytest.approx(test(first - 0.1, second).p_value, rel=1e-9)


@pytest.mark.parametrize("test", [welch, paired])
def test_without_two_values_or_without_any_spread_there_is_no_p_value(test):
    assert math.isnan(test([0.9], [0.8]).p_value)
    assert math.isnan(test([], []).mean)
    same = test([0.9, 0.9, 0.9], [0.8, 0.8, 0.8])  # neither are their computed means 0.9 and 0.8, nor the spread 0
    assert same.mean == pytest.approx(0.1)
    assert math.isnan(same.p_value)
    assert math.isnan(same.low)


def test_holm_worked_out_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, each at least the one before it
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.8, 0.9]) == [1.0, 1.0]


def test_holm_counts_only_the_tests_that_were_made():
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.02)


@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), max_size=30))
def test_the_front_is_what_no_other_point_beats(points):
    front = pareto_front([cost for cost, _ in points], [gain for _, gain in points])
    for place, (cost, gain) in enumerate(points):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        assert front[place] == (not beaten)


def test_a_point_without_a_number_is_never_on_the_front():
    assert pareto_front([1.0, math.nan, 2.0], [0.5, 0.9, math.nan]).tolist() == [True, False, False]
