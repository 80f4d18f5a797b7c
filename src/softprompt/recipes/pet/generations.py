"""iPET: how large each generation's training sets are, and which unlabelled rows enter them.

Schick and Schütze 2020 (arXiv 2001.07676), section 3.4. Pure functions; a generator is the only source of
chance. Knows scores and counts, not models, rows or files.
Dimensions: M models, N unlabelled examples, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softprompt.recipes.pet.votes import Scores, combined, softmax

LARGEST = 1_000
"""The paper's generations end where the training sets reach a thousand rows."""


@dataclass(frozen=True)
class Picked:
    """Newly labelled rows for one model.

    Args:
        rows: their numbers in the pool; one stands twice only where a label had too few.
        labels: the label of each.
        wanted: how many of each label were asked for, `[C]`.
        found: how many different rows the pool had of each, `[C]`.
    """

    rows: tuple[int, ...]
    labels: tuple[int, ...]
    wanted: tuple[int, ...]
    found: tuple[int, ...]

    @property
    def exhausted(self) -> bool:
        """Whether the pool had too few rows of a label, so that some stand twice."""
        return any(0 < there < n for there, n in zip(self.found, self.wanted, strict=True))

    @property
    def absent(self) -> tuple[int, ...]:
        """Labels that were asked for and that no row of the pool looked like."""
        asked = enumerate(zip(self.found, self.wanted, strict=True))
        return tuple(label for label, (there, wanted) in asked if wanted and not there)


def n_generations(labelled: int, growth: float, first: int = 10, largest: int = LARGEST) -> int:
    """k = ⌈log_d(1000 / |T|)⌉: 3 for 10 rows, 2 for 50 or 100; without labelled rows 4, of 10, 50, 250 and
    1,250 rows.

    Args:
        labelled: |T|.
        growth: d, above 1.
        first: rows of the first generation where there are no labelled ones.
    """
    start = labelled or first / growth
    if start >= largest:
        return 1
    # 1000 / 8 = 5³ exactly: floating logarithms must not make a fourth generation of it.
    return max(1, math.ceil(round(math.log(largest / start, growth), 9)))


def sizes(counts: Sequence[float], growth: float, generation: int, first: int = 10) -> list[int]:
    """How many newly labelled rows of each label generation j adds, `[C]`: d^j·|T| rows in all, T among
    them, in T's own ratio of labels.

    Args:
        counts: the rows of each label in T; one that is shared by several adds its share to each.
        growth: d.
        generation: j, from 1.
        first: rows of the first generation, spread evenly, where T is empty (zero-shot iPET); the next
            ones are d times as large each.
    """
    labelled = round(sum(counts))
    if labelled == 0:
        total = round(first * growth ** (generation - 1))
        return _spread(total, [1.0] * len(counts))
    return _spread(round(labelled * growth**generation) - labelled, counts)


def _spread(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in given proportions with a given sum; the largest remainders round up."""
    exact = [total * share / sum(shares) for share in shares]
    whole = [math.floor(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda place: (whole[place] - exact[place], place))
    for place in order[: total - sum(whole)]:
        whole[place] += 1
    return whole


def others(n: int, own: int, share: float, generator: np.random.Generator) -> list[int]:
    """The models that label for one of them: round(λ·(n − 1)) of the others, at least one.

    Args:
        n: models.
        own: the one that is labelled for.
        share: λ.
    Raises:
        ValueError: there is no other model.
    """
    rest = [number for number in range(n) if number != own]
    if not rest:
        raise ValueError("a single model has no other one to label for it")
    count = max(1, round(share * len(rest)))
    drawn = generator.choice(len(rest), size=min(count, len(rest)), replace=False)
    return sorted(rest[number] for number in drawn)


def pick(
    scores: Sequence[Scores],
    weights: Sequence[float],
    wanted: Sequence[int],
    generator: np.random.Generator,
    *,
    likeliest: int | None = None,
) -> Picked:
    """Label the pool with some models and draw rows for another one.

    The models' weighted scores give each row its likeliest label; within a label rows are drawn without
    replacement, with probability proportional to the share of that label. A label of which the pool has
    too few gives all it has, again and again.

    Args:
        scores: of the models that label, each `[N, C]`.
        weights: of these models.
        wanted: rows of each label, `[C]`.
        likeliest: draw from so many rows with the highest share of each label, whichever label is
            likeliest there (zero-shot iPET: 100); None: from all rows that have it for their likeliest.
    """
    shares = softmax(combined(scores, weights))
    best = shares.argmax(axis=1)
    rows: list[int] = []
    labels: list[int] = []
    found: list[int] = []
    for label, count in enumerate(wanted):
        if likeliest is None:
            pool = np.flatnonzero(best == label)
        else:
            pool = np.argsort(-shares[:, label], kind="stable")[:likeliest]
        drawn = _drawn(pool, shares[pool, label], count, generator)
        rows += drawn
        labels += [label] * len(drawn)
        found.append(min(len(pool), count))
    return Picked(tuple(rows), tuple(labels), tuple(wanted), tuple(found))


def _drawn(
    pool: NDArray[np.intp], shares: NDArray[np.float64], count: int, generator: np.random.Generator
) -> list[int]:
    if count == 0 or not len(pool):
        return []
    once = generator.choice(
        pool, size=min(count, len(pool)), replace=False, p=shares / shares.sum()
    ).tolist()
    return [int(once[number % len(once)]) for number in range(count)]
