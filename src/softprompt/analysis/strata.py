"""What a bootstrap draws from: test sets of one task or several, and what drawn rows are worth.

Knows predictions, golds and metrics; nothing of how often rows are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from softprompt.analysis.confusions import SCORERS, Numbers, Rows, resampled_scorer
from softprompt.data.metrics import find_metric
from softprompt.errors import UsageError

MEANS_OF_ROWS = (
    *("accuracy", "exact_match", "token_f1", "record_em", "record_f1", "cmrc_f1", "wsc"),
    *("rouge_l", "rouge_1", "rouge_2"),
)
"""Metrics that are the mean of what each row is worth alone."""
MEANS_OF_GROUPS = ("multirc_em",)
"""Metrics that are the mean of what each group of rows is worth alone: groups are drawn whole."""

Score = Callable[[Sequence[Any], Sequence[int]], float]
Worth = Callable[[Rows, Numbers], Numbers]
T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """Both systems on one test set, trained on one split with one seed.

    Args:
        split: which training split; the outer level.
        seed: which seed within the split; (split, seed) is unique.
        ids: of the test rows; cells with equal ids share their test set.
        golds: one per row.
        first, second: the systems' predictions, one per row; None for an illegal output.
        groups: which rows belong together, one per row; empty where the metric needs none.
    """

    split: Hashable
    seed: Hashable
    ids: Sequence[str]
    golds: Sequence[Any]
    first: Sequence[Any]
    second: Sequence[Any]
    groups: Sequence[str | None] = ()

    def drawn(self, metric: str) -> dict[Hashable, list[int]]:
        """What a metric draws, rows or whole groups of them, and the places of their rows."""
        whole = metric.partition(":")[0] in MEANS_OF_GROUPS
        places: dict[Hashable, list[int]] = {}
        for place, name in enumerate(self.groups if whole else enumerate(self.ids)):
            places.setdefault(name, []).append(place)
        return places


@dataclass(frozen=True)
class Part:
    """A task of several, whose scores are meant.

    Args:
        cells: the systems on its test set; of all parts the same splits and seeds, in the same order.
        metric: its name.
        labels: the task's, in order, for metrics that need them.
    """

    cells: Sequence[Cell]
    metric: str
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Judging:
    """A cell's two scores, and what their difference is on drawn rows.

    `worth` takes rows `[k, n]` and the weight of each draw `[k]`, and gives `[k]`; it may skip what
    has no weight.
    """

    first: float
    second: float
    worth: Worth


@dataclass(frozen=True)
class Stratum:
    """A part, judged.

    Args:
        sets: what each split's test set has to draw: rows, or groups of them.
        scores: of each split's cells.
        rows: of the smallest test set.
    """

    sets: Sequence[Sequence[Hashable]]
    scores: Sequence[Sequence[Judging]]
    rows: int


def stratum(part: Part) -> Stratum:
    splits = _by_split(part.cells)
    judge = _judge(part.metric, part.labels)
    return Stratum(
        [tuple(members[0].drawn(part.metric)) for members in splits],
        [[judge(cell) for cell in members] for members in splits],
        min(len(members[0].golds) for members in splits),
    )


def _judge(name: str, labels: Sequence[str]) -> Callable[[Cell], Judging]:
    metric, positive = find_metric(name)
    base = name.partition(":")[0]

    def judge(cell: Cell) -> Judging:
        def score(predictions: Sequence[Any], places: Sequence[int]) -> float:
            given, golds = _at(predictions, places), _at(cell.golds, places)
            groups = _at(cell.groups, places) if cell.groups else None
            return metric(given, golds, labels, positive, groups)

        everything = range(len(cell.golds))
        first, second = score(cell.first, everything), score(cell.second, everything)
        if base in (*MEANS_OF_ROWS, *MEANS_OF_GROUPS):
            return Judging(first, second, _alone(cell, score, cell.drawn(name).values()))
        if base in SCORERS:
            scorers = [
                resampled_scorer(base, given, cell.golds, labels, positive)
                for given in (cell.first, cell.second)
            ]
            return Judging(first, second, lambda rows, _: scorers[0](rows) - scorers[1](rows))
        return Judging(first, second, _by_calls(cell, score))

    return judge


def _alone(cell: Cell, score: Score, drawn: Collection[Sequence[int]]) -> Worth:
    """Of a metric that is the mean of what each of the drawn is worth alone."""
    first, second = (
        np.array([score(given, places) for places in drawn]) for given in (cell.first, cell.second)
    )
    difference = first - second
    return lambda rows, weights: difference[rows].mean(axis=1)


def _by_calls(cell: Cell, score: Score) -> Worth:
    def worth(rows: Rows, weights: Numbers) -> Numbers:
        found = np.zeros(len(rows))
        for number in np.flatnonzero(weights):
            places = rows[number].tolist()
            found[number] = score(cell.first, places) - score(cell.second, places)
        return found

    return worth


def _by_split(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of each split, in order of first appearance, checked."""
    if not cells:
        raise UsageError("no cells to compare; expected at least one split with one seed")
    splits: dict[Hashable, dict[Hashable, Cell]] = {}
    golds: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        where = f"split {cell.split}, seed {cell.seed}"
        lengths = {len(column) for column in (cell.ids, cell.golds, cell.first, cell.second)}
        if len(lengths) > 1 or not cell.golds:
            counts = f"{len(cell.ids)} ids, {len(cell.golds)} golds, "
            counts += f"{len(cell.first)} and {len(cell.second)} predictions"
            raise UsageError(
                f"{where}: expected as many of each and at least one row; got {counts}"
            )
        members = splits.setdefault(cell.split, {})
        if cell.seed in members:
            raise UsageError(f"{where}: given twice")
        known = next(iter(members.values()), cell)
        if tuple(known.ids) != tuple(cell.ids):
            raise UsageError(f"{where}: other test rows than seed {known.seed} of the same split")
        same = golds.setdefault(tuple(cell.ids), cell)
        if list(same.golds) != list(cell.golds):
            raise UsageError(f"{where}: other golds than split {same.split}, seed {same.seed} has")
        members[cell.seed] = cell
    return [list(members.values()) for members in splits.values()]


def _at(values: Sequence[T], places: Sequence[int]) -> list[T]:
    return [values[place] for place in places]
