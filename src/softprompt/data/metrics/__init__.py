"""What a list of predictions is worth: the official metric of each benchmark, by name."""

from softprompt.data.metrics.labels import hard
from softprompt.data.metrics.metric import Given, Metric, PartScore
from softprompt.data.metrics.parts import text_score
from softprompt.data.metrics.table import (
    DEFAULTS,
    METRICS,
    check_metric,
    find_metric,
    overall,
    score,
)
from softprompt.data.metrics.texts import tokens

__all__ = [
    "DEFAULTS",
    "METRICS",
    "Given",
    "Metric",
    "PartScore",
    "check_metric",
    "find_metric",
    "hard",
    "overall",
    "score",
    "text_score",
    "tokens",
]
