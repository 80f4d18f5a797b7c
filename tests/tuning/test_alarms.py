"""Alarms say what is wrong with a run and what to try, and stay silent otherwise."""

from __future__ import annotations

import math

import pytest

from softprompt.tuning.alarms import (
    ILLEGAL_LABELS,
    LOSS_NOT_FALLING,
    LOSS_NOT_FINITE,
    ONE_CLASS,
    check_loss,
    check_predictions,
)

LABELS = ["good", "bad"]
MIXED = ["good", "bad"] * 50


def kinds(alarms) -> list[str]:
    return [alarm.kind for alarm in alarms]


def test_one_class_for_everything_is_an_alarm_that_names_it_and_says_what_to_try():
    (alarm,) = check_predictions(["good"] * 100, MIXED, LABELS)
    assert alarm.kind == ONE_CLASS
    for part in ["'good'", "100 % of 100", "50 %", "learning rate", "init from labels",
                 "longer training", "softprompt show --render"]:  # fmt: skip
        assert part in alarm.message


def test_one_class_but_for_one_in_a_hundred_is_still_an_alarm():
    (alarm,) = check_predictions(["good"] * 99 + ["bad"], MIXED, LABELS)
    assert alarm.kind == ONE_CLASS
    assert "99 %" in alarm.message
    assert check_predictions(["good"] * 98 + ["bad"] * 2, MIXED, LABELS) == []


def test_right_predictions_are_no_alarm():
    assert check_predictions(MIXED, MIXED, LABELS) == []
    assert check_predictions(["good"] * 50, ["good"] * 50, LABELS) == []


def test_one_missed_example_of_a_rare_class_is_no_pattern():
    assert check_predictions(["good"] * 10, ["good"] * 9 + ["bad"], LABELS) == []


def test_a_rare_class_that_is_never_predicted_is_an_alarm():
    golds = ["good"] * 990 + ["bad"] * 10
    (alarm,) = check_predictions(["good"] * 1000, golds, LABELS)
    assert alarm.kind == ONE_CLASS
    assert "99 %" in alarm.message


def test_a_rare_class_that_is_found_is_no_alarm_although_nearly_all_are_of_the_other():
    golds = ["good"] * 992 + ["bad"] * 8
    assert check_predictions(golds, golds, LABELS) == []


def test_illegal_outputs_are_an_alarm_with_up_to_three_examples_each_once():
    outputs = ["", "", "yes", "<extra_id_0>", "fourth"] + [None] * 5
    (alarm,) = check_predictions(outputs + MIXED[:10], MIXED[:20], LABELS)
    assert alarm.kind == ILLEGAL_LABELS
    for part in ["50 % of 20", "'', 'yes', '<extra_id_0>'", "sentinel", "{mask}", "LM-adapted",
                 "rank"]:  # fmt: skip
        assert part in alarm.message
    assert "fourth" not in alarm.message


def test_a_long_illegal_output_is_shown_shortened():
    (alarm,) = check_predictions(["x" * 500] * 4, MIXED[:4], LABELS)
    assert len(alarm.message) < 400
    assert "…" in alarm.message


def test_unknown_illegal_outputs_have_no_examples():
    (alarm,) = check_predictions([None] * 4, MIXED[:4], LABELS)
    assert alarm.kind == ILLEGAL_LABELS
    assert "for example" not in alarm.message


def test_a_few_illegal_outputs_are_no_alarm():
    assert check_predictions([None, *MIXED[1:]], MIXED, LABELS) == []


def test_one_class_and_illegal_outputs_together_count_illegal_ones_against_the_one_class():
    assert kinds(check_predictions(["good"] * 90 + [None] * 10, MIXED, LABELS)) == [ILLEGAL_LABELS]


@pytest.mark.parametrize(("predictions", "labels"), [([], LABELS), (["one text"] * 8, [])])
def test_nothing_to_check_is_no_alarm(predictions, labels):
    assert check_predictions(predictions, ["a", "b"] * (len(predictions) // 2), labels) == []


def test_a_falling_loss_is_no_alarm():
    assert check_loss([2.0, 1.9, 1.8, 1.7, 1.6]) == []
    assert check_loss([2.0, 2.5, 3.0, 2.0, 1.5]) == []


@pytest.mark.parametrize("history", [[2.0] * 5, [2.0, 2.5, 3.0, 3.5, 4.0], [2.0, 1.99, 2, 2, 2]])
def test_a_loss_that_does_not_fall_over_the_first_evaluations_is_an_alarm(history):
    (alarm,) = check_loss(history)
    assert alarm.kind == LOSS_NOT_FALLING
    assert "5 evaluations (first 2, lowest since" in alarm.message


def test_before_enough_evaluations_there_is_no_alarm():
    assert check_loss([]) == check_loss([2.0]) == check_loss([2.0] * 4) == []
    assert check_loss([2.0], evaluations=1) == []
    assert kinds(check_loss([2.0] * 3, evaluations=3)) == [LOSS_NOT_FALLING]


def test_a_late_fall_ends_the_alarm():
    assert kinds(check_loss([2.0] * 9)) == [LOSS_NOT_FALLING]
    assert check_loss([*[2.0] * 9, 1.0]) == []


def test_a_loss_with_nowhere_to_fall_is_no_alarm():
    assert check_loss([0.001] * 5) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_alarm_at_once(loss: float):
    (alarm,) = check_loss([2.0, loss, 1.0])
    assert alarm.kind == LOSS_NOT_FINITE
    assert "evaluation 2" in alarm.message
