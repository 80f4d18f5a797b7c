"""What a task is worth without a language model: the majority class, and a bag of words.

A score means little until it stands beside these two. Both are fitted on train; what the bag of
words leaves open (its regularisation) is chosen on dev. Knows tasks, not models.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from softprompt.data.examples import Example
from softprompt.data.metrics import find_metric, hard, score
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""C of the logistic regression: the inverse of its regularisation."""

CHINESE_SHARE = 0.3
"""From this share of Han characters on, texts without a declared language count as Chinese."""


@dataclass(frozen=True)
class Baseline:
    """A baseline's scores.

    Args:
        name: for reports.
        metrics: split to metric to value, for the splits dev and test that the task has.
        n: split to number of examples.
        settings: what was chosen, and how.
        predictions: split to the label of each example, in order.
    """

    name: str
    metrics: Mapping[str, Mapping[str, float]]
    n: Mapping[str, int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    predictions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Accuracy on test, or on dev where there is no test.

        Raises:
            UsageError: the task has neither, or is not scored by accuracy.
        """
        for split in ("test", "dev"):
            if "accuracy" in self.metrics.get(split, {}):
                return self.metrics[split]["accuracy"]
        raise UsageError(f"{self.name}: no accuracy was measured on test or dev")


def majority(task: Task) -> Baseline:
    """Always the most frequent label of train; the first of the task's labels on ties. Of a mixture,
    that of each of its tasks.

    Raises:
        UsageError: a task without labels.
    """
    if task.parts:
        return _of_parts("majority class", majority, task)
    _check_labels(task)
    counts = Counter(_golds(task.examples("train")))
    winner = max(task.labels, key=lambda label: counts[label])
    scored = {
        split: [winner] * len(task.examples(split))
        for split in ("dev", "test")
        if _has(task, split)
    }
    return _scored("majority class", task, scored, {"label": winner})


def bag_of_words(task: Task) -> Baseline:
    """Logistic regression on TF-IDF of word 1–2-grams (Chinese: character 1–3-grams).

    Fitted on train; C is the one that does best on dev by the task's first metric, the smallest on
    ties; without a dev split it is 1. Of a mixture, one for each of its tasks.

    Raises:
        UsageError: a task without labels.
        DataError: train holds one label only, or no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if task.parts:
        return _of_parts("bag of words", bag_of_words, task)
    _check_labels(task)
    chinese = is_chinese(task)
    vectorizer = (
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3))
        if chinese
        else TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    )
    try:
        features = {"train": vectorizer.fit_transform(texts_of(task.examples("train")))}
    except ValueError:  # scikit-learn's word for a vocabulary that is empty
        raise DataError("bag of words: the texts of train hold no words at all") from None
    for split in ("dev", "test"):
        if _has(task, split):
            features[split] = vectorizer.transform(texts_of(task.examples(split)))
    grams = "characters 1–3" if chinese else "words 1–2"
    return logistic_regression("bag of words", task, features, STRENGTHS, {"n-grams": grams})


def logistic_regression(
    name: str,
    task: Task,
    features: Mapping[str, Any],
    strengths: Sequence[float],
    settings: Mapping[str, Any],
) -> Baseline:
    """Fit on train's features, choose C on dev by the task's first metric, score dev and test.

    Args:
        name: for reports.
        task: with labels.
        features: split to matrix, one row per example: train, and dev and test if the task has them.
        strengths: values of C, tried in this order; the first wins ties. Without dev, C is 1.
        settings: what else the record should say.
    Raises:
        UsageError: a task without labels.
        DataError: train holds one label only.
    """
    from sklearn.linear_model import LogisticRegression

    _check_labels(task)
    golds = _golds(task.examples("train"))
    if len(set(golds)) < 2:
        raise DataError(f"{name}: train holds the label '{golds[0]}' only, expected two")
    metric = task.metrics[0]
    sign = 1 if find_metric(metric)[0].higher_is_better else -1
    best: tuple[float, float, Any] | None = None
    for strength in strengths if "dev" in features else (1.0,):
        model = LogisticRegression(C=strength, max_iter=10_000).fit(features["train"], golds)
        value = 0.0
        if "dev" in features:
            guesses = list(model.predict(features["dev"]))
            dev = task.examples("dev")
            groups = [example.group for example in dev]
            value = score([metric], guesses, _golds(dev), task.labels, groups)[metric]
        if best is None or sign * value > sign * best[0]:
            best = (value, strength, model)
    assert best is not None
    guessed = {
        split: list(best[2].predict(matrix))
        for split, matrix in features.items()
        if split != "train"
    }
    return _scored(name, task, guessed, {"C": best[1], **settings})


def texts_of(examples: Sequence[Example]) -> list[str]:
    """Each example's fields, joined by a space."""
    return [
        " ".join(v if isinstance(v, str) else " ".join(v) for v in example.fields.values())
        for example in examples
    ]


def is_chinese(task: Task) -> bool:
    """Whether a task is in Chinese: as it says, else by its first hundred training texts."""
    if task.language is not None:
        return task.language.startswith("zh")
    return mostly_han("".join(texts_of(task.examples("train")[:100])))


def mostly_han(text: str) -> bool:
    """Whether at least 30 % of a text's letters are Han characters."""
    letters = [letter for letter in text if unicodedata.category(letter)[0] == "L"]
    han = sum("\u3400" <= letter <= "\u9fff" for letter in letters)
    return bool(letters) and han >= CHINESE_SHARE * len(letters)


def _scored(
    name: str, task: Task, guesses: Mapping[str, Sequence[str]], settings: Mapping[str, Any]
) -> Baseline:
    metrics = {
        split: score(
            task.metrics,
            rows,
            _golds(task.examples(split)),
            task.labels,
            [example.group for example in task.examples(split)],
        )
        for split, rows in guesses.items()
    }
    n = {split: len(rows) for split, rows in guesses.items()}
    return Baseline(name, metrics, n, settings, guesses)


def _of_parts(name: str, make: Callable[[Task], Baseline], task: Task) -> Baseline:
    """A baseline of each task of a mixture, its answers as they are written there."""
    parts = task.parts
    found = {part: make(one) for part, one in parts.items()}
    splits = [split for split in ("dev", "test") if _has(task, split)]
    return Baseline(
        name,
        {
            split: {
                "task_mean": fmean(found[p].metrics[split][parts[p].metrics[0]] for p in parts),
                **{
                    f"task:{p} {metric}": value
                    for p in parts
                    for metric, value in found[p].metrics[split].items()
                },
            }
            for split in splits
        },
        {split: sum(found[p].n[split] for p in parts) for split in splits},
        {},
        {
            split: [
                parts[p].written_words[label][0]
                for p in parts
                for label in found[p].predictions[split]
            ]
            for split in splits
        },
    )


def _check_labels(task: Task) -> None:
    if task.kind != "label":
        raise UsageError(
            f"task '{task.name}' is of kind {task.kind}; this baseline is for labels only"
        )
    if "train" in task.split_names and not task.examples("train"):
        raise UsageError(f"task '{task.name}' has no labelled rows in train to learn from")


def _has(task: Task, split: str) -> bool:
    return split in task.split_names


def _golds(examples: Sequence[Example]) -> list[str]:
    return [str(hard(example.target)) for example in examples]
