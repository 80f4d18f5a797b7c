"""From the loop's reports to a watcher: each fit of an ordinary run, a group's summary of a sweep.

Knows fits by their names only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from softprompt.data.metrics import find_metric
from softprompt.recipes.watching import Progress, Watcher
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import Job


class Following:
    """Tells a watcher how the fits of an ordinary run go on, and their alarms once each.

    Args:
        jobs: all of the run.
        told: the watcher.
    """

    def __init__(self, jobs: Sequence[Job], told: Watcher):
        self._numbers = {job.name: number for number, job in enumerate(jobs)}
        self._told = told
        self._alarmed: set[tuple[str, str]] = set()

    def begin(self, group: Sequence[Job]) -> None:
        """These are fitted next."""

    def end(self) -> None:
        """They are done."""

    def __call__(self, fit: Fit, record: Mapping[str, Any]) -> None:
        """A step of a fit; see `Loop.report`."""
        name = f"seed {fit.seed}"
        for alarm in fit.alarms if "dev" in record else ():
            if (fit.name, alarm.kind) not in self._alarmed:
                self._alarmed.add((fit.name, alarm.kind))
                self._told.warning(f"{name}, step {fit.step}: {alarm.message}")
        self._told.progress(
            Progress(
                fit=self._numbers[fit.name],
                name=name,
                step=fit.step,
                steps=fit.settings.steps,
                examples=fit.settings.batch_size,
                metric=fit.data.metrics[0],
                record=record,
            )
        )


class FollowingSweep(Following):
    """One line for all fits of a group: their mean loss, and at evaluations the best dev score.

    Each kind of alarm is told once; the report has them all for the variant that is chosen.
    """

    def __init__(self, jobs: Sequence[Job], told: Watcher):
        super().__init__(jobs, told)
        self._group: Sequence[Job] = ()
        self._step = 0
        self._records: list[Mapping[str, Any]] = []
        self._metric = jobs[0].task.metrics[0]

    def begin(self, group: Sequence[Job]) -> None:
        self._group, self._step, self._records = group, 0, []

    def end(self) -> None:
        self._summarise()

    def __call__(self, fit: Fit, record: Mapping[str, Any]) -> None:
        for alarm in fit.alarms if "dev" in record else ():
            if ("", alarm.kind) not in self._alarmed:
                self._alarmed.add(("", alarm.kind))
                self._told.warning(f"{fit.name}, step {fit.step}: {alarm.message}")
        if "failure" in record:
            self._told.warning(f"{record['failure']}; the others go on")
            return
        if fit.step != self._step:
            self._summarise()
            self._step = fit.step
        self._records.append(record)

    def _summarise(self) -> None:
        """Tell of the step whose records are all there."""
        if not self._records:
            return
        first = self._numbers[self._group[0].name]
        n = len(self._group)
        metric = f"best {self._metric} of {n}"
        losses = [record["loss"] for record in self._records if math.isfinite(record["loss"])]
        told: dict[str, Any] = {"loss": fmean(losses) if losses else math.nan}
        seen = [record["dev"][self._metric] for record in self._records if "dev" in record]
        if seen:
            higher = find_metric(self._metric)[0].higher_is_better
            told["dev"] = {metric: max(seen) if higher else min(seen)}
        self._told.progress(
            Progress(
                fit=first,
                name=f"fits {first + 1}–{first + n} of {len(self._numbers)}",
                step=self._step,
                steps=max(job.settings.steps for job in self._group),
                examples=sum(job.settings.batch_size for job in self._group),
                metric=metric,
                record=told,
            )
        )
        self._records = []
