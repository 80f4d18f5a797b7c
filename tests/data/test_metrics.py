"""Metrics against numbers worked out by hand; illegal is wrong, undefined is 0."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.metrics import DEFAULTS, METRICS, score, tokens
from softprompt.errors import UsageError

AB = ("a", "b")


def one(name: str, predictions: list[Any], golds: list[Any], labels: tuple[str, ...] = AB) -> float:
    return score([name], predictions, golds, labels)[name]


@pytest.mark.parametrize(
    ("name", "predictions", "golds", "expected"),
    [
        ("accuracy", ["a", "b", "b", "b"], ["a", "b", "a", "b"], 3 / 4),
        ("f1", ["a", "b", "b", "b"], ["a", "b", "a", "b"], 2 * 2 / (3 + 2)),
        ("f1:a", ["a", "b", "b", "b"], ["a", "b", "a", "b"], 2 * 1 / (1 + 2)),
        ("macro_f1", ["a", "b", "b", "b"], ["a", "b", "a", "b"], (4 / 5 + 2 / 3) / 2),
        ("matthews", ["a", "b", "b", "b"], ["a", "b", "a", "b"], 1 / math.sqrt(3)),
        ("pearson", [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], 1.0),
        ("spearman", [1.0, 2.0, 9.0], [3.0, 2.0, 1.0], -1.0),
        ("exact_match", ["The Cat!", "a dog"], ["cat", ("cat", "dog")], 1.0),
        ("token_f1", ["black cat", "x"], [("the cat", "dog"), "y"], (2 / 3 + 0) / 2),
        ("accuracy", ["a", "b"], [{"a": 0.4, "b": 0.6}, {"a": 0.4, "b": 0.6}], 1 / 2),
    ],
)
def test_worked_examples(
    name: str, predictions: list[Any], golds: list[Any], expected: float
) -> None:
    assert one(name, predictions, golds) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "predictions", "golds", "same_as"),
    [
        ("accuracy", ["a", None], ["a", "b"], ["a", "a"]),
        ("f1", ["b", "b", None, None], ["b", "a", "a", "b"], ["b", "b", "b", "a"]),
        ("matthews", ["b", "b", None, None], ["b", "a", "a", "b"], ["b", "b", "b", "a"]),
        ("pearson", [1.0, 3.5, None, None], [1.0, 4.0, 5.0, 2.0], [1.0, 3.5, 1.0, 5.0]),
        ("spearman", [1.0, 3.5, None, None], [1.0, 4.0, 5.0, 2.0], [1.0, 3.5, 1.0, 5.0]),
        ("exact_match", ["cat", None], ["cat", "dog"], ["cat", "no"]),
    ],
)
def test_an_illegal_output_is_wrong(
    name: str, predictions: list[Any], golds: list[Any], same_as: list[Any]
) -> None:
    assert one(name, predictions, golds) == one(name, same_as, golds)


def test_an_illegal_output_is_no_class_of_a_macro_f1() -> None:
    assert one("macro_f1", ["a", None], ["a", "b"]) == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("name", ["f1", "matthews", "pearson", "spearman"])
def test_a_collapsed_model_scores_zero_without_a_warning(name: str) -> None:
    numeric = name in ("pearson", "spearman")
    golds: list[Any] = [1.0, 2.0, 3.0] if numeric else ["a", "b", "a"]
    flat: list[Any] = [0.1 + 0.2] * 3 if numeric else ["a"] * 3
    assert one(name, flat, golds) == 0.0
    if name != "f1":
        assert one(name, golds, flat) == 0.0


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(AB)), min_size=1))
def test_every_label_metric_stays_in_range_for_any_predictions(
    rows: list[tuple[str | None, str]],
) -> None:
    predictions, golds = [p for p, _ in rows], [g for _, g in rows]
    scores = score(["accuracy", "macro_f1", "f1", "matthews"], predictions, golds, AB)
    assert all(0 <= scores[name] <= 1 for name in ("accuracy", "macro_f1", "f1"))
    assert -1 <= scores["matthews"] <= 1
    # 1e-12 for the sums of products inside scikit-learn
    perfect = score(["accuracy", "macro_f1"], golds, golds, AB)
    assert all(value == pytest.approx(1.0, abs=1e-12) for value in perfect.values())


def test_chinese_is_compared_by_character() -> None:
    assert tokens("The 好电影。A-1") == ["好", "电", "影", "a1"]
    assert one("token_f1", ["好电影"], ["电影"]) == pytest.approx(2 * 2 / 5)


@pytest.mark.parametrize(
    ("names", "predictions", "golds", "labels", "message"),
    [
        (["acuracy"], ["a"], ["a"], AB, "did you mean 'accuracy'"),
        (["accuracy"], ["a"], ["a", "b"], AB, "1 predictions for 2 golds"),
        (["accuracy"], [], [], AB, "no rows"),
        (["accuracy"], ["a"], [None], AB, "without a target"),
        (["f1"], ["a"], ["a"], ("a", "b", "c"), "use macro_f1"),
        (["f1:c"], ["a"], ["a"], AB, "positive label 'c' is none of"),
    ],
)
def test_wrong_use_is_named(
    names: list[str], predictions: list[Any], golds: list[Any], labels: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        score(names, predictions, golds, labels)


def test_every_kind_of_target_has_a_metric_to_select_by() -> None:
    for kind, names in DEFAULTS.items():
        for name in names:
            assert kind in METRICS[name].kinds
            assert METRICS[name].higher_is_better
