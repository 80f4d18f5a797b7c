"""What an ensemble's scores keep of a model's, also where an answer is all but impossible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from softprompt.inference.applied import apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import Prediction
from softprompt.inference.scoring import label_scores, score
from softprompt.recipes.pet.scores import as_scores, score_rows
from softprompt.text.answers import OwnCandidates
from softprompt.text.template import parse
from tests.builders import Backbones, rows


def test_improbable_answers_keep_their_distance() -> None:
    found = as_scores([Prediction("1", "a", {"a": 1.0, "b": 1e-60, "c": 1e-120})])
    assert found[0] == pytest.approx([0.0, np.log(1e-60), np.log(1e-120)], rel=1e-6)


def test_scores_of_long_answers_are_their_log_probabilities(backbones: Backbones) -> None:
    """The sum over a long answer is far below what single precision writes as a probability."""
    backbone = backbones("bert")
    settings = resolve_objective(ObjectiveSettings(), backbone.family, False)
    applied = apply(backbone, parse("{text} {mask}"), OwnCandidates(), settings)
    choices = ("good", "dull " * 30 + "film", "dull " * 40 + "film")
    example = replace(rows(1)[0], candidates=choices)
    found = score_rows(backbone, applied, [example])[0]
    rendering = applied.render(example)
    with torch.no_grad():
        logits = label_scores(score(backbone, None, [rendering], [0]), [rendering], mean=False)
    wanted = torch.log_softmax(logits[0].double(), dim=-1).numpy()
    assert wanted.min() < -105  # exp of it is 0 in single precision
    assert found == pytest.approx(wanted, abs=1e-2)
