"""Answers stand in the order of the task's labels, however its words are written down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from softprompt.errors import SettingsError
from softprompt.text.answers import Poles, Verbalizer
from softprompt.tuning.jobs import answers_of
from tests.builders import mood


def test_words_answer_in_the_order_of_the_labels() -> None:
    task = mood()
    words = {label: (f"word{number}",) for number, label in enumerate(task.labels)}
    reversed_words = dict(reversed(words.items()))
    assert list(reversed_words) != list(task.labels)
    for answers in (
        answers_of(replace(task, words=reversed_words), 1),
        answers_of(task, 1, reversed_words),
    ):
        assert isinstance(answers, Verbalizer)
        assert list(answers.words) == list(task.labels)
        assert answers.labels(None) == task.labels


def test_the_ends_of_a_number_are_told_by_name() -> None:
    assert Poles.read({"upper": "Yes", "lower": "No"}, (0, 5)).words == ("No", "Yes")
    own = ("0", "5")
    assert Poles.read({"5": ["much"], "0": "little"}, (0, 5), own).words == ("little", "much")
    for words, said in (
        ({"low": "No", "high": "Yes"}, "found 'low' and 'high'"),
        ({"lower": "No"}, "two words"),
        ({"lower": ["No", "Never"], "upper": "Yes"}, "two words"),
        (None, "two words"),
    ):
        with pytest.raises(SettingsError, match=said):
            Poles.read(words, (0, 5), own)
    with pytest.raises(SettingsError, match="bounds"):
        Poles.read({"lower": "No", "upper": "Yes"}, None)
