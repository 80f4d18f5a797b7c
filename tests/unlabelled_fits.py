"""Fits of the mood task with unlabelled rows beside the labelled ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.task import Task
from softprompt.tuning.auxiliary import Auxiliary
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import Job
from softprompt.tuning.lessons import Lesson
from tests.builders import fits_of, job, mood, rows

ALPHA = 0.3
ON = {"weight": ALPHA, "per_example": 2}


def pooled(n: int = 30, most: int = 12, **given: Any) -> Task:
    """The mood task with unlabelled rows."""
    bare = [replace(row, target=None) for row in rows(n, seed=90, most=most)]
    return mood(**given).with_splits(unlabelled=bare)


def with_pool(auxiliary: dict[str, Any] | None = None, **given: Any) -> Job:
    training = {**given.pop("training", {}), "auxiliary": {**ON, **(auxiliary or {})}}
    return job(given.pop("task", None) or pooled(), training=training, **given)


def one_fit(backbone: Backbone, one: Job) -> Fit:
    (fit,) = fits_of(backbone, [one])
    return fit


def unlabelled(fit: Fit) -> list[Lesson]:
    return [lesson for lesson in fit.draw() if lesson.part == "auxiliary_loss"]


def auxiliary(fit: Fit) -> Auxiliary:
    assert fit._auxiliary is not None
    return fit._auxiliary


def originals(fit: Fit) -> list[Lesson]:
    """The unlabelled rows of a step with nothing hidden."""
    return auxiliary(fit)._lessons.draw(auxiliary(fit).places(fit.step))
