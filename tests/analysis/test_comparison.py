"""A table's statistics: equal to what one computes by hand, and honest about what they cannot tell."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import stdev

import pytest

from softprompt.analysis.bootstrap import paired_bootstrap
from softprompt.analysis.comparison import Table, compare_systems
from softprompt.analysis.power import smallest_paired_difference, smallest_seed_difference
from softprompt.analysis.significance import wilson
from softprompt.analysis.strata import Cell
from softprompt.analysis.systems import Judged, System
from softprompt.errors import UsageError

N = 100
IDS = [f"row {number}" for number in range(N)]
GOLDS = ["yes" if number % 3 else "no" for number in range(N)]


def judged(hits: int, seed: int = 0, split: int = 0, shift: int = 0) -> Judged:
    """A run with so many rows right, beginning at `shift`."""
    right = {(shift + number) % N for number in range(hits)}
    other = {"yes": "no", "no": "yes"}
    predictions = [gold if n in right else other[gold] for n, gold in enumerate(GOLDS)]
    return Judged(split, seed, IDS, GOLDS, predictions)


def system(name: str, *hits: int, dev: tuple[float, ...] = (), shift: int = 0) -> System:
    runs = [judged(count, seed, shift=shift) for seed, count in enumerate(hits)]
    return System(name, runs, dev)


MAJORITY = System("majority", [Judged(0, 0, IDS, GOLDS, ["yes"] * N)])


def table(**changes: object) -> Table:
    systems = [system("a", 80, 84, dev=(0.7, 0.8)), system("b", 60, 62, dev=(0.9, 0.9)), MAJORITY]
    options: dict[str, object] = {"majority": "majority", "resamples": 500, **changes}
    return compare_systems(systems, "accuracy", ["no", "yes"], **options)  # type: ignore[arg-type]


def test_mean_and_sd_are_those_of_the_runs() -> None:
    row = table().row("a")
    assert row.spread.mean == pytest.approx(0.82)
    assert row.spread.sd == pytest.approx(stdev([0.80, 0.84]))


def test_below_500_rows_a_share_has_wilsons_interval() -> None:
    row = table().row("a")
    assert row.how == "Wilson"
    assert row.interval == wilson(82, 100)


def test_from_500_rows_on_seeds_and_rows_are_drawn() -> None:
    ids, golds = [f"{n}" for n in range(600)], ["yes", "no"] * 300
    draw = random.Random(0)
    runs = [
        Judged(0, seed, ids, golds, [g if draw.random() < 0.8 else None for g in golds])
        for seed in (0, 1, 2)
    ]
    row = compare_systems([System("a", runs)], "accuracy", resamples=500).row("a")
    assert row.how == "bootstrap"
    assert row.interval is not None
    assert row.interval.low < row.spread.mean < row.interval.high
    assert row.interval.high - row.interval.low < 0.1


@pytest.mark.parametrize("metric", ["macro_f1", "f1", "matthews"])
def test_other_metrics_get_the_bootstraps_interval(metric: str) -> None:
    row = compare_systems([system("a", 80, 84)], metric, ["no", "yes"], resamples=300).row("a")
    assert row.interval is not None
    assert row.interval.low < row.spread.mean < row.interval.high


def test_the_reference_is_the_best_on_dev_never_the_best_on_test() -> None:
    assert table().reference == "b"
    assert table(reference="a").reference == "a"
    assert table().row("b").difference is None


def test_the_difference_is_the_paired_bootstraps_and_holm_adjusts_within_the_table() -> None:
    found = table()
    cells = [
        Cell(0, seed, IDS, GOLDS, judged(one).predictions, judged(other).predictions)
        for seed, one, other in ((0, 80, 60), (1, 84, 62))
    ]
    alone = paired_bootstrap(cells, "accuracy", ["no", "yes"], resamples=500)
    row = found.row("a")
    assert row.difference == alone
    assert alone.value == pytest.approx(0.21)
    assert found.family == 2
    assert row.p == pytest.approx(min(1.0, 2 * alone.p))


def test_a_row_like_the_majority_class_is_not_told_from_it() -> None:
    systems = [system("same", 68, 66), system("good", 95, 96), MAJORITY]
    found = compare_systems(systems, "accuracy", ["no", "yes"], majority="majority", resamples=500)
    assert found.row("same").above_majority is False
    assert found.row("good").above_majority is True
    assert found.row("majority").above_majority is None


def test_what_rows_and_seeds_could_have_shown_is_powers_own() -> None:
    row = table().row("a")
    alpha = 0.05 / 2
    assert row.by_rows == smallest_paired_difference(N, 0.21, alpha)
    sd = stdev([0.20, 0.22])
    assert row.by_seeds == pytest.approx(smallest_seed_difference(2, sd, alpha, paired=True))
    assert row.smallest == max(row.by_rows or 0, row.by_seeds or 0)


def test_more_rows_could_have_shown_smaller_differences() -> None:
    def least(times: int) -> float:
        ids = [f"{n}" for n in range(N * times)]
        systems = [
            System(name, [Judged(0, 0, ids, GOLDS * times, list(judged(h).predictions) * times)])
            for name, h in (("a", 80), ("b", 75))
        ]
        found = compare_systems(systems, "accuracy", ["no", "yes"], resamples=100).row("b").by_rows
        assert found is not None
        return found

    assert least(16) < least(4) < least(1)


def test_equal_means_are_called_ties() -> None:
    systems = [system("a", 80), system("b", 80, shift=5), system("c", 81)]
    found = compare_systems(systems, "accuracy", ["no", "yes"], resamples=100)
    assert found.row("a").tied == ("b",)
    assert found.row("c").tied == ()


def test_a_system_without_chance_stands_beside_every_seed() -> None:
    found = compare_systems(
        [system("a", 80, 84, 82), system("once", 70)], "accuracy", ["no", "yes"], resamples=100
    )
    difference = found.row("once").difference
    assert difference is not None
    assert difference.seeds == 3
    assert difference.value == pytest.approx(0.70 - 0.82)


def test_systems_on_other_rows_are_not_compared() -> None:
    other = Judged(0, 0, [f"other {id_}" for id_ in IDS], GOLDS, judged(70).predictions)
    found = compare_systems([system("a", 80), System("b", [other])], "accuracy", resamples=100)
    assert found.row("b").difference is None
    assert found.row("b").p is None
    assert found.family == 0


def test_splits_are_the_outer_level() -> None:
    runs = [judged(80 + s, seed=s, split=s) for s in range(3)]
    others = [judged(70 + s, seed=s, split=s) for s in range(3)]
    found = compare_systems(
        [System("a", runs), System("b", others)], "accuracy", ["no", "yes"], resamples=100
    )
    difference = found.row("b").difference
    assert difference is not None
    assert (difference.splits, difference.seeds) == (3, 1)


def test_a_name_twice_or_unknown_is_refused() -> None:
    with pytest.raises(UsageError, match="different names"):
        compare_systems([system("a", 80), system("a", 81)], "accuracy")
    with pytest.raises(UsageError, match="no system 'c'"):
        compare_systems([system("a", 80)], "accuracy", reference="c")


def test_a_metric_of_groups_is_given_the_groups() -> None:
    groups = [f"question {number // 2}" for number in range(N)]
    rows = [replace(judged(hits), groups=groups) for hits in (80, 61)]
    systems = [System("a", rows[:1], dev=(0.9,)), System("b", rows[1:], dev=(0.8,))]
    found = compare_systems(systems, "multirc_em", ["no", "yes"], resamples=300)
    assert found.row("a").spread.mean == 0.8
    assert found.row("b").spread.mean == 0.6  # of 61 rows the last has no partner
    difference = found.row("b").difference
    assert difference is not None
    assert difference.value == pytest.approx(-0.2)
    interval = found.row("a").interval
    assert interval is not None
    assert interval.low < 0.8 < interval.high
