"""What may stand in the slots, and how users write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import TemplateError
from softprompt.text.answers import (
    Candidate,
    FreeText,
    OwnCandidates,
    Poles,
    Verbalizer,
    answers_from_json,
)


def test_a_label_has_one_word_or_several():
    answers = Verbalizer.read({"no": "bad", "yes": ["good", "great"]})
    assert answers.labels(None) == ("no", "yes")
    assert answers.candidates(None) == (
        Candidate(("bad",), 0),
        Candidate(("good",), 1),
        Candidate(("great",), 1),
    )


def test_several_slots_take_a_word_each():
    answers = Verbalizer.read({"no": [["so", "bad"]], "yes": (("very", "good"), ("so", "fun"))}, 2)
    assert [c.words for c in answers.candidates(None)] == [
        ("so", "bad"),
        ("very", "good"),
        ("so", "fun"),
    ]


def test_named_slots_take_their_words_by_name_in_any_order():
    words = {"no": {"what": "bad", "how": "so"}, "yes": [{"how": "very", "what": "good"}]}
    answers = Verbalizer.read(words, ("how", "what"))
    assert [c.words for c in answers.candidates(None)] == [("so", "bad"), ("very", "good")]
    assert answers == Verbalizer.read({"no": [["so", "bad"]], "yes": [["very", "good"]]}, 2)


@pytest.mark.parametrize(("slots", "has"), [(("how", None), "{mask:how}, {mask}"), (1, "{mask}")])
def test_a_name_that_no_slot_has_is_refused(slots, has):
    with pytest.raises(
        TemplateError, match="label 'no': words are given for the slots how, which;"
    ):
        Verbalizer.read({"no": {"how": "so", "which": "bad"}}, slots)
    with pytest.raises(TemplateError) as caught:
        Verbalizer.read({"no": {"how": "so", "which": "bad"}}, slots)
    assert str(caught.value).endswith(f"the template has {has}")


def test_labels_that_were_read_as_numbers_are_text():
    assert Verbalizer.read({0: "bad", 1: "good"}).labels(None) == ("0", "1")


@pytest.mark.parametrize(
    ("words", "slots", "says"),
    [
        ({}, 1, "answers without labels"),
        ({"no": []}, 1, "label 'no' has no words"),
        ({"no": ""}, 1, "expected 1 non-empty word"),
        ({"no": ["bad", "  "]}, 1, "label 'no': \\['  '\\]"),
        ({"no": [["so", "bad"]]}, 1, "does not fill the template's 1 answer slot"),
        ({"no": ["so", "bad"]}, 2, r"as in \[\[word1, word2\]\]"),
        ({"no": "bad"}, 2, r"as in \[\[word1, word2\]\]"),
        ({"no": True}, 1, "found True; put it in quotes"),
        ({"no": [2]}, 1, "found 2; put it in quotes"),
        ({"no": None}, 1, "found None"),
    ],
)
def test_words_that_cannot_be_read_say_which_label_and_what_is_expected(words, slots, says):
    with pytest.raises(TemplateError, match=says):
        Verbalizer.read(words, slots)


def test_own_candidates_are_labels_and_words_at_once():
    answers = OwnCandidates()
    assert answers.labels(("x", "y")) == ("x", "y")
    assert answers.candidates(("x", "y")) == (Candidate(("x",), 0), Candidate(("y",), 1))
    for nothing in (None, ()):
        with pytest.raises(TemplateError, match="without candidates"):
            answers.candidates(nothing)


def test_free_text_has_no_candidates():
    assert FreeText().candidates(None) == FreeText().labels(None) == ()


@pytest.mark.parametrize(
    ("value", "upper"), [(0, 0.0), (5, 1.0), (2.5, 0.5), (-3, 0.0), (9, 1.0), (1, 0.2)]
)
def test_poles_share_a_number_between_two_words(value, upper):
    mixture = Poles(("No", "Yes"), (0, 5)).mixture(value)
    assert mixture == pytest.approx((1 - upper, upper))


@given(st.floats(-2, 7))
def test_the_number_of_a_mixture_is_the_number(value):
    poles = Poles(("No", "Yes"), (-2, 7))
    assert poles.value(poles.mixture(value)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("bounds", [(5, 0), (1, 1), (0, float("inf")), (float("nan"), 1)])
def test_bounds_that_are_no_range_are_refused(bounds):
    with pytest.raises(TemplateError, match="the lower one first"):
        Poles(("No", "Yes"), bounds)


@pytest.mark.parametrize(
    "answers",
    [
        Verbalizer.read({"no": [["so", "bad"]], "yes": [["很", "好"], ["very", "good"]]}, 2),
        OwnCandidates(),
        FreeText(7),
        Poles(("No", "Yes"), (0.0, 5.0)),
    ],
)
def test_answers_come_back_from_their_description(answers):
    assert answers_from_json(answers.to_json()) == answers


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"kind": "other"},
        {"kind": "text"},
        {"kind": "text", "max_tokens": "many"},
        {"kind": "words", "words": 3},
        {"kind": "poles", "words": ["No"], "bounds": [0, 1]},
        {"kind": ["words"]},
    ],
)
def test_a_description_that_is_not_whole_is_an_error_not_a_crash(description):
    with pytest.raises(TemplateError, match="cannot be read"):
        answers_from_json(description)
