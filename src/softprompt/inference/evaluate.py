"""A prompt's scores on labelled examples, and what stands beside them.

Both ways of predicting stand in a report of an encoder-decoder: greedy accuracy, the share of illegal
outputs, and rank accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example, Target
from softprompt.data.metrics import PartScore, hard
from softprompt.data.metrics import score as score_metrics
from softprompt.errors import DataError
from softprompt.inference.applied import Applied
from softprompt.inference.budget import TOKEN_BUDGET, TokenBudget
from softprompt.inference.predict import Prediction, answer, predict
from softprompt.inference.questions import Question
from softprompt.text.answers import Classes, FreeText, Poles

TINY = 1e-30
"""A probability below this counts as this in the loss."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set.

    Args:
        metrics: name to value; the task's metrics, and `loss` (mean cross-entropy over the labels,
            nats) where labels were ranked.
        predictions: one per example, in order.
        cut: how many examples lost tokens.
        beside: further figures (greedy and rank accuracy, share of illegal outputs).
    """

    metrics: Mapping[str, float]
    predictions: Sequence[Prediction]
    cut: int
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.predictions)


def evaluate(
    backbone: Backbone,
    applied: Applied,
    examples: Sequence[Example],
    metrics: Sequence[str],
    labels: Sequence[str] = (),
    *,
    asked: Sequence[Question] | None = None,
    token_budget: TokenBudget = TOKEN_BUDGET,
    both_ways: bool = True,
    parts: Mapping[str, PartScore] | None = None,
) -> Evaluation:
    """Predict and score labelled examples.

    Args:
        metrics: names of the task's metrics; the first one selects.
        labels: the task's labels, for metrics that need them.
        asked: the examples made ready before, to render them once for many evaluations.
        token_budget: padded tokens per forward pass.
        both_ways: on an encoder-decoder, predict by rank and greedily (selection needs one only).
        parts: how each task of a mixture is scored (`Task.part_scores`).
    Raises:
        DataError: no examples, or one without a target.
        RunError: scores that are not numbers.
    """
    golds = [example.target for example in _with_targets(examples)]
    groups = [example.group for example in examples]
    predictions: Sequence[Prediction]
    if asked is not None:
        predictions = answer(backbone, [applied], asked, token_budget)
    else:
        predictions = predict(backbone, [applied], [(0, e) for e in examples], token_budget)
    given = [p.answer for p in predictions]
    scores = score_metrics(metrics, given, golds, labels, groups, parts=parts)
    loss = _loss(predictions, examples, applied)
    if loss is not None:
        scores["loss"] = loss
    beside: dict[str, float] = {}
    if both_ways and backbone.family == "encoder_decoder" and not _one_way(applied):
        found = {applied.objective.prediction: predictions}
        for way in ("rank", "greedy"):
            if way not in found:
                other = replace(applied, objective=replace(applied.objective, prediction=way))
                items = [(0, example) for example in examples]
                found[way] = predict(backbone, [other], items, token_budget)
            given = [p.answer for p in found[way]]
            other_way = score_metrics(metrics[:1], given, golds, labels, groups)
            beside[f"{way}_{metrics[0]}"] = other_way[metrics[0]]
        beside["illegal"] = sum(p.label is None for p in found["greedy"]) / len(examples)
    return Evaluation(scores, predictions, sum(p.cut > 0 for p in predictions), beside)


def gold(target: Target, applied: Applied) -> Target:
    """A target as it is learned: of own candidates, the first gold text."""
    if applied.answers.kind == "candidates" and isinstance(target, tuple):
        return target[0]
    return target


def _with_targets(examples: Sequence[Example]) -> Sequence[Example]:
    if not examples:
        raise DataError("no examples to evaluate")
    bare = next((e for e in examples if e.target is None), None)
    if bare is not None:
        raise DataError(f"example {bare.id} has no target, so it cannot be evaluated")
    return examples


def _one_way(applied: Applied) -> bool:
    """Whether answers can only be generated, or only be ranked."""
    return isinstance(applied.answers, FreeText | Classes) or applied.redrawn


def _loss(
    predictions: Iterable[Prediction], examples: Iterable[Example], applied: Applied
) -> float | None:
    total, count = 0.0, 0
    for prediction, example in zip(predictions, examples, strict=True):
        if not prediction.probabilities:
            return None
        total -= _log_likelihood(prediction, example.target, applied)
        count += 1
    return total / count


def _log_likelihood(prediction: Prediction, target: Target, applied: Applied) -> float:
    answers = applied.answers
    if isinstance(answers, Poles) and isinstance(target, int | float):
        low, high = answers.mixture(float(target))
        wanted: Mapping[str, float] = {"lower": low, "upper": high}
    elif isinstance(target, Mapping):
        wanted = target
    else:
        wanted = {str(hard(gold(target, applied))): 1.0}
    return sum(
        share * math.log(max(TINY, prediction.probabilities.get(label, 0.0)))
        for label, share in wanted.items()
    )
