"""The hierarchical paired bootstrap against analytic errors, simulations and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.bootstrap import bootstrap_of_mean, paired_bootstrap
from softprompt.analysis.confusions import SCORERS, resampled_scorer
from softprompt.analysis.strata import MEANS_OF_ROWS, Cell, Part
from softprompt.data.metrics import METRICS
from softprompt.errors import UsageError

LABELS = ("no", "yes")


def cell(
    first: Sequence[Any],
    second: Sequence[Any],
    golds: Sequence[Any],
    split: int = 0,
    seed: int = 0,
    test: str = "",
) -> Cell:
    ids = [f"{test}{number}" for number in range(len(golds))]
    return Cell(split, seed, ids, golds, first, second)


def judged(right: Any, other: Any, **where: Any) -> Cell:
    """A cell whose systems are right where the arrays say so; every gold is yes."""
    made = [[LABELS[int(hit)] for hit in hits] for hits in (right, other)]
    return cell(made[0], made[1], ["yes"] * len(made[0]), **where)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "f1", "matthews"])
def test_identical_systems_differ_by_nothing(metric: str) -> None:
    rng = np.random.default_rng(0)
    golds = [LABELS[n] for n in rng.integers(0, 2, 60)]
    given_ = [LABELS[n] for n in rng.integers(0, 2, 60)]
    cells = [cell(given_, given_, golds, split, seed) for split in (0, 1) for seed in (0, 1)]
    found = paired_bootstrap(cells, metric, LABELS, resamples=100)
    assert (found.value, found.p, found.interval.low, found.interval.high) == (0, 1, 0, 0)


def test_identical_regressors_differ_by_nothing() -> None:
    numbers = np.random.default_rng(0).normal(size=30).tolist()
    noisy = [number + 0.1 * place for place, number in enumerate(numbers)]
    found = paired_bootstrap([cell(noisy, noisy, numbers)], "spearman", resamples=50)
    assert (found.value, found.p, found.standard_error) == (0, 1, 0)


def test_on_one_test_set_the_error_is_the_analytic_one() -> None:
    rng = np.random.default_rng(0)
    n = 600
    first, second = rng.random(n) < 0.85, rng.random(n) < 0.8
    found = paired_bootstrap([judged(first, second)], "accuracy", LABELS, resamples=20_000)
    difference = first.astype(float) - second
    exact = difference.std() / np.sqrt(n)
    assert found.value == pytest.approx(difference.mean())
    assert found.standard_error == pytest.approx(exact, rel=0.02)  # 20,000 draws: 0.5 %
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * 1.96 * exact, rel=0.05)


def test_seeds_on_the_same_rows_do_not_count_as_more_rows() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(400) < 0.9, rng.random(400) < 0.8
    once = [judged(first, second)]
    often = [judged(first, second, split=split, seed=seed) for split in range(3) for seed in (0, 1)]
    one, six = (paired_bootstrap(cells, "accuracy", LABELS) for cells in (once, often))
    assert six.value == pytest.approx(one.value)
    assert six.standard_error == pytest.approx(one.standard_error, rel=0.1)


def test_splits_with_test_rows_of_their_own_count_as_more_rows() -> None:
    rng = np.random.default_rng(0)
    cells = [
        judged(rng.random(400) < 0.9, rng.random(400) < 0.8, split=split, test=f"{split}/")
        for split in range(20)
    ]
    one = paired_bootstrap(cells[:1], "accuracy", LABELS)
    many = paired_bootstrap(cells, "accuracy", LABELS)
    # Rows are counted at two levels (the split's mean varies by them too): √2 of 1/√20 at most
    assert many.standard_error < 0.4 * one.standard_error


def test_splits_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(500)
    agree = [judged(right < 0.85, right < 0.80, split=split) for split in range(5)]
    differ = [
        judged(right < 0.85 + shift, right < 0.80, split=split)
        for split, shift in enumerate((-0.1, -0.05, 0, 0.05, 0.1))
    ]
    narrow, wide = (paired_bootstrap(cells, "accuracy", LABELS) for cells in (agree, differ))
    assert wide.standard_error > 2 * narrow.standard_error


@pytest.mark.parametrize(("splits", "shared"), [(1, True), (10, True), (10, False)])
def test_the_interval_covers_the_true_difference(splits: int, shared: bool) -> None:
    rng = np.random.default_rng(3)
    n, truth, repetitions = 100, 0.06, 200
    covered = 0
    for _ in range(repetitions):
        cells, rows = [], rng.random((2, n))
        for split in range(splits):
            if not shared:
                rows = rng.random((2, n))
            # A split's luck moves both systems' chances; rows are hard or easy for both alike.
            luck = 0.0 if splits == 1 else rng.normal(0, 0.04)
            noise = rng.random((2, n)) < 0.3
            hits = [
                np.where(noise[which], rng.random(n), rows[0]) < 0.7 + which * (truth + luck)
                for which in (0, 1)
            ]
            test = "" if shared else f"{split}/"
            cells.append(judged(hits[1], hits[0], split=split, test=test))
        found = paired_bootstrap(cells, "accuracy", LABELS, resamples=200)
        covered += found.interval.low <= truth <= found.interval.high
    # 200 repetitions: a standard error of 1.5 points; nested rows are counted twice (conservative)
    assert 0.90 <= covered / repetitions <= (0.99 if splits == 1 else 1.0)


def test_under_no_difference_p_is_rarely_small() -> None:
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(300):
        cells = [judged(rng.random(200) < 0.8, rng.random(200) < 0.8)]
        small += paired_bootstrap(cells, "accuracy", LABELS, resamples=300).p <= 0.05
    assert 0.02 <= small / 300 <= 0.08


def test_p_agrees_with_the_interval_and_has_a_floor() -> None:
    right = np.arange(200) < 190
    found = paired_bootstrap([judged(right, np.arange(200) < 100)], "accuracy", LABELS)
    assert found.interval.low > 0
    assert found.p == pytest.approx(2 / 2001)


@given(st.lists(st.tuples(*[st.sampled_from([*LABELS, None])] * 2, st.sampled_from(LABELS))
                , min_size=2, max_size=20))  # fmt: skip
def test_swapping_the_systems_turns_the_sign(rows: list[tuple[Any, Any, str]]) -> None:
    first, second, golds = (list(column) for column in zip(*rows, strict=True))
    for metric in ("accuracy", "macro_f1"):
        one = paired_bootstrap([cell(first, second, golds)], metric, LABELS, resamples=60)
        other = paired_bootstrap([cell(second, first, golds)], metric, LABELS, resamples=60)
        assert other.value == pytest.approx(-one.value)
        assert other.p == one.p
        assert other.interval.low == pytest.approx(-one.interval.high, abs=1e-9)


@pytest.mark.parametrize("name", list(SCORERS))
@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c")])
@given(data=st.data())
def test_counts_give_the_metrics_own_numbers(
    name: str, labels: tuple[str, ...], data: st.DataObject
) -> None:
    if name == "f1" and len(labels) > 2:
        return
    n = data.draw(st.integers(1, 12))
    answers = st.lists(st.sampled_from([*labels, None]), min_size=n, max_size=n)
    golds = data.draw(st.lists(st.sampled_from(labels), min_size=n, max_size=n))
    predictions = data.draw(answers)
    positive = data.draw(st.sampled_from([None, *labels])) if name == "f1" else None
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    rows = np.array([list(range(n)), places])
    found = resampled_scorer(name, predictions, golds, labels, positive)(rows)
    for number, row in enumerate(rows.tolist()):
        drawn = [predictions[place] for place in row], [golds[place] for place in row]
        assert found[number] == pytest.approx(METRICS[name](*drawn, labels, positive), abs=1e-12)


@pytest.mark.parametrize("name", MEANS_OF_ROWS)
def test_these_metrics_are_the_mean_of_their_rows(name: str) -> None:
    predictions = ["a film", "the film", None, "no", "a good good film"]
    golds = ["a film", "film", "yes", "yes", "good film"]
    alone = [METRICS[name]([p], [g]) for p, g in zip(predictions, golds, strict=True)]
    assert METRICS[name](predictions, golds) == pytest.approx(np.mean(alone))


def test_every_metric_can_be_compared() -> None:
    for name, metric in METRICS.items():
        missing = metric.needs is not None and find_spec(metric.needs) is None
        if metric.grouped or missing:  # groups are no rows; an extra is not installed
            continue
        if "number" in metric.kinds:
            cells = [cell([0.1, 0.5, 0.2], [0.1, 0.2, 0.3], [0.0, 0.5, 1.0])]
        else:
            cells = [cell(["no", "yes", None], ["yes"] * 3, ["yes", "yes", "no"])]
        found = paired_bootstrap(cells, name, LABELS, resamples=20)
        given_ = METRICS[name](cells[0].first, cells[0].golds, LABELS)
        assert found.first == pytest.approx(given_)


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    rng = np.random.default_rng(0)
    cells = [judged(rng.random(90) < 0.8, rng.random(90) < 0.7)]
    one, again, other = (paired_bootstrap(cells, "accuracy", seed=s) for s in (1, 1, 2))
    assert one == again
    assert one.interval != other.interval


def test_what_cannot_be_paired_is_refused() -> None:
    good = judged([1, 0, 1], [1, 1, 0])
    with pytest.raises(UsageError, match="no cells"):
        paired_bootstrap([], "accuracy")
    with pytest.raises(UsageError, match="given twice"):
        paired_bootstrap([good, good], "accuracy")
    with pytest.raises(UsageError, match="as many of each"):
        paired_bootstrap([replace(good, second=["yes"])], "accuracy")
    with pytest.raises(UsageError, match="other test rows"):
        paired_bootstrap([good, replace(good, seed=1, ids=["7", "8", "9"])], "accuracy")
    with pytest.raises(UsageError, match="other golds"):
        paired_bootstrap([good, replace(good, split=1, golds=["no"] * 3)], "accuracy")
    with pytest.raises(UsageError, match="unknown metric"):
        paired_bootstrap([good], "acuracy")
    with pytest.raises(UsageError, match="resamples"):
        paired_bootstrap([good], "accuracy", resamples=0)


def test_a_metric_of_groups_draws_whole_groups() -> None:
    rng = np.random.default_rng(0)
    n, size = 300, 4  # questions, answers of each
    hits = rng.random((2, n)) < [[0.8], [0.6]]
    golds = ["yes"] * (n * size)
    groups = [f"question {place // size}" for place in range(n * size)]

    def given_(right: Any) -> list[str]:  # a question that is not right has one wrong answer
        return [LABELS[int(hit or place > 0)] for hit in right for place in range(size)]

    one = replace(cell(given_(hits[0]), given_(hits[1]), golds), groups=groups)
    found = paired_bootstrap([one], "multirc_em", LABELS)
    questions = paired_bootstrap([judged(*hits)], "accuracy", LABELS)
    assert (found.first, found.second) == (questions.first, questions.second)
    assert found.interval == questions.interval


def test_a_metric_of_groups_without_groups_is_refused() -> None:
    with pytest.raises(UsageError, match="group"):
        paired_bootstrap([judged([1, 1], [1, 0])], "multirc_em", LABELS)


def test_the_mean_of_several_tasks_has_the_analytic_error_and_weighs_each_alike() -> None:
    rng = np.random.default_rng(1)
    small, large = (judged(rng.random(n) < 0.7, rng.random(n) < 0.5) for n in (80, 800))
    parts = [Part([one], "accuracy", LABELS) for one in (small, large)]
    found = bootstrap_of_mean(parts, "task_mean", resamples=8000)
    alone = [paired_bootstrap(part.cells, "accuracy", LABELS, resamples=8000) for part in parts]
    assert found.value == pytest.approx((alone[0].value + alone[1].value) / 2)
    wanted = np.hypot(alone[0].standard_error, alone[1].standard_error) / 2
    assert found.standard_error == pytest.approx(wanted, rel=0.05)
    assert (found.rows, found.metric) == (880, "task_mean")


def test_what_a_seed_does_to_all_tasks_does_not_average_out_over_them() -> None:
    right, wrong = np.ones(40, bool), np.zeros(40, bool)
    cells = [judged(right if seed else wrong, wrong, seed=seed) for seed in (0, 1)]
    one = paired_bootstrap(cells, "accuracy", LABELS, resamples=2000)
    parts = [Part(cells, "accuracy", LABELS)] * 4
    four = bootstrap_of_mean(parts, "task_mean", resamples=2000)
    assert four.standard_error == pytest.approx(one.standard_error, rel=0.1)
    turned = Part(cells[::-1], "accuracy", LABELS)
    with pytest.raises(UsageError, match="the same splits and seeds"):
        bootstrap_of_mean([parts[0], turned], "task_mean")
