"""The difference of two systems over splits, seeds and rows, by a hierarchical paired bootstrap.

Splits are drawn with replacement, then seeds within each drawn split (Saravanan, Berman and Sober
2020, Application of the hierarchical bootstrap), then rows of the test set, the same for both
systems (paired: Koehn 2004, Statistical significance tests for machine translation evaluation).
The interval is that of percentiles (Efron and Tibshirani 1993, chapter 13). Knows predictions and
golds, not models.

Three things to know when reading the figures:
- *Rows that cells share are drawn once.* Seeds of a split are tested on the same rows, and in
  LM-BFF's protocol all splits are (GLUE's dev). Drawn anew for each cell, their luck would average
  out, and the interval would shrink with every seed though no row was added (rows are crossed
  with seeds: Owen 2007, The pigeonhole bootstrap). Cells share rows if they have the same ids.
- *Few splits give narrow intervals.* Five drawn from five vary by a fifth less than five drawn from
  the population (variance 1 - 1/S); with one split and one seed only the rows vary, and the claim
  is about these two trained systems, not about their methods.
- *A p-value has a floor*, 2 / (resamples + 1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from softprompt.analysis.confusions import SCORERS, Numbers, Rows, resampled_scorer
from softprompt.analysis.significance import Interval, check_level
from softprompt.data.metrics import find_metric
from softprompt.errors import UsageError

RESAMPLES = 2000
MEANS_OF_ROWS = (
    *("accuracy", "exact_match", "token_f1", "record_em", "record_f1", "cmrc_f1", "wsc"),
    *("rouge_l", "rouge_1", "rouge_2"),
)
"""Metrics that are the mean of what each row is worth alone."""
MEANS_OF_GROUPS = ("multirc_em",)
"""Metrics that are the mean of what each group of rows is worth alone: groups are drawn whole."""

Score = Callable[[Sequence[Any], Sequence[int]], float]
Worth = Callable[[Rows, Numbers], Numbers]
T = TypeVar("T")

_AT_ONCE = 1 << 21
"""Row numbers drawn at once: memory; the draws depend on it."""
_ZERO = 1e-12
"""A difference this small is none: what sums of floats leave of equal scores."""


@dataclass(frozen=True)
class Cell:
    """Both systems on one test set, trained on one split with one seed.

    Args:
        split: which training split; the outer level.
        seed: which seed within the split; (split, seed) is unique.
        ids: of the test rows; cells with equal ids share their test set.
        golds: one per row.
        first, second: the systems' predictions, one per row; None for an illegal output.
        groups: which rows belong together, one per row; empty where the metric needs none.
    """

    split: Hashable
    seed: Hashable
    ids: Sequence[str]
    golds: Sequence[Any]
    first: Sequence[Any]
    second: Sequence[Any]
    groups: Sequence[str | None] = ()

    def drawn(self, metric: str) -> dict[Hashable, list[int]]:
        """What a metric draws, rows or whole groups of them, and the places of their rows."""
        whole = metric.partition(":")[0] in MEANS_OF_GROUPS
        places: dict[Hashable, list[int]] = {}
        for place, name in enumerate(self.groups if whole else enumerate(self.ids)):
            places.setdefault(name, []).append(place)
        return places


@dataclass(frozen=True)
class Difference:
    """First minus second, each the mean over splits of the mean over seeds.

    Args:
        metric: its name.
        first, second: the systems' scores.
        interval: percentile interval of the difference.
        standard_error: standard deviation of the resampled differences.
        p: two-sided, with one added to counts and resamples; small where few resamples lie on the
            other side of zero than the difference does.
        splits, seeds, rows: how many there were; `seeds` and `rows` of the smallest split and set.
        resamples, seed: with which the draws were made.
    """

    metric: str
    first: float
    second: float
    interval: Interval
    standard_error: float
    p: float
    splits: int
    seeds: int
    rows: int
    resamples: int
    seed: int

    @property
    def value(self) -> float:
        return self.first - self.second


def paired_bootstrap(
    cells: Sequence[Cell],
    metric: str,
    labels: Sequence[str] = (),
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two systems on the same splits, seeds and rows.

    Args:
        cells: at least one; every split weighs the same, and every seed within its split.
        metric: a name from `data.metrics.METRICS`; "f1:yes" makes "yes" the positive label.
        labels: the task's labels in order, for metrics that need them.
        resamples: how many. Correlations cost two calls for each cell in each; all others are fast.
        level: of the interval.
        seed: of the draws.
    Raises:
        UsageError: no cells, a (split, seed) twice, seeds of one split or cells with the same ids
            that disagree about rows or golds, lists of different lengths, no rows, groups that the
            metric needs and that are missing, an unknown metric, or a setting out of range.
    """
    check_level(level)
    if resamples < 1:
        raise UsageError(f"resamples: expected at least 1, got {resamples}")
    splits = _by_split(cells)
    judge = _judge(metric, labels)
    scores = [[judge(cell) for cell in members] for members in splits]
    sets = [tuple(members[0].drawn(metric)) for members in splits]
    drawn = _resample(sets, scores, resamples, np.random.default_rng(seed))
    drawn[np.abs(drawn) < _ZERO] = 0.0
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return Difference(
        metric=metric,
        first=_mean_of_means([[one.first for one in members] for members in scores]),
        second=_mean_of_means([[one.second for one in members] for members in scores]),
        interval=Interval(float(low), float(high), level),
        standard_error=float(drawn.std(ddof=1)) if resamples > 1 else 0.0,
        p=min(1.0, 2 * (1 + min(below, above)) / (resamples + 1)),
        splits=len(splits),
        seeds=min(map(len, splits)),
        rows=min(len(members[0].golds) for members in splits),
        resamples=resamples,
        seed=seed,
    )


