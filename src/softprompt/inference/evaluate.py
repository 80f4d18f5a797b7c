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
from softprompt.data.metrics import hard
from softprompt.data.metrics import score as score_metrics
from softprompt.errors import DataError
from softprompt.inference.applied import Applied, is_free_text
from softprompt.inference.predict import TOKEN_BUDGET, Prediction, predict
from softprompt.text.answers import Poles


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set.

    Args:
        metrics: name to value; the task's metrics, and `loss` (mean cross-entropy over the labels,
            nats) where there are labels.
        predictions: one per example, in order.
        cut: how many examples lost tokens.
        beside: further figures (greedy accuracy, share of illegal outputs).
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
    token_budget: int = TOKEN_BUDGET,
    report: bool = True,
) -> Evaluation:
    """Predict and score labelled examples.

    Args:
        metrics: names of the task's metrics; the first one selects.
        labels: the task's labels, for metrics that need them.
        report: also decode greedily on an encoder-decoder (slower; selection does not need it).
    Raises:
        DataError: no examples, or one without a target.
    """
    if not examples:
        raise DataError("no examples to evaluate")
    bare = next((e for e in examples if e.target is None), None)
    if bare is not None:
        raise DataError(f"example {bare.id} has no target, so it cannot be evaluated")
    predictions = predict(backbone, [applied], [(0, e) for e in examples], token_budget)
    golds = [gold(example.target, applied) for example in examples]
    scores = score_metrics(metrics, [p.answer for p in predictions], golds, list(labels))
    loss = _loss(predictions, examples, applied)
    if loss is not None:
        scores["loss"] = loss
    beside: dict[str, float] = {}
    if report and backbone.family == "encoder_decoder" and not is_free_text(applied.answers):
        beside = _both_ways(backbone, applied, examples, metrics, labels, token_budget)
    return Evaluation(scores, predictions, sum(p.cut > 0 for p in predictions), beside)


def gold(target: Target, applied: Applied) -> Target:
    """A target as metrics want it: own candidates are judged by the first gold text."""
    if applied.answers.kind == "candidates" and isinstance(target, tuple):
        return target[0]
    return target


def _both_ways(
    backbone: Backbone,
    applied: Applied,
    examples: Sequence[Example],
    metrics: Sequence[str],
    labels: Sequence[str],
    token_budget: int,
) -> dict[str, float]:
    name = metrics[0]
    golds = [gold(example.target, applied) for example in examples]
    found: dict[str, float] = {}
    for way in ("rank", "greedy"):
        judged = replace(applied, objective=replace(applied.objective, prediction=way))
        out = predict(backbone, [judged], [(0, e) for e in examples], token_budget)
        found[f"{way}_{name}"] = score_metrics([name], [p.answer for p in out], golds, list(labels))[name]
        if way == "greedy":
            found["illegal"] = sum(p.label is None for p in out) / len(out)
    return found


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
    tiny = 1e-30
    return sum(
        share * math.log(max(tiny, prediction.probabilities.get(label, 0.0)))
        for label, share in wanted.items()
    )
