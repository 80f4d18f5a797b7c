"""What a handful of figures can bear: intervals, families of tests, and the majority class.

Closed forms and exact tests on counts; knows numbers, not predictions' origin. Resampling is in
`bootstrap`, what a table could have shown at all in `power`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softprompt.data.metrics import hard
from softprompt.errors import UsageError

SMALL_TEST_SET = 500
"""Below this many rows a report shows Wilson's interval beside a proportion."""


@dataclass(frozen=True)
class Interval:
    """An interval at a level, such as 0.95."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of a score over seeds; no sd for a single one."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.sd is None else f"{self.mean:.3f} ± {self.sd:.3f}"


def spread(values: Sequence[float]) -> Spread:
    """Mean ± sample standard deviation of a score over seeds.

    Raises:
        UsageError: no values.
    """
    if not values:
        raise UsageError("no scores to take the mean of")
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, len(values))


def wilson(hits: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927), without continuity correction.

    Unlike mean ± z·se it stays within 0 to 1 and does not shrink to a point at 0 or n hits
    (Brown, Cai and DasGupta 2001 recommend it for small n).

    Args:
        hits: rows that are right.
        n: all rows.
        level: between 0 and 1.
    Raises:
        UsageError: no rows, hits not between 0 and n, or a level out of range.
    """
    from scipy import stats

    check_level(level)
    if n < 1 or not 0 <= hits <= n:
        raise UsageError(f"expected 0 to n hits of at least one row, got {hits} of {n}")
    found = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return Interval(float(found.low), float(found.high), level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of one family of tests, in the order given (Holm 1979).

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection
    within the family at alpha, however the tests depend on each other.

    Args:
        p_values: of all tests that were made for one claim, also of those not worth showing.
    Raises:
        UsageError: a value that is not between 0 and 1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise UsageError(f"a p-value lies between 0 and 1, got {p}")
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def holm_by_name(p_values: Mapping[str, float]) -> dict[str, float]:
    """`holm` for a family whose tests have names."""
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


@dataclass(frozen=True)
class AgainstMajority:
    """A system's accuracy beside the majority class's, on the same rows.

    Args:
        label: the majority class.
        accuracy, majority: of the system and of always saying `label`.
        n: rows.
        gained: rows that only the system has right.
        lost: rows that only the majority class has right.
        p: two-sided, exact.
    """

    label: str
    accuracy: float
    majority: float
    n: int
    gained: int
    lost: int
    p: float

    def verdict(self, alpha: float = 0.05) -> str:
        """One line for a report."""
        figures = f"{self.accuracy:.3f}, always '{self.label}': {self.majority:.3f}"
        figures += f", n = {self.n}, p = {self.p:.2g}"
        if self.p > alpha:
            return f"cannot be told from the majority class ({figures})"
        side = "above" if self.gained > self.lost else "below"
        return f"{side} the majority class ({figures})"


def against_majority(
    predictions: Sequence[Any], golds: Sequence[Any], majority: str
) -> AgainstMajority:
    """Test whether a system's accuracy differs from that of one constant answer.

    Both are judged on the same rows, so only rows on which one of them alone is right tell them
    apart: an exact binomial test of these (McNemar 1947 in its exact form). A test against a fixed
    rate would forget that the majority's share of these rows is itself drawn by chance. For another
    metric than accuracy, give `bootstrap.paired_bootstrap` the constant answer as a second system.

    Args:
        predictions: one per row; None is wrong.
        golds: labels, or distributions over labels.
        majority: the constant answer: the most frequent label *of train*.
    Raises:
        UsageError: lists of different lengths, or no rows.
    """
    if len(predictions) != len(golds) or not golds:
        raise UsageError(f"expected one prediction per gold, got {len(predictions)}, {len(golds)}")
    wanted = [hard(gold) for gold in golds]
    right = [p is not None and p == gold for p, gold in zip(predictions, wanted, strict=True)]
    constant = [gold == majority for gold in wanted]
    gained = sum(a and not b for a, b in zip(right, constant, strict=True))
    lost = sum(b and not a for a, b in zip(right, constant, strict=True))
    n = len(wanted)
    return AgainstMajority(
        majority, sum(right) / n, sum(constant) / n, n, gained, lost, sign_test(gained, lost)
    )


def sign_test(gained: int, lost: int) -> float:
    """Two-sided exact p that wins and losses are equally likely; 1 where there are none.

    Raises:
        UsageError: a negative count.
    """
    from scipy import stats

    if min(gained, lost) < 0:
        raise UsageError(f"counts are not negative, got {gained} and {lost}")
    if gained == lost:
        return 1.0
    return min(1.0, float(stats.binomtest(gained, gained + lost).pvalue))


def check_level(level: float) -> None:
    """Refuse a confidence level that is not between 0 and 1.

    Raises:
        UsageError: it is not.
    """
    if not (math.isfinite(level) and 0 < level < 1):
        raise UsageError(f"level: expected between 0 and 1, such as 0.95, got {level}")
