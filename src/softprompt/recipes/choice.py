"""Which variant of a sweep is the best: by its mean dev score over the seeds, and how ties are settled.

Pure functions of scores. A run without a sweep is the choice of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from softprompt.errors import RunError
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.prepare import Bound

SAME = 1e-9
"""Means closer than this are one: sums of the same shares in another order differ by less."""


class Weighed(Protocol):
    """What can be chosen among: scores of fits on dev, how large they are, why one cannot be chosen."""

    @property
    def failure(self) -> str | None: ...

    @property
    def n_learned(self) -> int: ...

    def values(self, split: str, metric: str) -> list[float]: ...


class Outcomes:
    """What is chosen from has in common: what came of its fits, one for each seed."""

    outcomes: Sequence[Outcome]

    @property
    def failure(self) -> str | None:
        """Why it cannot be chosen: one of its fits did not reach its end."""
        found = [outcome.failure for outcome in self.outcomes if outcome.failure is not None]
        return "\n".join(found) or None

    @property
    def n_learned(self) -> int:
        return self.outcomes[0].n_learned

    def values(self, split: str, metric: str) -> list[float]:
        """A metric on a split, one value per seed; none where one failed."""
        if self.failure is not None:
            return []
        return [
            o.metrics[split][metric] for o in self.outcomes if metric in o.metrics.get(split, {})
        ]


@dataclass(frozen=True)
class Tried(Outcomes):
    """A variant and what came of it.

    Args:
        bound: the variant.
        outcomes: one per seed.
    """

    bound: Bound
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Choice:
    """The variant that was chosen.

    Args:
        index: its place.
        order: the places of all variants, the best one first, those that failed last.
        tied: how many have the best mean dev score.
        settled: what told those apart: "lower dev loss", "fewer parameters" or "coming first";
            empty where one is the best.
    """

    index: int
    order: Sequence[int]
    tied: int
    settled: str


def choose(tried: Sequence[Weighed], metric: str, higher_is_better: bool = True) -> Choice:
    """The best variant by mean dev metric; of equals the one with the lowest mean dev loss (if each has
    one), then with the fewest parameters, then the first.

    Raises:
        RunError: every variant failed; says why.
    """
    sound = [place for place, one in enumerate(tried) if one.failure is None]
    if not sound:
        raise RunError("\n".join(dict.fromkeys(one.failure or "" for one in tried[:3])))
    sign = -1.0 if higher_is_better else 1.0
    costs = {place: _cost(tried[place].values("dev", metric), sign) for place in sound}
    losses = {place: _cost(tried[place].values("dev", "loss"), 1.0) for place in sound}
    least = min(costs.values())
    best = [place for place in sound if _same(costs[place], least)]
    if any(losses[place] == math.inf for place in best):
        losses = dict.fromkeys(sound, 0.0)

    def rank(place: int) -> tuple[float, int, int]:
        return losses[place], tried[place].n_learned, place

    first, *others = sorted(best, key=rank)
    rest = sorted(set(sound) - set(best), key=lambda place: (costs[place], *rank(place)))
    failed = [place for place in range(len(tried)) if place not in costs]
    settled = ""
    if others:
        ways = ("lower dev loss", "fewer parameters", "coming first")
        pairs = zip(ways, rank(first), rank(others[0]), strict=True)
        settled = next(way for way, one, other in pairs if one != other)
    return Choice(first, [first, *others, *rest, *failed], len(best), settled)


def _same(one: float, other: float) -> bool:
    return one == other or abs(one - other) < SAME


def _cost(values: Sequence[float], sign: float) -> float:
    """The mean, lower is better; infinite where there is none or it is not a number."""
    mean = fmean(values) if values else math.nan
    return math.inf if math.isnan(mean) else sign * mean
