"""All metrics by name, and the scores of a task by several of them.

A new metric is a function of `Given` and one entry of `METRICS`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import Any

from softprompt.data.columns import Kind, did_you_mean, listed
from softprompt.data.metrics.generation import bleu, rouge_1, rouge_2, rouge_l
from softprompt.data.metrics.labels import (
    accuracy,
    f1,
    grouped_exact_match,
    macro_f1,
    matthews,
    positive_label,
)
from softprompt.data.metrics.metric import Groups, Labels, Metric, PartScore
from softprompt.data.metrics.mixed import of_task, task_mean
from softprompt.data.metrics.numbers import pearson, spearman
from softprompt.data.metrics.texts import cmrc_f1, exact_match, token_f1, wsc
from softprompt.errors import UsageError

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric(accuracy, ("label", "text")),
        "macro_f1": Metric(macro_f1, ("label",)),
        "f1": Metric(f1, ("label",), check=positive_label),
        "matthews": Metric(matthews, ("label",)),
        "multirc_f1a": Metric(f1, ("label",), check=positive_label),
        "multirc_em": Metric(grouped_exact_match, ("label",), grouped=True),
        "pearson": Metric(pearson, ("number", "text")),
        "spearman": Metric(spearman, ("number", "text")),
        "exact_match": Metric(exact_match, ("text",)),
        "token_f1": Metric(token_f1, ("text",)),
        "record_em": Metric(exact_match, ("text",)),
        "record_f1": Metric(token_f1, ("text",)),
        "cmrc_f1": Metric(cmrc_f1, ("text",)),
        "wsc": Metric(wsc, ("text",)),
        "bleu": Metric(bleu, ("text",), needs="sacrebleu"),
        "rouge_l": Metric(rouge_l, ("text",), needs="rouge_score"),
        "rouge_1": Metric(rouge_1, ("text",), needs="rouge_score"),
        "rouge_2": Metric(rouge_2, ("text",), needs="rouge_score"),
        "task_mean": Metric(task_mean, ("text",), grouped=True),
        "task": Metric(of_task, ("text",), grouped=True),
    }
)
DEFAULTS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "label": ("accuracy",),
        "number": ("pearson", "spearman"),
        "text": ("exact_match", "token_f1"),
    }
)


def find_metric(name: str) -> tuple[Metric, str | None]:
    """The metric called `name`, and the positive label where the name gives one ("f1:yes")."""
    base, _, positive = name.partition(":")
    if base not in METRICS:
        hint = did_you_mean(base, METRICS)
        raise UsageError(f"unknown metric {name!r}; known: {', '.join(METRICS)}{hint}")
    return METRICS[base], positive or None


def check_metric(name: str, kind: Kind, labels: Labels) -> None:
    """Refuse a metric that a task with this kind and these labels could not be scored by.

    Raises:
        UsageError: unknown, for another kind of target, or f1 without two labels.
    """
    metric, positive = find_metric(name)
    if kind not in metric.kinds:
        wants = " or ".join(metric.kinds)
        raise UsageError(f"metric {name!r} is for kind {wants}, the task is {kind}")
    if metric.check is not None and labels:
        metric.check(labels, positive)


def score(
    metrics: Sequence[str],
    predictions: Sequence[Any],
    golds: Sequence[Any],
    labels: Labels = (),
    groups: Groups | None = None,
    *,
    parts: Mapping[str, PartScore] | None = None,
) -> dict[str, float]:
    """All metrics of a task, by name.

    Args:
        metrics: names from `METRICS`; "f1:yes" makes "yes" the positive label.
        predictions: one per row; None for an illegal output.
        golds: one target per row.
        labels: the task's labels in order.
        groups: which rows belong together, for metrics that count groups (MultiRC's questions).
        parts: how each task of a mixture is scored (`Task.part_scores`).
    Raises:
        UsageError: an unknown metric, lists of different lengths, no rows, a row without target, or
            groups that a metric needs and that are missing.
    """
    scores: dict[str, float] = {}
    for name in metrics:
        metric, positive = find_metric(name)
        scores[name] = metric(predictions, golds, labels, positive, groups, parts=parts)
    return scores


def overall(scores: Mapping[str, Mapping[str, float]], tasks: Collection[str] = ()) -> float:
    """A benchmark's one number: the mean over its tasks of the mean of a task's metrics (SuperGLUE,
    Wang et al. 2019, section 4; GLUE likewise).

    Args:
        scores: task to its metrics; those that are no metric of `METRICS` (a loss) are left out.
        tasks: all of the benchmark; none may be missing.
    Raises:
        UsageError: a task is missing, or has no metric.
    """
    if missing := sorted(set(tasks) - set(scores)):
        raise UsageError(f"no scores for {listed(missing)}; a mean over fewer tasks is another one")
    chosen = {name: scores[name] for name in (tasks or scores)}
    means = []
    for name, values in chosen.items():
        counted = [value for key, value in values.items() if key.partition(":")[0] in METRICS]
        if not counted:
            raise UsageError(f"no metric among the scores of {name!r}")
        means.append(fmean(counted))
    if not means:
        raise UsageError("no tasks to take a mean of")
    return fmean(means)
