"""The smallest difference a table could have shown: formulae against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from softprompt.analysis.power import (
    discordance,
    smallest_paired_difference,
    smallest_seed_difference,
)
from softprompt.errors import UsageError


@pytest.mark.parametrize(("n", "share"), [(872, 0.1), (400, 0.2), (2000, 0.05)])
def test_mcnemars_test_finds_the_smallest_paired_difference_four_times_in_five(
    n: int, share: float
) -> None:
    found = smallest_paired_difference(n, share)
    assert found is not None
    rng = np.random.default_rng(0)
    shares = [(share + found) / 2, (share - found) / 2, 1 - share]
    gained, lost, _ = rng.multinomial(n, shares, size=4000).T
    z = (gained - lost) / np.sqrt(np.maximum(gained + lost, 1))
    # 4,000 draws: a standard error of 0.6 points
    assert np.mean(np.abs(z) > stats.norm.isf(0.025)) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("seeds", "paired"), [(3, False), (5, False), (5, True), (3, True)])
def test_a_t_test_finds_the_smallest_seed_difference_four_times_in_five(
    seeds: int, paired: bool
) -> None:
    found = smallest_seed_difference(seeds, 2.0, paired=paired)
    rng = np.random.default_rng(1)
    first = rng.normal(found, 2.0, size=(4000, seeds))
    if paired:
        p = stats.ttest_1samp(first, 0.0, axis=1).pvalue
    else:
        p = stats.ttest_ind(first, rng.normal(0, 2.0, size=(4000, seeds)), axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.02)


def test_five_seeds_find_two_standard_deviations() -> None:
    # R: power.t.test(n = 5, power = 0.8): delta = 2.024438
    assert smallest_seed_difference(5, 1.0) == pytest.approx(2.0244, abs=1e-3)


def test_two_seeds_find_next_to_nothing() -> None:
    assert smallest_seed_difference(2, 1.0) > 5


def test_the_formula_holds_for_its_own_solution() -> None:
    found = smallest_paired_difference(500, 0.15)
    assert found is not None
    z_alpha, z_power = stats.norm.isf(0.025), stats.norm.ppf(0.8)
    right = z_alpha * math.sqrt(0.15) + z_power * math.sqrt(0.15 - found**2)
    assert found * math.sqrt(500) == pytest.approx(right)


@given(st.integers(50, 5000), st.floats(0.05, 1))
def test_more_rows_show_smaller_differences(n: int, share: float) -> None:
    fewer, more = smallest_paired_difference(n, share), smallest_paired_difference(2 * n, share)
    if fewer is not None:
        assert more is not None
        assert more < fewer <= share


@pytest.mark.parametrize(("n", "share"), [(20, 0.05), (100, 0.0), (1, 1.0)])
def test_where_all_discordant_rows_would_not_do_nothing_could_have_shown(
    n: int, share: float
) -> None:
    assert smallest_paired_difference(n, share) is None


def test_seeds_without_spread_show_any_difference() -> None:
    assert smallest_seed_difference(3, 0.0) == 0


def test_discordant_rows_are_those_that_one_alone_has_right() -> None:
    assert discordance([True, True, False, False], [True, False, True, False]) == 0.5


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two"):
        smallest_seed_difference(1, 1.0)
    with pytest.raises(UsageError, match="sd"):
        smallest_seed_difference(3, -1.0)
    with pytest.raises(UsageError, match="alpha < power"):
        smallest_seed_difference(3, 1.0, alpha=0.9, power=0.8)
    with pytest.raises(UsageError, match="share"):
        smallest_paired_difference(10, 1.5)
    with pytest.raises(UsageError, match="same rows"):
        discordance([True], [])
