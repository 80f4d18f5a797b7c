"""Calibration error, Brier score and loss against hand-counted cases, and their picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.calibration import FLOOR, Binning, calibration
from softprompt.analysis.reliability import outline, reliability_plot
from softprompt.errors import UsageError
from softprompt.inference import evaluate


def two(p: float) -> dict[str, float]:
    return {"yes": p, "no": 1 - p}


ROWS = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["yes", "no"])), min_size=1, max_size=40)


def test_a_case_counted_by_hand() -> None:
    # Five bins: (0.4, 0.6] holds 0.6 right; (0.6, 0.8] holds 0.7 wrong, 0.8 right; (0.8, 1] 1.0 right
    rows = [two(0.6), two(0.7), two(0.8), two(1.0)]
    found = calibration(rows, ["yes", "no", "yes", "yes"], bins=5)
    assert [one.n for one in found.bins] == [1, 2, 1]
    assert found.ece == pytest.approx((0.4 + 2 * 0.25 + 0) / 4)
    assert found.brier == pytest.approx(2 * (0.4**2 + 0.7**2 + 0.2**2 + 0) / 4)
    assert found.nll == pytest.approx(-(math.log(0.6) + math.log(0.3) + math.log(0.8)) / 4)
    assert (found.accuracy, found.confidence) == (0.75, pytest.approx(0.775))


def test_a_sure_and_wrong_model_has_the_worst_scores() -> None:
    found = calibration([two(1.0)] * 3, ["no"] * 3)
    assert (found.ece, found.brier) == (1, 2)
    assert found.nll == pytest.approx(-math.log(FLOOR))


def test_the_loss_is_the_one_that_evaluation_gives() -> None:
    assert FLOOR == evaluate.TINY


def test_a_model_that_knows_its_chances_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    golds = ["yes" if hit else "no" for hit in rng.random(20_000) < confidence]
    binnings: tuple[Binning, ...] = ("width", "mass")
    for binning in binnings:
        # With n rows in 15 bins chance alone gives about √(2/π · 15 · 0.17 / n) = 0.009
        assert calibration([two(p) for p in confidence], golds, binning=binning).ece < 0.015


def test_bins_by_mass_hold_equally_many_rows() -> None:
    rows = [two(0.5 + place / 200) for place in range(90)]
    found = calibration(rows, ["yes"] * 90, bins=9, binning="mass")
    assert [one.n for one in found.bins] == [10] * 9


def test_equal_confidences_share_a_bin() -> None:
    found = calibration([two(0.9)] * 7 + [two(0.6)] * 3, ["yes"] * 10, bins=5, binning="mass")
    assert [one.n for one in found.bins] == [3, 7]


@pytest.mark.parametrize("binning", ["width", "mass"])
@given(rows=ROWS, order=st.randoms(use_true_random=False))
def test_neither_order_nor_names_matter(binning: Binning, rows: list[tuple[float, str]], order) -> None:  # type: ignore[no-untyped-def]  # fmt: skip
    shuffled = list(rows)
    order.shuffle(shuffled)
    one, other = (
        calibration([two(p) for p, _ in some], [gold for _, gold in some], binning=binning)
        for some in (rows, shuffled)
    )
    assert one == other
    assert 0 <= one.ece <= 1
    assert 0 <= one.brier <= 2
    assert sum(found.n for found in one.bins) == one.n
    assert abs(one.accuracy - one.confidence) <= one.ece + 1e-9


def test_a_gold_may_be_a_distribution() -> None:
    found = calibration([two(0.6)], [{"yes": 0.75, "no": 0.25}])
    assert found.accuracy == 1
    assert found.brier == pytest.approx(2 * 0.15**2)
    assert found.nll == pytest.approx(-(0.75 * math.log(0.6) + 0.25 * math.log(0.4)))


def test_rows_may_have_candidates_of_their_own() -> None:
    rows = [{"a": 0.7, "b": 0.2, "c": 0.1}, {"d": 0.4, "e": 0.6}]
    assert calibration(rows, ["a", "d"]).accuracy == 0.5


@pytest.mark.parametrize(
    ("rows", "golds", "message"),
    [
        ([], [], "at least one"),
        ([two(0.5)], [], "at least one"),
        ([two(0.5), {}], ["yes", "no"], "row 2 has no probabilities"),
        ([two(0.5)], ["maybe"], "row 1: the gold 'maybe'"),
        ([{"yes": 0.9, "no": 0.9}], ["yes"], "row 1: expected probabilities"),
        ([{"yes": 1.5, "no": -0.5}], ["yes"], "row 1: expected probabilities"),
        ([{"yes": math.nan, "no": 0.5}], ["yes"], "row 1: expected probabilities"),
    ],
)
def test_what_are_no_probabilities_is_refused(rows: list, golds: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        calibration(rows, golds)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="bins"):
        calibration([two(0.5)], ["yes"], bins=0)
    with pytest.raises(UsageError, match="binning"):
        calibration([two(0.5)], ["yes"], binning="depth")  # type: ignore[arg-type]


def test_calibrations_become_one_picture_with_the_same_bytes() -> None:
    found = calibration([two(0.55), two(0.8), two(0.95)], ["yes", "no", "yes"])
    pictures = [reliability_plot({"a": found, "情感": found}, "mood") for _ in range(2)]
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] == pictures[1]


def test_the_outline_is_zero_where_no_rows_are() -> None:
    found = calibration([two(0.55), two(0.95)], ["yes", "yes"], bins=10)
    heights, edges = outline(found)
    assert heights == [0.5, 0.0, 0.5]
    assert edges == pytest.approx([0.5, 0.6, 0.9, 1.0])


def test_a_picture_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no calibration"):
        reliability_plot({}, "nothing")
