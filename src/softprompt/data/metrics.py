"""What a list of predictions is worth: the official metric of each benchmark, by name.

Knows predictions and golds, not models. All but the correlations lie in 0 to 1; higher is better.

Two decisions hold throughout:
- an illegal output (None) is wrong: no class for accuracy, the opposite class for a binary F1, the
  number of the golds' range farthest from the gold for a correlation;
- where a metric is not defined (all predictions alike, all golds alike) it is 0.0, so that a model
  that collapsed never wins a selection, and no warning is given.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softprompt.data.columns import Kind, did_you_mean, listed
from softprompt.errors import UsageError

Labels = Sequence[str]
Function = Callable[[Sequence[Any], Sequence[Any], Labels, str | None], float]
ILLEGAL = "\0illegal"
ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True)
class Metric:
    """One metric: its function, the kinds of target it is for, and which way is up.

    Calling it takes predictions, golds, the labels in order, and for f1 the positive label (by
    default the last), and gives a number.
    """

    function: Function
    kinds: tuple[Kind, ...]
    higher_is_better: bool = True

    def __call__(
        self,
        predictions: Sequence[Any],
        golds: Sequence[Any],
        labels: Labels = (),
        positive: str | None = None,
    ) -> float:
        if len(predictions) != len(golds):
            raise UsageError(f"{len(predictions)} predictions for {len(golds)} golds")
        if not golds:
            raise UsageError("no rows to score")
        if any(gold is None for gold in golds):
            raise UsageError("a row without a target cannot be scored")
        return float(self.function(predictions, golds, labels, positive))


def hard(gold: Any) -> Any:
    """The label of a gold; of a distribution the likeliest, the first one on ties."""
    return max(gold, key=gold.__getitem__) if isinstance(gold, Mapping) else gold


def _accuracy(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    right = (p is not None and p == hard(g) for p, g in zip(predictions, golds, strict=True))
    return sum(right) / len(golds)


def _legal(
    predictions: Sequence[Any], golds: Sequence[Any]
) -> tuple[list[str], list[str], list[str]]:
    """Predictions with a class of their own for illegal ones, golds, and the classes that occur."""
    given = [ILLEGAL if p is None else str(p) for p in predictions]
    wanted = [str(hard(g)) for g in golds]
    return given, wanted, sorted({*given, *wanted} - {ILLEGAL})


def _macro_f1(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    """Mean F1 over the classes that occur among golds or predictions, as scikit-learn has it."""
    from sklearn.metrics import f1_score

    given, wanted, classes = _legal(predictions, golds)
    return float(f1_score(wanted, given, labels=classes, average="macro", zero_division=0))


def _f1(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    from sklearn.metrics import f1_score

    positive = _positive(labels, positive)
    wanted = [hard(gold) == positive for gold in golds]
    given = [
        (p == positive) if p in labels else not gold
        for p, gold in zip(predictions, wanted, strict=True)
    ]
    return float(f1_score(wanted, given, zero_division=0))


def _positive(labels: Labels, positive: str | None) -> str:
    """The positive label of a binary F1: the one given, or the last."""
    if len(labels) != 2:
        raise UsageError(f"f1 needs two labels, got {len(labels)}; use macro_f1")
    if positive is not None and positive not in labels:
        raise UsageError(f"f1: the positive label {positive!r} is none of {listed(labels)}")
    return labels[-1] if positive is None else positive


def _matthews(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    from sklearn.metrics import matthews_corrcoef

    if len(labels) == 2:
        opposite = {labels[0]: labels[1], labels[1]: labels[0]}
        predictions = [
            p if p in opposite else opposite.get(hard(g))
            for p, g in zip(predictions, golds, strict=True)
        ]
    given, wanted, _ = _legal(predictions, golds)
    if len(set(given)) < 2 or len(set(wanted)) < 2:
        return 0.0
    return float(matthews_corrcoef(wanted, given))


def _numbers(predictions: Sequence[Any], golds: Sequence[Any]) -> tuple[list[float], list[float]]:
    wanted = [float(gold) for gold in golds]
    low, high = min(wanted), max(wanted)
    given = [
        (low if gold - low > high - gold else high) if p is None or p != p else float(p)
        for p, gold in zip(predictions, wanted, strict=True)
    ]
    return given, wanted


def _pearson(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    return _correlation("pearsonr", predictions, golds)


def _spearman(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    return _correlation("spearmanr", predictions, golds)


def _correlation(name: str, predictions: Sequence[Any], golds: Sequence[Any]) -> float:
    import numpy as np
    from scipy import stats

    given, wanted = (np.asarray(numbers) for numbers in _numbers(predictions, golds))
    # Spread within rounding error is no spread: SciPy warns there, and its answer is noise.
    if any(np.ptp(x) <= 1e-12 * max(1e-300, np.abs(x).max()) for x in (given, wanted)):
        return 0.0
    return float(getattr(stats, name)(given, wanted).statistic)


def tokens(text: str) -> list[str]:
    """A text as SQuAD compares it: lower case, no punctuation, no articles; Chinese by
    character."""
    pieces: list[str] = []
    for character in text.lower():
        if "CJK" in unicodedata.name(character, ""):
            pieces.append(f" {character} ")
        elif not unicodedata.category(character).startswith("P"):
            pieces.append(character)
    return [word for word in "".join(pieces).split() if word not in ARTICLES]


def _golds(gold: Any) -> tuple[str, ...]:
    return (gold,) if isinstance(gold, str) else tuple(gold)


def _exact_match(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    """Share of rows whose text equals one of its golds, both as `tokens` has them (SQuAD's EM)."""
    right = (
        p is not None and any(tokens(p) == tokens(one) for one in _golds(gold))
        for p, gold in zip(predictions, golds, strict=True)
    )
    return sum(right) / len(golds)


def _token_f1(
    predictions: Sequence[Any], golds: Sequence[Any], labels: Labels, positive: str | None
) -> float:
    """Mean over rows of the F1 of shared tokens, the best of the row's golds (SQuAD's F1)."""
    best = (
        0.0 if p is None else max(_overlap(tokens(p), tokens(one)) for one in _golds(gold))
        for p, gold in zip(predictions, golds, strict=True)
    )
    return sum(best) / len(golds)


def _overlap(given: list[str], wanted: list[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(_accuracy, ("label",)),
    "macro_f1": Metric(_macro_f1, ("label",)),
    "f1": Metric(_f1, ("label",)),
    "matthews": Metric(_matthews, ("label",)),
    "pearson": Metric(_pearson, ("number",)),
    "spearman": Metric(_spearman, ("number",)),
    "exact_match": Metric(_exact_match, ("text",)),
    "token_f1": Metric(_token_f1, ("text",)),
}
DEFAULTS: Mapping[Kind, tuple[str, ...]] = {
    "label": ("accuracy",),
    "number": ("pearson", "spearman"),
    "text": ("exact_match", "token_f1"),
}


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
    if metric.function is _f1 and labels:
        _positive(labels, positive)


def score(
    metrics: Sequence[str],
    predictions: Sequence[Any],
    golds: Sequence[Any],
    labels: Labels = (),
) -> dict[str, float]:
    """All metrics of a task, by name.

    Args:
        metrics: names from `METRICS`; "f1:yes" makes "yes" the positive label.
        predictions: one per row; None for an illegal output.
        golds: one target per row.
        labels: the task's labels in order.
    Raises:
        UsageError: an unknown metric, lists of different lengths, no rows, or a row without target.
    """
    scores: dict[str, float] = {}
    for name in metrics:
        metric, positive = find_metric(name)
        scores[name] = metric(predictions, golds, labels, positive)
    return scores
