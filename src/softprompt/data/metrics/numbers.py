"""Numbers against numbers: Pearson's and Spearman's correlation (STS-B).

A number may also be a text, as T5 writes it ("3.8"); a text that is none is an illegal output.
"""

from __future__ import annotations

import math
from typing import Any

from softprompt.data.metrics.metric import Given
from softprompt.errors import UsageError


def pearson(given: Given) -> float:
    """Pearson's correlation."""
    return _correlation("pearsonr", given)


def spearman(given: Given) -> float:
    """Spearman's rank correlation."""
    return _correlation("spearmanr", given)


def _numbers(given: Given) -> tuple[list[float], list[float]]:
    wanted = [_number(gold) for gold in given.golds]
    strange = next((g for g, n in zip(given.golds, wanted, strict=True) if n is None), None)
    golds = [number for number in wanted if number is not None]
    if len(golds) < len(wanted):
        raise UsageError(f"a correlation needs numbers, the gold {strange!r} is none")
    low, high = min(golds), max(golds)
    found = []
    for p, gold in zip(given.predictions, golds, strict=True):
        number = _number(p)
        farthest = low if gold - low > high - gold else high
        found.append(farthest if number is None else number)
    return found, golds


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _correlation(name: str, given: Given) -> float:
    import numpy as np
    from scipy import stats

    found, wanted = (np.asarray(numbers) for numbers in _numbers(given))
    # Spread within rounding error is no spread: SciPy warns there, and its answer is noise.
    if any(np.ptp(x) <= 1e-12 * max(1e-300, np.abs(x).max()) for x in (found, wanted)):
        return 0.0
    return float(getattr(stats, name)(found, wanted).statistic)
