"""Labels against labels: accuracy, F1 and its kin, Matthews, and MultiRC's two.

Knows predictions and golds, not models. The two decisions of `metric.py` hold here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from softprompt.data.columns import listed
from softprompt.data.metrics.metric import Given
from softprompt.errors import UsageError

ILLEGAL = "\0illegal"


def hard(gold: Any) -> Any:
    """The label of a gold; of a distribution the likeliest, the first one on ties."""
    return max(gold, key=gold.__getitem__) if isinstance(gold, Mapping) else gold


def accuracy(given: Given) -> float:
    """Share of rows whose answer is the gold, or one of several golds."""
    right = (
        p is not None and (p in g if isinstance(g, tuple) else p == hard(g)) for p, g in given.pairs
    )
    return sum(right) / len(given.golds)


def _legal(given: Given) -> tuple[list[str], list[str], list[str]]:
    """Predictions with a class of their own for illegal ones, golds, and the classes that occur."""
    found = [ILLEGAL if p is None else str(p) for p in given.predictions]
    wanted = [str(hard(g)) for g in given.golds]
    return found, wanted, sorted({*found, *wanted} - {ILLEGAL})


def macro_f1(given: Given) -> float:
    """Mean F1 over the classes that occur among golds or predictions, as scikit-learn has it."""
    from sklearn.metrics import f1_score

    found, wanted, classes = _legal(given)
    return float(f1_score(wanted, found, labels=classes, average="macro", zero_division=0))


def f1(given: Given) -> float:
    """Binary F1 of the positive label. Over all answers of all questions it is MultiRC's F1a."""
    from sklearn.metrics import f1_score

    wanted, found = _truths(given)
    return float(f1_score(wanted, found, zero_division=0))


def grouped_exact_match(given: Given) -> float:
    """Share of groups whose every row is right: MultiRC's EM, a question and all its answers
    (Khashabi et al. 2018).

    Raises:
        UsageError: no groups are given.
    """
    if given.groups is None or any(group is None for group in given.groups):
        raise UsageError(
            "multirc_em counts whole questions: every row needs the group that it belongs to"
        )
    right: dict[str | None, bool] = {}
    for group, (p, g) in zip(given.groups, given.pairs, strict=True):
        right[group] = right.get(group, True) and p is not None and p == hard(g)
    return sum(right.values()) / len(right)


def positive_label(labels: Sequence[str], positive: str | None) -> str:
    """The positive label of a binary F1: the one given, or the last.

    Raises:
        UsageError: other than two labels, or one that is none of them.
    """
    if len(labels) != 2:
        raise UsageError(f"f1 needs two labels, got {len(labels)}; use macro_f1")
    if positive is not None and positive not in labels:
        raise UsageError(f"f1: the positive label {positive!r} is none of {listed(labels)}")
    return labels[-1] if positive is None else positive


def _truths(given: Given) -> tuple[list[bool], list[bool]]:
    positive = positive_label(given.labels, given.option)
    wanted = [hard(gold) == positive for gold in given.golds]
    found = [
        (p == positive) if p in given.labels else not gold
        for p, gold in zip(given.predictions, wanted, strict=True)
    ]
    return wanted, found


def matthews(given: Given) -> float:
    """Matthews correlation (CoLA)."""
    from sklearn.metrics import matthews_corrcoef

    labels = given.labels
    if len(labels) == 2:
        opposite = {labels[0]: labels[1], labels[1]: labels[0]}
        legal = [p if p in opposite else opposite.get(hard(g)) for p, g in given.pairs]
        given = Given(legal, given.golds, labels)
    found, wanted, _ = _legal(given)
    if len(set(found)) < 2 or len(set(wanted)) < 2:
        return 0.0
    return float(matthews_corrcoef(wanted, found))
