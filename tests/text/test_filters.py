"""Filters: what each does to a text, and that none ever fails on one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.text.filters import FILTERS, suggest_filter

CASES = [
    ("lower_first", None, "The END", "the END"),
    ("upper_first", None, "éa", "Éa"),
    ("lower", None, "The END", "the end"),
    ("upper", None, "The end", "THE END"),
    ("strip", None, " a b\n", "a b"),
    ("strip_end", None, "Really?! ", "Really"),
    ("strip_end", None, "很好。", "很好"),
    ("strip_end", None, "怎么样？！", "怎么样"),
    ("strip_end", None, "मैं ठीक हूँ।", "मैं ठीक हूँ"),
    ("strip_end", None, "هل هذا صحيح؟", "هل هذا صحيح"),
    ("strip_end", None, 'He said "no."', 'He said "no."'),
    ("strip_end", None, "a . b", "a . b"),
    ("drop_last", None, "What is it?", "What is it"),
    ("drop_last", None, "", ""),
    ("one_line", None, "a\nb\r\nc\u2028d", "a b c d"),
    ("squeeze", None, "a \t\n b  c", "a b c"),
    ("no_tags", None, "a <b>good</b> film<br />yes", "a good film yes"),
    ("no_tags", None, "2 < 3 and 5 > 4, I <3 it", "2 < 3 and 5 > 4, I <3 it"),
    ("first_words", "2", "one  two three", "one  two"),
    ("first_words", "3", " one two three ", " one two three "),
    ("first_chars", "2", "很好看", "很好"),
    ("or", "untitled", "  ", "untitled"),
    ("or", "untitled", "A title", "A title"),
]


@pytest.mark.parametrize(("name", "argument", "text", "expected"), CASES)
def test_a_filter_does_what_its_name_says(name, argument, text, expected):
    assert FILTERS[name](text, argument) == expected


def test_every_filter_has_a_case_here_and_a_line_for_the_manual():
    assert {case[0] for case in CASES} == set(FILTERS)
    assert all(rule.does for rule in FILTERS.values())


@given(st.sampled_from(sorted(FILTERS)), st.text(), st.integers(1, 999_999_999), st.text())
def test_no_filter_fails_on_any_text(name, text, count, words):
    takes = FILTERS[name].takes
    argument = {"nothing": None, "count": str(count), "text": words}[takes]
    assert isinstance(FILTERS[name](text, argument), str)


def test_long_texts_without_an_end_cost_no_more_than_their_length():
    # Quadratic backtracking or copying would take minutes at this size.
    length = 300_000
    assert FILTERS["no_tags"]("<a" + "b" * length) == "<a" + "b" * length
    assert FILTERS["no_tags"]("<a" * length) == "<a" * length
    assert FILTERS["strip_end"]("." * length) == ""


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("lower", "3"),
        ("first_words", None),
        ("first_words", "0"),
        ("first_words", "-1"),
        ("first_words", "²"),
        ("first_words", "9" * 5000),
        ("or", None),
    ],
)
def test_a_wrong_argument_is_named_before_any_text_is_seen(name, argument):
    assert FILTERS[name].expected(argument)
    with pytest.raises(ValueError, match="expected"):
        FILTERS[name]("text", argument)


def test_an_unknown_filter_gets_the_closest_name():
    assert suggest_filter("first_word") == "did you mean 'first_words'?"
    assert suggest_filter("qqqq").startswith("there are lower_first, upper_first")
