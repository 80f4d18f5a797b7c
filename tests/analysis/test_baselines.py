from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from softprompt.analysis.baselines import bag_of_words, is_chinese, majority
from softprompt.data.examples import Example, Target
from softprompt.data.loading import Split
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError

Pairs = Sequence[tuple[str, Target]]


def a_task(train: Pairs, dev: Pairs = (), test: Pairs = (), **changes: Any) -> Task:
    given = {"train": train, "dev": dev, "test": test}
    splits = {
        name: Split.of([Example(str(n), {"text": t}, y) for n, (t, y) in enumerate(rows)])
        for name, rows in given.items()
        if rows
    }
    facts: dict[str, Any] = {
        "name": "t",
        "fields": ("text",),
        "kind": "label",
        "labels": ("bad", "good"),
        "metrics": ("accuracy",),
    }
    return Task(splits=splits, **{**facts, **changes})


TRAIN = [("a great film", "good"), ("great fun", "good"), ("dull", "bad"), ("a dull film", "bad")]
DEV = [("great", "good"), ("so dull", "bad")]
TEST = [("great great", "good"), ("dull plot", "bad"), ("dull", "bad")]


def test_majority_scores_the_most_frequent_training_label() -> None:
    found = majority(a_task([*TRAIN, ("slow", "bad")], DEV, TEST))
    assert found.settings == {"label": "bad"}
    assert found.metrics["dev"]["accuracy"] == 0.5
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.n == {"dev": 2, "test": 3}


def test_majority_takes_the_first_label_on_ties() -> None:
    assert majority(a_task(TRAIN, DEV)).settings == {"label": "bad"}


def test_soft_targets_count_by_their_likeliest_label() -> None:
    train = [("x", {"good": 0.9, "bad": 0.1}), ("y", {"good": 0.8, "bad": 0.2}), ("z", "bad")]
    assert majority(a_task(train, DEV)).settings == {"label": "good"}


def test_bag_of_words_separates_what_words_separate() -> None:
    found = bag_of_words(a_task(TRAIN, DEV, TEST))
    assert found.metrics["dev"]["accuracy"] == found.accuracy == 1.0
    assert found.settings["n-grams"] == "words 1–2"


def test_without_dev_the_strength_is_one() -> None:
    assert bag_of_words(a_task(TRAIN, test=TEST)).settings["C"] == 1.0


def test_chinese_is_cut_into_characters() -> None:
    train = [("很好看", "good"), ("好喝", "good"), ("很差劲", "bad"), ("太差了", "bad")]
    task = a_task(train, [("真好", "good"), ("真差", "bad")])
    assert is_chinese(task)
    found = bag_of_words(task)
    assert found.settings["n-grams"] == "characters 1–3"
    assert found.accuracy == 1.0


def test_a_declared_language_is_believed() -> None:
    assert not is_chinese(a_task([("很好", "good"), ("差", "bad")], language="en"))


def test_one_label_only_is_refused() -> None:
    with pytest.raises(DataError, match="label 'bad' only"):
        bag_of_words(a_task([("dull", "bad"), ("slow", "bad")], DEV))


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(DataError, match="no words"):
        bag_of_words(a_task([("!!", "bad"), ("??", "good")], DEV, language="en"))


def test_numbers_have_no_such_baseline() -> None:
    task = a_task([("x", 1.0)], kind="number", labels=(), metrics=("pearson",))
    with pytest.raises(UsageError, match="for labels only"):
        majority(task)


def test_a_task_without_dev_and_test_has_no_accuracy() -> None:
    with pytest.raises(UsageError, match="no accuracy"):
        _ = majority(a_task(TRAIN)).accuracy
