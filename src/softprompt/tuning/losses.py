"""What the lessons of a step cost: summed by part, and what each part's sum is divided by.

Knows scores, lessons and the objective; no parameters, batches or steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from softprompt.inference.objective import Objective
from softprompt.inference.scoring import Scores, hinge_loss, label_loss, label_scores, token_loss
from softprompt.tuning.lessons import Lesson, Part

Losses = Mapping[str, float]
"""The mean of each part of a step."""


def needs_normaliser(objective: Objective, part: Part) -> bool:
    """Whether a part's loss is of log-probabilities over the vocabulary."""
    return part == "auxiliary_loss" or objective.normalise == "vocabulary"


def divisor(objective: Objective, part: Part, lessons: Sequence[Lesson]) -> float:
    """What the summed loss of one part of a step is divided by: its examples, or its tokens.

    Args:
        lessons: of the whole step.
    """
    own = [lesson for lesson in lessons if lesson.part == part]
    if not needs_normaliser(objective, part):
        return float(len(own))
    queries = [query for lesson in own for query in lesson.rendering.queries]
    # Chance may hide nothing in a step's few short texts.
    return float(max(1, sum(len(read.tokens) for query in queries for read in query.reads)))


def summed_loss(objective: Objective, scores: Scores, lessons: Sequence[Lesson]) -> Tensor:
    """The summed loss of lessons of one part, a scalar.

    Args:
        scores: of these lessons; normalised where `needs_normaliser`.
    """
    part = lessons[0].part
    if needs_normaliser(objective, part):
        return token_loss(scores, objective.z_loss if part == "loss" else 0.0).sum()
    table = label_scores(scores, [lesson.rendering for lesson in lessons], objective.training_mean)
    width = table.shape[1]
    shares = [[*each.wanted, *[0.0] * (width - len(each.wanted))] for each in lessons]
    wanted = torch.tensor(shares, device=table.device, dtype=table.dtype)
    if objective.loss == "hinge":
        return hinge_loss(table, wanted.argmax(dim=1)).sum()
    return label_loss(table, wanted, objective.temperature).sum()
