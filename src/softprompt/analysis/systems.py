"""The systems of a table: what each of their fits said of the test rows, and which fits stand side by side.

Knows predictions and golds, no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Judged:
    """One system once: trained on one split with one seed, tested.

    Args:
        split, seed: which.
        ids, golds, predictions: one per test row.
        groups: which rows belong together, one per test row; empty where the metric needs none.
        parts: of a mixture of tasks, the same for each of them, in the order of the tasks.
    """

    split: int
    seed: int
    ids: Sequence[str]
    golds: Sequence[Any]
    predictions: Sequence[Any]
    groups: Sequence[str | None] = ()
    parts: Sequence[Judged] = ()


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


def pairs_of(first: System, second: System) -> list[tuple[tuple[int, int], Judged, Judged]]:
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
