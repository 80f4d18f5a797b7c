"""Whether a model's probabilities are worth what they say: calibration error, Brier score, loss.

Knows probabilities and golds, not models: one mapping of label to probability per row, as
`inference.predict.Prediction.probabilities` has it; rows may have candidates of their own.

The calibration error of few rows is biased upwards: with n rows in 15 bins, even a perfectly
calibrated model shows some error of the order of √(15 / n). Compare on equal n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softprompt.data.examples import Target
from softprompt.data.metrics import hard
from softprompt.errors import UsageError

BINS = 15
"""Guo et al. 2017's number."""
FLOOR = 1e-30
"""A probability below this counts as this in the loss, as in `inference.evaluate`."""
SLACK = 1e-3
"""How far the probabilities of a row may be from summing to 1: they may have been rounded."""

Binning = Literal["width", "mass"]
Probabilities = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Bin:
    """Rows whose highest probability lies above `low` and at most at `high`.

    The first bin by mass begins with its smallest confidence.

    Args:
        low, high: the bin's edges.
        n: rows in it, at least one.
        confidence: mean of their highest probability.
        accuracy: share of them that are right.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit.

    Args:
        ece: expected calibration error, 0 to 1: mean over rows of |accuracy - confidence| of the
            row's bin (Guo et al. 2017, equation 3).
        brier: mean over rows of the squared distance between probabilities and gold, summed over
            labels, 0 to 2 (Brier 1950).
        nll: mean negative log likelihood of the gold, nats.
        accuracy, confidence: means over all rows.
        n: rows.
        bins: those that hold any row, in order.
    """

    ece: float
    brier: float
    nll: float
    accuracy: float
    confidence: float
    n: int
    bins: tuple[Bin, ...]


def calibration(
    probabilities: Probabilities,
    golds: Sequence[Target],
    bins: int = BINS,
    binning: Binning = "width",
) -> Calibration:
    """Measure calibration on labelled rows.

    Args:
        probabilities: label to probability, one mapping per row; the first label wins ties.
        golds: a label each, or a distribution over labels (its likeliest label judges accuracy).
        bins: how many.
        binning: "width", equal parts of 0 to 1 (Guo et al. 2017); or "mass", equally many rows in
            each as far as ties allow (adaptive: Nguyen and O'Connor 2015): less is hidden where
            nearly all confidences are close to 1.
    Raises:
        UsageError: no rows, lists of different lengths, a row without probabilities (its answer was
            generated) or whose probabilities are none, a gold that is no label of its row, bins
            below 1, or an unknown binning.
    """
    _check(probabilities, golds, bins, binning)
    chosen = [max(row, key=row.__getitem__) for row in probabilities]
    confidence = np.array([row[best] for row, best in zip(probabilities, chosen, strict=True)])
    right = np.array([best == str(hard(gold)) for best, gold in zip(chosen, golds, strict=True)])
    wanted = [gold if isinstance(gold, Mapping) else {str(gold): 1.0} for gold in golds]
    pairs = list(zip(probabilities, wanted, strict=True))
    brier = math.fsum(
        (p - gold.get(label, 0.0)) ** 2 for row, gold in pairs for label, p in row.items()
    )
    loss = -math.fsum(
        share * math.log(max(FLOOR, row[label]))
        for row, gold in pairs
        for label, share in gold.items()
    )
    edges = _equal_widths(bins) if binning == "width" else _equal_masses(confidence, bins)
    found = _bins(confidence, right, edges)
    n = len(golds)
    return Calibration(
        ece=math.fsum(one.n * abs(one.accuracy - one.confidence) for one in found) / n,
        brier=brier / n,
        nll=loss / n,
        accuracy=float(right.mean()),
        confidence=math.fsum(confidence) / n,
        n=n,
        bins=found,
    )


def _equal_widths(bins: int) -> NDArray[np.float64]:
    return np.linspace(0.0, 1.0, bins + 1)


def _equal_masses(confidence: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Edges behind every n/bins rows in order of confidence; equal confidences share a bin."""
    ordered = np.sort(confidence)
    last = np.ceil(np.arange(1, bins + 1) * len(ordered) / bins).astype(np.int64) - 1
    return np.concatenate([ordered[:1], np.unique(ordered[np.maximum(last, 0)])])


def _bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], edges: NDArray[np.float64]
) -> tuple[Bin, ...]:
    """Each row in the bin with low < confidence <= high; what rounding left outside, at the ends."""
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)
    made = []
    for place in np.unique(places).tolist():
        here = places == place
        n = int(here.sum())
        made.append(
            Bin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                n=n,
                confidence=math.fsum(confidence[here]) / n,
                accuracy=float(right[here].sum()) / n,
            )
        )
    return tuple(made)


def _check(
    probabilities: Probabilities, golds: Sequence[Target], bins: int, binning: Binning
) -> None:
    if binning not in ("width", "mass"):
        raise UsageError(f"binning: expected 'width' or 'mass', got {binning!r}")
    if bins < 1:
        raise UsageError(f"bins: expected at least 1, got {bins}")
    if len(probabilities) != len(golds) or not golds:
        raise UsageError(
            f"expected one row of probabilities per gold and at least one; got {len(probabilities)} "
            f"and {len(golds)}"
        )
    for number, (row, gold) in enumerate(zip(probabilities, golds, strict=True), start=1):
        if not row:
            raise UsageError(
                f"row {number} has no probabilities: its answer was generated; predict by rank"
            )
        if not (all(p >= 0 for p in row.values()) and abs(math.fsum(row.values()) - 1) <= SLACK):
            raise UsageError(f"row {number}: expected probabilities that sum to 1, got {dict(row)}")
        labels = set(gold) if isinstance(gold, Mapping) else {str(gold)}
        if not labels <= set(row):
            raise UsageError(f"row {number}: the gold {gold!r} is none of its labels {list(row)}")
