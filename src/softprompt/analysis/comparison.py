"""The statistics of one table: systems on the same test rows, each with its seeds or splits.

Every figure of a report is made here: mean ± sd, interval, the majority class, the reference, Holm within
the table, and what the table could have shown at all. Knows predictions and golds, not models or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from softprompt.analysis.bootstrap import RESAMPLES, Difference, bootstrap_of_mean
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
from softprompt.analysis.strata import Cell, Part
from softprompt.analysis.systems import Judged, System, pairs_of
from softprompt.data.metrics import find_metric, hard, score
from softprompt.errors import UsageError

TIED = 1e-9
"""Means closer than this are equal."""

PROPORTIONS = ("accuracy", "exact_match")
"""Metrics that are a share of right rows."""


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
    parts: Sequence[tuple[str, Sequence[str]]] = (),
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
        parts: of a mixture, metric and labels of each of its tasks, as `Judged.parts` has them; then a
            score is the mean over the tasks.
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
    options = _Options(metric, tuple(labels), tuple(parts), resamples, seed)
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
    parts: tuple[tuple[str, Sequence[str]], ...]
    resamples: int
    seed: int

    def tasks(self, run: Judged) -> list[tuple[Judged, str, Sequence[str]]]:
        """Each task's rows with its metric and labels: a mixture's, or the one there is."""
        if not self.parts:
            return [(run, self.metric, self.labels)]
        return [(one, *how) for one, how in zip(run.parts, self.parts, strict=True)]

    def score(self, run: Judged) -> float:
        return fmean(
            score([metric], one.predictions, one.golds, labels, one.groups or None)[metric]
            for one, metric, labels in self.tasks(run)
        )


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
    nothing = System("", [_nothing(run, options) for run in system.judged])
    try:
        against = _difference(system, nothing, options)
    except UsageError:
        against = None
    known = against is not None and abs(against.second) < TIED
    interval = against.interval if against is not None and known else None
    return Row(system.name, found, interval, "bootstrap" if interval else "")


def _nothing(run: Judged, options: _Options) -> Judged:
    """The run with predictions that are worth 0, so that a system minus these is the system."""
    worthless = []
    for one, metric, labels in options.tasks(run):
        constants: Mapping[str, Any] = {
            "matthews": labels[0] if labels else None,
            "pearson": 0.0,
            "spearman": 0.0,
        }
        given = [constants.get(metric.partition(":")[0])] * len(one.golds)
        worthless.append(replace(one, predictions=given))
    return replace(run, parts=worthless) if options.parts else worthless[0]


def _difference(first: System, second: System, options: _Options) -> Difference | None:
    """None where they were not tested on the same rows."""
    pairs = pairs_of(first, second)
    if not pairs:
        return None
    cells: list[list[Cell]] = [[] for _ in options.parts or (options.metric,)]
    for (split, seed), one, other in pairs:
        both = zip(options.tasks(one), options.tasks(other), strict=True)
        for number, ((run, _, _), (beside, _, _)) in enumerate(both):
            said = (run.predictions, beside.predictions)
            cells[number].append(Cell(split, seed, run.ids, run.golds, *said, run.groups))
    how = options.parts or ((options.metric, options.labels),)
    parts = [Part(own, metric, labels) for own, (metric, labels) in zip(cells, how, strict=True)]
    return bootstrap_of_mean(parts, options.metric, resamples=options.resamples, seed=options.seed)


def _smallest(
    first: System, second: System, options: _Options, family: int
) -> tuple[float | None, float | None]:
    """What rows and what seeds could have shown with power 0.8 at Holm's first step, alpha / family."""
    alpha = ALPHA / max(1, family)
    pairs = pairs_of(first, second)
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
