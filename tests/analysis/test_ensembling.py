"""Votes and means of several prompts: hand-counted cases, invariance, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.ensembling import ensemble_table, majority_vote, mean_probabilities
from softprompt.errors import UsageError
from softprompt.inference.predict import Prediction


def ranked(*chances: float, ids: str = "") -> list[Prediction]:
    """Predictions with these chances of yes."""
    return [
        Prediction(f"{ids}{n}", "yes" if p > 0.5 else "no", {"yes": p, "no": 1 - p})
        for n, p in enumerate(chances)
    ]


def answers(predictions: Any) -> list[Any]:
    return [prediction.answer for prediction in predictions]


THREE = {"a": ranked(0.6, 0.9, 0.2), "b": ranked(0.6, 0.4, 0.3), "c": ranked(0.1, 0.4, 0.9)}


def test_two_of_three_win_whatever_their_confidence() -> None:
    found = majority_vote(THREE)
    assert answers(found.predictions) == ["yes", "no", "no"]
    assert found.ties == 0


def test_the_mean_listens_to_confidence() -> None:
    found = mean_probabilities(THREE)
    assert answers(found.predictions) == ["no", "yes", "no"]
    assert found.predictions[1].probabilities["yes"] == pytest.approx((0.9 + 0.4 + 0.4) / 3)


def test_a_tie_goes_to_the_higher_mean_probability_and_is_counted() -> None:
    found = majority_vote({"a": ranked(0.9, 0.9), "b": ranked(0.3, 0.8)})
    assert answers(found.predictions) == ["yes", "yes"]
    assert found.ties == 1


def test_weights_move_the_mean_and_the_vote() -> None:
    weights = {"a": 0.1, "b": 0.1, "c": 0.8}
    assert answers(mean_probabilities(THREE, weights).predictions) == ["no", "no", "yes"]
    assert answers(majority_vote(THREE, weights).predictions) == ["no", "no", "yes"]


def test_a_member_without_weight_is_not_there() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 0.0}
    two = {"a": THREE["a"], "b": THREE["b"]}
    for combine in (majority_vote, mean_probabilities):
        assert combine(THREE, weights) == combine(two)


def test_one_member_is_its_own_ensemble() -> None:
    for combine in (majority_vote, mean_probabilities):
        assert list(combine({"a": THREE["a"]}).predictions) == THREE["a"]


CHANCE = st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9])


@given(
    st.lists(st.tuples(CHANCE, CHANCE, st.integers(1, 3)), min_size=1, max_size=6), st.data()
)  # fmt: skip
def test_the_order_of_members_does_not_matter(
    chances: list[tuple[float, float, int]], data: st.DataObject
) -> None:
    members = {str(n): ranked(*pair) for n, (*pair, _) in enumerate(chances)}
    weights = {str(n): float(weight) for n, (*_, weight) in enumerate(chances)}
    shuffled = {name: members[name] for name in data.draw(st.permutations(list(members)))}
    for combine in (majority_vote, mean_probabilities):
        assert combine(members) == combine(shuffled)
        assert combine(members, weights) == combine(shuffled, weights)


@given(st.lists(CHANCE, min_size=1, max_size=5), st.integers(1, 4))
def test_copies_of_a_member_change_nothing(chances: list[float], copies: int) -> None:
    members = {str(n): ranked(*chances) for n in range(copies)}
    for combine in (majority_vote, mean_probabilities):
        assert answers(combine(members).predictions) == answers(ranked(*chances))


def test_an_illegal_answer_is_no_vote() -> None:
    legal, illegal = Prediction("0", label="no", text="no"), Prediction("0", text="maybe")
    one = majority_vote({"a": [illegal], "b": [legal], "c": [illegal]})
    assert answers(one.predictions) == ["no"]
    none = majority_vote({"a": [illegal], "b": [illegal]})
    assert answers(none.predictions) == [None]


def test_free_texts_are_voted_on_as_they_stand() -> None:
    texts = {
        name: [Prediction("0", text=t, free=True)] for name, t in zip("abc", "xyx", strict=True)
    }
    assert answers(majority_vote(texts).predictions) == ["x"]


def test_numbers_are_averaged_and_not_voted_on() -> None:
    members = {
        name: [Prediction("0", "upper", {"lower": 1 - p, "upper": p}, value=5 * p)]
        for name, p in (("a", 0.6), ("b", 0.8))
    }
    assert mean_probabilities(members).predictions[0].value == pytest.approx(3.5)
    with pytest.raises(UsageError, match="cannot be voted on"):
        majority_vote(members)


def test_cut_tokens_are_those_of_the_worst_member() -> None:
    members = {"a": [replace(ranked(0.6)[0], cut=3)], "b": ranked(0.7)}
    assert majority_vote(members).predictions[0].cut == 3


def test_members_must_speak_of_the_same_thing() -> None:
    with pytest.raises(UsageError, match="no members"):
        majority_vote({})
    with pytest.raises(UsageError, match="'b' has 1 predictions, 'a' has 2"):
        majority_vote({"a": ranked(0.1, 0.2), "b": ranked(0.1)})
    with pytest.raises(UsageError, match="row 1: member 'b' has example x0, 'a' has 0"):
        mean_probabilities({"a": ranked(0.1), "b": ranked(0.1, ids="x")})
    other = [Prediction("0", "good", {"good": 0.9, "bad": 0.1})]
    with pytest.raises(UsageError, match="example 0: member 'b' has the labels 'good', 'bad'"):
        majority_vote({"a": ranked(0.1), "b": other})
    bare = [Prediction("0", "yes", text="yes")]
    with pytest.raises(UsageError, match="example 0: member 'c' has the labels 'good', 'bad'"):
        majority_vote({"a": bare, "b": ranked(0.1), "c": other})
    with pytest.raises(UsageError, match="member 'b', example 0: no probabilities"):
        mean_probabilities({"a": ranked(0.1), "b": bare})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, "no weight for 'b', 'c'"),
        ({"a": 1.0, "b": -1.0, "c": 1.0}, "-1.0 for 'b'"),
        ({"a": 0.0, "b": 0.0, "c": 0.0}, "above 0"),
    ],
)
def test_weights_are_checked(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mean_probabilities(THREE, weights)


def test_the_table_chooses_the_best_on_dev_and_says_so() -> None:
    golds = ["yes", "no", "no"]
    table = ensemble_table(THREE, golds, "accuracy", {"a": 0.5, "b": 0.9, "c": 0.9})
    assert table.members == pytest.approx({"a": 2 / 3, "b": 1.0, "c": 1 / 3})
    assert (table.best, table.tied) == ("b", 2)
    assert table.mean.mean == pytest.approx(2 / 3)
    assert table.ensembles["majority vote"] == 1.0
    assert table.rows()[:2] == [
        ("mean of 3", "0.667 ± 0.333"),
        ("best by dev ('b', 2 tied)", "1.000"),
    ]


def test_a_best_member_on_test_is_not_chosen_for_that() -> None:
    table = ensemble_table(THREE, ["yes", "no", "no"], "accuracy", {"a": 0.9, "b": 0.5, "c": 0.5})
    assert table.members[table.best] < max(table.members.values())


def test_negative_dev_scores_weigh_nothing() -> None:
    scores = {"a": -0.1, "b": 0.2, "c": 0.1}
    table = ensemble_table(THREE, ["yes", "no", "no"], "matthews", scores, ("no", "yes"))
    assert list(table.ensembles) == ["majority vote", "mean of probabilities"]


def test_the_table_wants_a_dev_score_of_each() -> None:
    with pytest.raises(UsageError, match="no dev score for 'c'"):
        ensemble_table(THREE, ["yes"] * 3, "accuracy", {"a": 0.1, "b": 0.2})
