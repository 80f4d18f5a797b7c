"""What a user is told of each label word before anything is trained."""

from __future__ import annotations

import pytest

from softprompt.text.answers import FreeText, OwnCandidates, Poles
from softprompt.text.checks import check_words


def reports(renderer, fields=None, candidates=None):
    return {r.word: r for r in check_words(renderer, fields or {"a": "film"}, candidates)}


def test_a_word_that_is_one_piece_is_shown_without_a_warning(make):
    (bad, good) = check_words(make("roberta", "{a} It was {mask}."), {"a": "film"})
    assert (bad.label, bad.word, bad.pieces, bad.warnings) == (
        "negative",
        "terrible",
        ("Ġterrible",),
        (),
    )
    assert good.pieces == ("Ġgreat",)


def test_a_word_that_splits_says_into_how_many(make):
    """LM-BFF's commonest wrong result: a word without the space that makes it one piece."""
    found = reports(make("roberta", "{a}{mask}.", {"x": "Society", "y": "great"}))
    assert found["Society"].warnings == (f"splits into {len(found['Society'].pieces)} tokens",)
    assert len(found["Society"].pieces) > 1
    assert found["great"].warnings == ()


def test_words_that_are_the_same_tokens_collide(make):
    answers = {"no": "great", "maybe": ["fun", "Great"], "yes": ["good", "GOOD"]}
    found = reports(make("bert", "{a} {mask}", answers))
    assert found["great"].warnings == ("collides with the word of maybe",)
    assert found["Great"].warnings == ("collides with the word of no",)
    assert found["good"].warnings == found["GOOD"].warnings == ()  # one label: no harm


@pytest.mark.parametrize(("name", "word"), [("bert", "ж"), ("xlm-r", "ж"), ("t5", "<")])
def test_a_word_that_the_vocabulary_lacks_maps_to_unknown(make, name, word):
    (report,) = check_words(make(name, "{a} {mask}", {"x": word}), {"a": "film"})
    assert any("maps to the unknown token" in warning for warning in report.warnings)


def test_a_word_with_a_space_of_its_own_is_told_of_the_templates(make):
    (report,) = check_words(make("roberta", "{a} {mask}", {"x": " great"}), {"a": "film"})
    assert any("has a space of its own" in warning for warning in report.warnings)


def test_the_words_of_several_slots_are_named_in_their_warnings(make):
    answers = {"x": [["fun", "Society"]], "y": [["good", "bad"]]}
    first, second = check_words(make("bert", "{mask} or {mask}", answers), {})
    assert first.word == "fun … Society"
    assert first.warnings == ("'Society' splits into 6 tokens",)
    assert second.pieces == ("good", "bad")
    assert second.warnings == ()


def test_own_candidates_are_reported_as_they_are(make):
    found = reports(make("bert", "{a} {mask}", OwnCandidates()), None, ("good film", "fun"))
    assert found["good film"].label == "good film"
    assert found["good film"].warnings == ("splits into 2 tokens",)
    assert found["fun"].warnings == ()


def test_poles_are_words_and_free_text_has_none(make):
    found = check_words(make("bert", "{a} {mask}", Poles(("No", "Yes"), (0, 5))), {"a": "film"})
    assert [(r.label, r.pieces) for r in found] == [("lower", ("no",)), ("upper", ("yes",))]
    assert check_words(make("gpt2", "{a}", FreeText()), {"a": "film"}) == []
