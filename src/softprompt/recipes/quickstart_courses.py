"""How the quickstart trains each kind of backbone: the one table to tune.

A course is looked up by the backbone's name, else by its family. Its numbers are chosen on the shipped
backbones so that the whole quickstart takes about a minute on two cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from softprompt.text.tokens import Family


@dataclass(frozen=True)
class Course:
    """How long, with what, and how it is asked.

    Args:
        steps, batch_size, evaluate_every, optimiser: as in a run file.
        init: what the learned rows start from.
        objective: as in a run file.
        asked_as: the family whose template of the task is used; None: the backbone's own.
    """

    steps: int
    batch_size: int
    evaluate_every: int
    optimiser: Mapping[str, Any]
    init: str = "labels"
    objective: Mapping[str, Any] = field(default_factory=dict)
    asked_as: Family | None = None


_FEW_STEPS: Mapping[str, Any] = MappingProxyType(
    {"name": "adamw", "learning_rate": 0.1, "schedule": "linear"}
)

_AMONG_LABELS: Mapping[str, Any] = MappingProxyType({"normalise": "labels"})
"""A softmax over the labels alone: within so few steps a decoder does not learn which words are none."""

COURSES: Mapping[str, Course] = MappingProxyType(
    {
        "masked": Course(150, 16, 25, {**_FEW_STEPS, "learning_rate": 0.03}),
        "causal": Course(150, 16, 25, _FEW_STEPS),
        "encoder_decoder": Course(150, 16, 25, _FEW_STEPS, objective=_AMONG_LABELS),
        # It learned to fill sentinels and nothing else, so it is given a cloze.
        "softprompt/tiny-t5@span": Course(
            150, 16, 25, _FEW_STEPS, objective=_AMONG_LABELS, asked_as="masked"
        ),
    }
)


def course_for(name: str, family: Family) -> Course:
    """The course of a backbone."""
    return COURSES.get(name) or COURSES[family]
