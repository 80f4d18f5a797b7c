"""The smallest difference that a table could have shown, before anyone reads it.

"No significant difference" says little where only a huge one could have been found. Knows counts
and spreads, not systems. All tests here are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from softprompt.errors import UsageError

ALPHA = 0.05
POWER = 0.8


def discordance(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Share of rows on which exactly one of two systems is right.

    Args:
        first, second: whether each system has each row right.
    Raises:
        UsageError: lists of different lengths, or no rows.
    """
    if len(first) != len(second) or not first:
        raise UsageError(f"expected the same rows twice, got {len(first)} and {len(second)}")
    return sum(bool(a) != bool(b) for a, b in zip(first, second, strict=True)) / len(first)


def smallest_paired_difference(
    n: int, discordance: float, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """The difference of two accuracies on the same n rows that a McNemar test finds with `power`.

    With q the discordance and d the true difference, the estimated difference has variance q/n
    where d is 0 and (q - d²)/n otherwise, so (Connor 1987)

        d √n = z(1-alpha/2) √q + z(power) √(q - d²),

    a quadratic in d, of which the positive root is given. A normal approximation: rough where fewer
    than some 20 rows are discordant (q n < 20).

    Args:
        n: rows.
        discordance: share of rows on which exactly one of the two is right, from a pilot or guess.
        alpha: level of the test.
        power: chance to find it.
    Returns:
        A difference of proportions, at most `discordance`; None where not even that would do.
    Raises:
        UsageError: n below 1, or a share out of range.
    """
    if n < 1 or not 0 <= discordance <= 1:
        raise UsageError(
            f"expected at least one row and a share of discordant ones, got {n} and {discordance}"
        )
    z_alpha, z_power = _normal_quantiles(alpha, power)
    first = z_alpha * math.sqrt(discordance)
    scale = n + z_power**2
    inside = first**2 * n - scale * discordance * (z_alpha**2 - z_power**2)
    if inside < 0 or discordance == 0:
        return None
    found = (first * math.sqrt(n) + math.sqrt(inside)) / scale
    return found if found <= discordance else None


def smallest_one_sided_difference(n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """As `smallest_paired_difference`, with all discordant rows on one side, so that q is d: the least
    that n rows show where systems differ on fewer rows than that.

    Args:
        n: rows.
        alpha, power: of the test.
    """
    critical, found = _normal_quantiles(alpha, power)
    low, high = 0.0, 1.0
    for _ in range(60):
        d = (low + high) / 2
        enough = d * n**0.5 >= critical * d**0.5 + found * max(0.0, d - d * d) ** 0.5
        low, high = (low, d) if enough else (d, high)
    return high


def smallest_seed_difference(
    seeds: int, sd: float, alpha: float = ALPHA, power: float = POWER, paired: bool = False
) -> float:
    """The difference of two means over S seeds that a t-test finds with `power`.

    Two groups of S seeds: t = d / (sd √(2/S)) with 2S - 2 degrees of freedom. Paired by seed
    (the same splits for both): t = d / (sd / √S) with S - 1, where sd is that of the differences.
    The power is that of the noncentral t distribution (both tails), solved for d; from five seeds
    on, t(1-alpha/2) + t(power) standard errors come close to it. In units of the score;
    holds for seeds only, the rows of the test set being what they are.

    Args:
        seeds: S, of each system; at least 2.
        sd: sample standard deviation over seeds, or of the differences if `paired`.
        alpha: level of the test.
        power: chance to find it, above alpha.
        paired: whether both systems have the same seeds.
    Raises:
        UsageError: fewer than two seeds, a negative sd, or a share out of range.
    """
    if seeds < 2:
        raise UsageError(f"a spread over seeds takes at least two of them, got {seeds}")
    if not (math.isfinite(sd) and sd >= 0):
        raise UsageError(f"sd: expected a number from 0, got {sd}")
    _normal_quantiles(alpha, power)
    freedom = seeds - 1 if paired else 2 * seeds - 2
    error = sd / math.sqrt(seeds) if paired else sd * math.sqrt(2 / seeds)
    return error * _noncentrality(freedom, alpha, power)


def _noncentrality(freedom: int, alpha: float, power: float) -> float:
    """How many standard errors a t-test of this level finds with this power."""
    import numpy as np
    from scipy import optimize, special, stats

    critical = float(stats.t.isf(alpha / 2, freedom))
    # Given the estimated spread the test is a normal one: its power is averaged over that spread
    # (Gauss and Legendre's rule on its quantiles). SciPy's noncentral t is not a number far out.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    limits = critical * np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom)

    def lacking(shift: float) -> float:
        found = special.ndtr(shift - limits) + special.ndtr(-shift - limits)
        return float(weights @ found) / 2 - power

    high = critical + 1.0
    while lacking(high) < 0:
        high *= 2
    return float(optimize.brentq(lacking, 0.0, high))


def _normal_quantiles(alpha: float, power: float) -> tuple[float, float]:
    if not 0 < alpha < power < 1:
        raise UsageError(f"expected 0 < alpha < power < 1, got alpha {alpha}, power {power}")
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)
