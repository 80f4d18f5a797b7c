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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from softprompt.analysis.confusions import Numbers
from softprompt.analysis.significance import Interval, check_level
from softprompt.analysis.strata import Cell, Judging, Part, Stratum, stratum
from softprompt.errors import UsageError

RESAMPLES = 2000
_AT_ONCE = 1 << 21
"""Row numbers drawn at once: memory; the draws depend on it."""
_ZERO = 1e-12
"""A difference this small is none: what sums of floats leave of equal scores."""


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
    parts = [Part(cells, metric, labels)]
    return bootstrap_of_mean(parts, metric, resamples=resamples, level=level, seed=seed)


def bootstrap_of_mean(
    parts: Sequence[Part],
    metric: str,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two systems by the mean of their scores on several tasks, learned together.

    Splits and seeds are drawn once for all tasks, for a fit is one; rows are drawn in each task by
    itself, as many as it has, so that every task weighs the same in each resample.

    Args:
        parts: at least one.
        metric: what the mean is called.
        resamples, level, seed: as of `paired_bootstrap`.
    Raises:
        UsageError: as of `paired_bootstrap`; no parts, or parts of different splits or seeds.
    """
    check_level(level)
    if resamples < 1:
        raise UsageError(f"resamples: expected at least 1, got {resamples}")
    if len({tuple((cell.split, cell.seed) for cell in part.cells) for part in parts}) != 1:
        raise UsageError("expected one or more parts with the same splits and seeds")
    strata = [stratum(part) for part in parts]
    drawn = _resample(strata, resamples, np.random.default_rng(seed))
    drawn[np.abs(drawn) < _ZERO] = 0.0
    splits = strata[0].scores
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return Difference(
        metric=metric,
        first=fmean(_mean(one.scores, lambda cell: cell.first) for one in strata),
        second=fmean(_mean(one.scores, lambda cell: cell.second) for one in strata),
        interval=Interval(float(low), float(high), level),
        standard_error=float(drawn.std(ddof=1)) if resamples > 1 else 0.0,
        p=min(1.0, 2 * (1 + min(below, above)) / (resamples + 1)),
        splits=len(splits),
        seeds=min(map(len, splits)),
        rows=sum(one.rows for one in strata),
        resamples=resamples,
        seed=seed,
    )


def _resample(strata: Sequence[Stratum], resamples: int, rng: np.random.Generator) -> Numbers:
    """Differences of `resamples` drawn data sets, each the mean over the strata, `[resamples]`.

    A test set of several splits is drawn once for each resample; one of a single split anew for
    each time that this split is drawn, or its luck would be counted twice.
    """
    count_splits = len(strata[0].sets)
    largest = max(len(ids) for one in strata for ids in one.sets)
    shared = [[i for i in dict.fromkeys(one.sets) if one.sets.count(i) > 1] for one in strata]
    total = np.zeros(resamples)
    for start, count in _chunks(resamples, max(1, _AT_ONCE // largest)):
        slots = rng.integers(count_splits, size=(count, count_splits))
        common = [
            {ids: rng.integers(len(ids), size=(count, len(ids))) for ids in several}
            for several in shared
        ]
        for number in range(count_splits):
            which = np.nonzero(slots == number)[0]  # the resample of each time it was drawn
            drawn = []
            for one, known in zip(strata, common, strict=True):
                ids = one.sets[number]
                fresh = (len(which), len(ids))
                rows = known[ids][which] if ids in known else rng.integers(len(ids), size=fresh)
                drawn.append(rows)
            n_seeds = len(strata[0].scores[number])
            weights = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), len(which))
            for one, rows in zip(strata, drawn, strict=True):
                for cell, weight in zip(one.scores[number], weights.T / n_seeds, strict=True):
                    np.add.at(total, start + which, weight * cell.worth(rows, weight))
    return total / count_splits / len(strata)


def _chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(size, total - start)


def _mean(scores: Sequence[Sequence[Judging]], of: Callable[[Judging], float]) -> float:
    """Over splits of the mean over seeds."""
    return float(np.mean([np.mean([of(one) for one in members]) for members in scores]))