@dataclass(frozen=True)
class _Judged:
    """A cell's two scores, and what their difference is on drawn rows.

    `worth` takes rows `[k, n]` and the weight of each draw `[k]`, and gives `[k]`; it may skip what
    has no weight.
    """

    first: float
    second: float
    worth: Worth


def _judge(name: str, labels: Sequence[str]) -> Callable[[Cell], _Judged]:
    metric, positive = find_metric(name)
    base = name.partition(":")[0]

    def judge(cell: Cell) -> _Judged:
        def score(predictions: Sequence[Any], places: Sequence[int]) -> float:
            given, golds = _at(predictions, places), _at(cell.golds, places)
            groups = _at(cell.groups, places) if cell.groups else None
            return metric(given, golds, labels, positive, groups)

        everything = range(len(cell.golds))
        first, second = score(cell.first, everything), score(cell.second, everything)
        if base in (*MEANS_OF_ROWS, *MEANS_OF_GROUPS):
            return _Judged(first, second, _alone(cell, score, cell.drawn(name).values()))
        if base in SCORERS:
            scorers = [
                resampled_scorer(base, given, cell.golds, labels, positive)
                for given in (cell.first, cell.second)
            ]
            return _Judged(first, second, lambda rows, _: scorers[0](rows) - scorers[1](rows))
        return _Judged(first, second, _by_calls(cell, score))

    return judge


def _alone(cell: Cell, score: Score, drawn: Collection[Sequence[int]]) -> Worth:
    """Of a metric that is the mean of what each of the drawn is worth alone."""
    first, second = (
        np.array([score(given, places) for places in drawn]) for given in (cell.first, cell.second)
    )
    difference = first - second
    return lambda rows, weights: difference[rows].mean(axis=1)


def _by_calls(cell: Cell, score: Score) -> Worth:
    def worth(rows: Rows, weights: Numbers) -> Numbers:
        found = np.zeros(len(rows))
        for number in np.flatnonzero(weights):
            places = rows[number].tolist()
            found[number] = score(cell.first, places) - score(cell.second, places)
        return found

    return worth


def _resample(
    sets: Sequence[Sequence[Hashable]],
    scores: Sequence[Sequence[_Judged]],
    resamples: int,
    rng: np.random.Generator,
) -> Numbers:
    """Differences of `resamples` drawn data sets, `[resamples]`.

    Args:
        sets: what each split's test set has to draw: rows, or groups of them.
        scores: of each split's cells.

    A test set of several splits is drawn once for each resample; one of a single split anew for
    each time that this split is drawn, or its luck would be counted twice.
    """
    sizes = [len(ids) for ids in sets]
    shared = [ids for ids in dict.fromkeys(sets) if sets.count(ids) > 1]
    total = np.zeros(resamples)
    for start, count in _chunks(resamples, max(1, _AT_ONCE // max(sizes))):
        slots = rng.integers(len(sets), size=(count, len(sets)))
        common = {ids: rng.integers(len(ids), size=(count, len(ids))) for ids in shared}
        for number, (ids, members) in enumerate(zip(sets, scores, strict=True)):
            which = np.nonzero(slots == number)[0]  # the resample of each time it was drawn
            if ids in common:
                rows = common[ids][which]
            else:
                rows = rng.integers(len(ids), size=(len(which), len(ids)))
            weights = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), len(which)
            )
            for one, weight in zip(members, weights.T / len(members), strict=True):
                np.add.at(total, start + which, weight * one.worth(rows, weight))
    return total / len(sets)


def _by_split(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of each split, in order of first appearance, checked."""
    if not cells:
        raise UsageError("no cells to compare; expected at least one split with one seed")
    splits: dict[Hashable, dict[Hashable, Cell]] = {}
    golds: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        where = f"split {cell.split}, seed {cell.seed}"
        lengths = {len(column) for column in (cell.ids, cell.golds, cell.first, cell.second)}
        if len(lengths) > 1 or not cell.golds:
            counts = f"{len(cell.ids)} ids, {len(cell.golds)} golds, "
            counts += f"{len(cell.first)} and {len(cell.second)} predictions"
            raise UsageError(
                f"{where}: expected as many of each and at least one row; got {counts}"
            )
        members = splits.setdefault(cell.split, {})
        if cell.seed in members:
            raise UsageError(f"{where}: given twice")
        known = next(iter(members.values()), cell)
        if tuple(known.ids) != tuple(cell.ids):
            raise UsageError(f"{where}: other test rows than seed {known.seed} of the same split")
        same = golds.setdefault(tuple(cell.ids), cell)
        if list(same.golds) != list(cell.golds):
            raise UsageError(f"{where}: other golds than split {same.split}, seed {same.seed} has")
        members[cell.seed] = cell
    return [list(members.values()) for members in splits.values()]


def _chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(size, total - start)


def _at(values: Sequence[T], places: Sequence[int]) -> list[T]:
    return [values[place] for place in places]


def _mean_of_means(values: Sequence[Sequence[float]]) -> float:
    return float(np.mean([np.mean(members) for members in values]))
