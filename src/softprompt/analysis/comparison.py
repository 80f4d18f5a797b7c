"""The statistics of one table: systems on the same test rows, each with its seeds or splits.

Every figure of a report is made here: mean ± sd, interval, the majority class, the reference, Holm within
the table, and what the table could have shown at all. Knows predictions and golds, not models or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from softprompt.analysis.bootstrap import RESAMPLES, Cell, Difference, paired_bootstrap
from softprompt.analysis.power import (
    ALPHA,
    POWER,
    discordance,
    smallest_one_sided_difference,
    smallest_paired_difference,
    smallest_seed_difference,
)
from softprompt.analysis.significance import (
    SMALL_TEST_SET,
    Interval,
    Spread,
    holm_by_name,
    spread,
    wilson,
)
from softprompt.data.metrics import find_metric, hard, score
from softprompt.errors import UsageError

TIED = 1e-9
"""Means closer than this are equal."""

PROPORTIONS = ("accuracy", "exact_match")
"""Metrics that are a share of right rows."""


@dataclass(frozen=True)
class Judged:
    """One system once: trained on one split with one seed, tested.

    Args:
        split, seed: which.
        ids, golds, predictions: one per test row.
        groups: which rows belong together, one per test row; empty where the metric needs none.
    """

    split: int
    seed: int
    ids: Sequence[str]
    golds: Sequence[Any]
    predictions: Sequence[Any]
    groups: Sequence[str | None] = ()


@dataclass(frozen=True)
class System:
    """A row of the table.

    Args:
        name: unique in the table.
        judged: its runs; a system that knows no chance has a single one.
        dev: its scores on dev, which may choose the reference; none where it has none.
    """

    name: str
    judged: Sequence[Judged]
    dev: Sequence[float] = ()


@dataclass(frozen=True)
class Row:
    """What the table says of a system.

    Args:
        name: the system's.
        spread: mean and sample standard deviation over its runs.
        interval: of the mean; None where the metric has no worthless system to compare with.
        how: "Wilson" or "bootstrap".
        majority: system minus majority class; None where there is none.
        majority_p: Holm-adjusted among all rows.
        difference: system minus reference; None of the reference, and of a system on other rows.
        p: Holm-adjusted among all rows that are compared with the reference.
        by_rows, by_seeds: the smallest difference to the reference that these test rows, and these
            seeds, could have shown; None where it cannot be told.
        tied: systems with the same mean.
    """

    name: str
    spread: Spread
    interval: Interval | None
    how: str
    majority: Difference | None = None
    majority_p: float | None = None
    difference: Difference | None = None
    p: float | None = None
    by_rows: float | None = None
    by_seeds: float | None = None
    tied: tuple[str, ...] = ()

    @property
    def smallest(self) -> float | None:
        """The smallest difference to the reference that the table could have shown: the larger of what
        rows and what seeds allow."""
        known = [one for one in (self.by_rows, self.by_seeds) if one is not None]
        return max(known, default=None)

    @property
    def above_majority(self) -> bool | None:
        """Whether it is told from the majority class, and above it; None where nothing was tested."""
        if self.majority is None or self.majority_p is None:
            return None
        return self.majority_p <= ALPHA and self.majority.value > 0


@dataclass(frozen=True)
class Table:
    """All rows of one table.

    Args:
        metric: what is compared.
        rows: in the order given.
        reference: the system that the others are compared with, and why it is this one.
        why: in words.
        n: test rows, the fewest of a run.
        family: how many comparisons with the reference Holm adjusts for.
    """

    metric: str
    rows: tuple[Row, ...]
    reference: str
    why: str
    n: int
    family: int

    def row(self, name: str) -> Row:
        """The row of a system."""
        return next(row for row in self.rows if row.name == name)


def compare_systems(
    systems: Sequence[System],
    metric: str,
    labels: Sequence[str] = (),
    *,
    reference: str | None = None,
    why: str | None = None,
    majority: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Table:
    """Compare systems on the same rows.

    Args:
        systems: at least one, names unique, each with at least one run.
        metric: a name from `data.metrics.METRICS`.
        labels: the task's, for metrics that need them.
        reference: a system's name; by default the one with the best mean on dev (never on test:
            the best of a table would flatter itself), the first where none has a dev score.
        why: in words, why this one; by default "as asked".
        majority: name of the majority class among the systems.
        resamples, seed: of the bootstrap.
    Raises:
        UsageError: no systems, a name twice, one that is not there, or groups missing that the metric
            needs.
    """
    names = [one.name for one in systems]
    if not systems or len(set(names)) < len(names) or not all(one.judged for one in systems):
        raise UsageError("expected one or more systems with different names, and a run of each")
    for name in (reference, majority):
        if name is not None and name not in names:
            raise UsageError(f"no system '{name}' in the table; there are {', '.join(names)}")
    chosen, reason = (reference, why or "as asked") if reference else best_on_dev(systems, metric)
    known = {one.name: one for one in systems}
    options = _Options(metric, tuple(labels), resamples, seed)
    rows = [_alone(one, options) for one in systems]
    against = {
        name: _difference(known[name], known[chosen], options) for name in names if name != chosen
    }
    found = {name: one for name, one in against.items() if one is not None}
    least = {name: _smallest(known[name], known[chosen], options, len(found)) for name in found}
    adjusted = holm_by_name({name: one.p for name, one in found.items()})
    constant = {
        name: _difference(known[name], known[majority], options)
        for name in names
        if majority is not None and name != majority
    }
    beside = {name: one for name, one in constant.items() if one is not None}
    beside_p = holm_by_name({name: one.p for name, one in beside.items()})
    means = {row.name: row.spread.mean for row in rows}
    return Table(
        metric=metric,
        rows=tuple(
            replace(
                row,
                majority=beside.get(row.name),
                majority_p=beside_p.get(row.name),
                difference=found.get(row.name),
                p=adjusted.get(row.name),
                by_rows=least.get(row.name, (None, None))[0],
                by_seeds=least.get(row.name, (None, None))[1],
                tied=tuple(
                    other
                    for other, mean in means.items()
                    if other != row.name and abs(mean - row.spread.mean) < TIED
                ),
            )
            for row in rows
        ),
        reference=chosen,
        why=reason,
        n=min(len(run.golds) for one in systems for run in one.judged),
        family=len(found),
    )


@dataclass(frozen=True)
class _Options:
    metric: str
    labels: tuple[str, ...]
    resamples: int
    seed: int

    def score(self, run: Judged) -> float:
        given = (run.predictions, run.golds, self.labels, run.groups or None)
        return score([self.metric], *given)[self.metric]


def best_on_dev(systems: Sequence[System], metric: str) -> tuple[str, str]:
    """The system with the best mean on dev, and why it was chosen; the first where none has one."""
    sign = 1 if find_metric(metric)[0].higher_is_better else -1
    with_dev = [one for one in systems if one.dev]
    if not with_dev:
        return systems[0].name, "the first row; none has a dev score"
    means = {one.name: fmean(one.dev) for one in with_dev}
    best = max(means, key=lambda name: sign * means[name])
    tied = sum(abs(mean - means[best]) < TIED for mean in means.values())
    return best, "the highest mean on dev" + (f", the first of {tied}" if tied > 1 else "")


def _alone(system: System, options: _Options) -> Row:
    """Mean, sd and interval of one system.

    Below 500 rows a share gets Wilson's interval for its mean number of hits: over seeds that share
    their rows, rows are what there is too little of. Otherwise seeds and rows are drawn again.
    """
    found = spread([options.score(run) for run in system.judged])
    n = min(len(run.golds) for run in system.judged)
    if options.metric in PROPORTIONS and n < SMALL_TEST_SET:
        return Row(system.name, found, wilson(round(found.mean * n), n), "Wilson")
    nothing = System(
        "", [replace(run, predictions=_nothing(run, options)) for run in system.judged]
    )
    try:
        against = _difference(system, nothing, options)
    except UsageError:
        against = None
    known = against is not None and abs(against.second) < TIED
    interval = against.interval if against is not None and known else None
    return Row(system.name, found, interval, "bootstrap" if interval else "")


def _nothing(run: Judged, options: _Options) -> list[Any]:
    """Predictions that are worth 0, so that a system minus these is the system."""
    base = options.metric.partition(":")[0]
    constants: Mapping[str, Any] = {
        "matthews": options.labels[0] if options.labels else None,
        "pearson": 0.0,
        "spearman": 0.0,
    }
    return [constants.get(base)] * len(run.golds)


def _difference(first: System, second: System, options: _Options) -> Difference | None:
    """None where they were not tested on the same rows."""
    pairs = _pairs(first, second)
    if not pairs:
        return None
    cells = [
        Cell(
            split=key[0],
            seed=key[1],
            ids=one.ids,
            golds=one.golds,
            first=one.predictions,
            second=other.predictions,
            groups=one.groups,
        )
        for key, one, other in pairs
    ]
    return paired_bootstrap(
        cells, options.metric, options.labels, resamples=options.resamples, seed=options.seed
    )


def _pairs(first: System, second: System) -> list[tuple[tuple[int, int], Judged, Judged]]:
    """Runs of both on the same split with the same seed and rows; a single run stands beside all."""
    ones = {(run.split, run.seed): run for run in first.judged}
    others = {(run.split, run.seed): run for run in second.judged}
    keys = list(ones) if len(ones) >= len(others) else list(others)
    pairs = []
    for key in keys:
        one = ones.get(key) or _only(first)
        other = others.get(key) or _only(second)
        if one is not None and other is not None and list(one.ids) == list(other.ids):
            pairs.append((key, one, other))
    return pairs if len(pairs) == len(keys) else []


def _only(system: System) -> Judged | None:
    """The run that stands for every seed (of its split, where each split has its own)."""
    return system.judged[0] if len(system.judged) == 1 else None


def _smallest(
    first: System, second: System, options: _Options, family: int
) -> tuple[float | None, float | None]:
    """What rows and what seeds could have shown with power 0.8 at Holm's first step, alpha / family."""
    alpha = ALPHA / max(1, family)
    pairs = _pairs(first, second)
    by_rows = by_seeds = None
    if options.metric in PROPORTIONS:
        shares = [
            discordance(_right(one, options), _right(other, options)) for _, one, other in pairs
        ]
        n = min(len(one.golds) for _, one, _ in pairs)
        by_rows = smallest_paired_difference(n, fmean(shares), alpha, POWER)
        if by_rows is None:  # not even if all the rows that they differ on fell on one side
            by_rows = smallest_one_sided_difference(n, alpha)
    differences = [options.score(one) - options.score(other) for _, one, other in pairs]
    if len(differences) > 1 and (sd := stdev(differences)) > TIED:
        by_seeds = smallest_seed_difference(len(differences), sd, alpha, POWER, paired=True)
    return by_rows, by_seeds


def _right(run: Judged, options: _Options) -> list[bool]:
    if options.metric == "accuracy":
        return [
            p is not None and p == hard(g) for p, g in zip(run.predictions, run.golds, strict=True)
        ]
    rows = zip(run.predictions, run.golds, strict=True)
    return [score([options.metric], [p], [g], options.labels)[options.metric] > 0 for p, g in rows]
