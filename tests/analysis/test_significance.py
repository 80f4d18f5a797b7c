"""Intervals, families of tests and the majority class, against published figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.significance import (
    against_majority,
    holm,
    holm_by_name,
    sign_test,
    spread,
    wilson,
)
from softprompt.errors import UsageError

P_VALUES = st.lists(st.floats(0, 1), max_size=8)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        # R: p.adjust(p, "holm")
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.5], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_gives_the_values_of_r(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted, abs=1e-12)


@given(P_VALUES)
def test_holm_keeps_the_order_and_never_lowers_a_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    by_p = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in by_p] == sorted(adjusted)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_the_tests(p_values: list[float], rng) -> None:  # type: ignore[no-untyped-def]
    places = list(range(len(p_values)))
    rng.shuffle(places)
    shuffled = holm([p_values[place] for place in places])
    assert shuffled == [holm(p_values)[place] for place in places]


@given(P_VALUES)
def test_a_larger_family_is_stricter(p_values: list[float]) -> None:
    more = holm([*p_values, 0.2])
    assert all(a <= b for a, b in zip(holm(p_values), more, strict=False))


def test_holm_by_name_keeps_the_names() -> None:
    assert holm_by_name({"a": 0.04, "b": 0.01}) == {"a": 0.04, "b": 0.02}


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(bad: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([0.5, bad])


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_examples(hits: int, n: int, low: float, high: float) -> None:
    found = wilson(hits, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 300), st.data())
def test_wilson_is_symmetric_and_holds_the_proportion(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    here, mirrored = wilson(hits, n), wilson(n - hits, n)
    assert 0 <= here.low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= here.high <= 1
    assert here.low == pytest.approx(1 - mirrored.high, abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(hits: int, n: int) -> None:
    with pytest.raises(UsageError, match="hits"):
        wilson(hits, n)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(UsageError, match="level"):
        wilson(1, 2, level)


def test_a_spread_is_the_sample_standard_deviation() -> None:
    found = spread([0.8, 0.9, 0.7])
    assert (found.mean, found.sd, found.n) == (pytest.approx(0.8), pytest.approx(0.1), 3)
    assert str(found) == "0.800 ± 0.100"


def test_a_single_seed_has_no_spread() -> None:
    assert spread([0.8]).sd is None
    assert str(spread([0.8])) == "0.800"


def test_no_scores_have_no_mean() -> None:
    with pytest.raises(UsageError, match="no scores"):
        spread([])


def test_the_sign_test_counts_both_tails() -> None:
    assert sign_test(5, 0) == pytest.approx(2 / 2**5)
    assert sign_test(0, 5) == pytest.approx(2 / 2**5)
    assert sign_test(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)


def test_no_wins_and_no_losses_tell_nothing_apart() -> None:
    assert sign_test(0, 0) == 1


def test_a_system_that_says_the_majority_class_cannot_be_told_from_it() -> None:
    golds = ["yes"] * 60 + ["no"] * 40
    found = against_majority(["yes"] * 100, golds, "yes")
    assert (found.accuracy, found.majority, found.p) == (0.6, 0.6, 1.0)
    assert found.verdict().startswith("cannot be told from the majority class")


def test_a_few_rows_more_than_the_majority_are_chance() -> None:
    golds = ["yes"] * 60 + ["no"] * 40
    predictions = ["yes"] * 55 + ["no"] * 5 + ["no"] * 8 + ["yes"] * 32  # 8 gained, 5 lost
    found = against_majority(predictions, golds, "yes")
    assert (found.gained, found.lost) == (8, 5)
    assert found.p == pytest.approx(0.58105, abs=1e-5)  # R: binom.test(8, 13)


def test_a_good_system_is_above_the_majority_and_an_illegal_one_below() -> None:
    golds = ["yes"] * 60 + ["no"] * 40
    assert against_majority(golds, golds, "yes").verdict().startswith("above")
    assert against_majority([None] * 100, golds, "yes").verdict().startswith("below")


def test_predictions_and_golds_are_of_the_same_rows() -> None:
    with pytest.raises(UsageError, match="one prediction per gold"):
        against_majority(["yes"], ["yes", "no"], "yes")
