"""The scores of a mixture of tasks: each task's own metrics on its own rows, and their mean.

A row's group begins with its task's name; what stands behind `OF_TASK` is its group within the task.
Knows no task: how one is scored comes with the rows (`Given.parts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from softprompt.data.columns import listed
from softprompt.data.metrics.metric import Given
from softprompt.errors import UsageError

OF_TASK = " › "
"""Between a task's name and what is its own, in ids and groups."""


def task_mean(given: Given) -> float:
    """The mean over the tasks of each one's first metric, however many rows each has.

    Raises:
        UsageError: rows that are of no mixture.
    """
    return fmean(next(iter(_scored(given, name).values())) for name in _rows(given))


def of_task(given: Given) -> float:
    """One metric of one task: "task:super_glue/cb:t5 macro_f1".

    Raises:
        UsageError: rows that are of no mixture, none of this task, or no such metric of it.
    """
    name, _, metric = (given.option or "").rpartition(" ")
    scores = _scored(given, name)
    if metric not in scores:
        raise UsageError(f"task:{given.option}: the task is scored by {listed(scores)}")
    return scores[metric]


def task_of(group: str | None) -> str:
    """The name of the task that a row of a mixture is of."""
    return (group or "").partition(OF_TASK)[0]


def _scored(given: Given, name: str) -> Mapping[str, float]:
    rows = _rows(given)
    if name not in rows:
        raise UsageError(f"no rows of task {name!r}; there are some of {listed(rows)}")
    places = rows[name]
    groups = given.groups or []
    return given.parts[name](
        [given.predictions[place] for place in places],
        [given.golds[place] for place in places],
        [(groups[place] or "").partition(OF_TASK)[2] or None for place in places],
    )


def _rows(given: Given) -> dict[str, list[int]]:
    """The rows of each task, in the order of the tasks."""
    found: dict[str, list[int]] = {name: [] for name in given.parts}
    for place, group in enumerate(given.groups or []):
        if (name := task_of(group)) in found:
            found[name].append(place)
    if sum(map(len, found.values())) != len(given.golds) or not found:
        raise UsageError("these metrics are for a mixture of tasks: a row is of none of its tasks")
    return {name: places for name, places in found.items() if places}
