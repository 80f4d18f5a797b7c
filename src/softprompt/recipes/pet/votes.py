"""How the models of an ensemble become one: weighted means of their label scores, and soft labels.

Schick and Schütze 2020 (arXiv 2001.07676), section 3. Pure functions of arrays; knows no models, no rows.
Scores are log-probabilities over the labels: they differ from the raw logits of the label words by a
number that is the same for all labels of an example, which no softmax over the labels sees.
Dimensions: M models, N examples, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Weighting = Literal["accuracy", "uniform"]


def weights_of(accuracies: Sequence[float], how: Weighting) -> NDArray[np.float64]:
    """The weight of each model, `[M]`, with sum 1.

    Args:
        accuracies: of each pattern on the training rows, before any training (nan: there are none).
        how: "accuracy" weighs by these; where all of them are 0 or unknown, all models weigh the same.
    """
    plain = np.ones(len(accuracies))
    given = np.nan_to_num(np.asarray(accuracies, dtype=np.float64), nan=0.0)
    chosen = given if how == "accuracy" and given.sum() > 0 else plain
    normed: NDArray[np.float64] = chosen / chosen.sum()
    return normed


def combined(scores: Sequence[Scores], weights: Sequence[float] | NDArray[np.float64]) -> Scores:
    """The weighted mean of the models' scores, `[N, C]`, up to one number per example.

    Args:
        scores: one `[N, C]` for each of the models.
        weights: one for each; their sum need not be 1. Where all of them are 0, all models weigh the same.
    Raises:
        ValueError: no model, or weights that are not one for each.
    """
    if not scores or len(weights) != len(scores):
        raise ValueError(f"{len(scores)} models, {len(weights)} weights")
    total = float(np.sum(weights))
    if total == 0:
        weights, total = [1.0] * len(scores), float(len(scores))
    found = np.zeros(scores[0].shape, dtype=np.float64)
    for one, weight in zip(scores, weights, strict=True):
        found += (float(weight) / total) * one
    return found.astype(np.float32)


def softmax(scores: Scores) -> NDArray[np.float64]:
    """Probabilities over the labels, `[N, C]`."""
    shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    raised = np.exp(shifted)
    shares: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return shares
