"""Where class vectors read: one row, at the one position where the answer would begin."""

from __future__ import annotations

import pytest

from softprompt.errors import TemplateError
from softprompt.text.answers import Classes
from softprompt.text.checks import check_words
from tests.text.test_layout import only, shown

ANSWERS = Classes({"down": (("bad",), ("terrible",)), "up": (("very good",),)})
LONG = "fun film " * 9


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_masked_model_is_read_at_one_mask_however_long_the_words_are(make, name):
    renderer = make(name, "{text} so {mask}.", ANSWERS, n_rows=2)
    rendering = renderer.score({"text": "fun film"})
    query = only(rendering)
    assert query.ids.count(renderer.frame.tokenizer.mask) == 1
    place = query.ids.index(renderer.frame.tokenizer.mask)
    assert [read.positions for read in query.reads] == [(place,)] * 2
    assert [read.tokens for read in query.reads] == [(-1,), (-2,)]
    assert rendering.labels == ("down", "up")
    assert rendering.label_of == (0, 1)
    assert sum(number < 0 for number in query.ids) == 2


def test_a_causal_model_is_read_before_the_answer_and_sees_nothing_behind_it(make):
    renderer = make("gpt2", "{text} so {mask} . {text}", ANSWERS)
    query = only(renderer.score({"text": "fun film"}))
    bare = only(make("gpt2", "{text} so {mask}", ANSWERS).score({"text": "fun film"}))
    assert query == bare
    assert {read.positions for read in query.reads} == {(len(query.ids) - 1,)}
    assert query.ids == renderer.source({"text": "fun film"}).ids


@pytest.mark.parametrize(
    ("template", "last"),
    [
        ("{text} so {mask}.", "<extra_id_0>"),
        ("{text}", "<pad>"),
        ("{text}{decoder}so {mask} .", "▁so"),
    ],
)
def test_a_decoder_is_read_where_its_answer_begins(make, template, last):
    renderer = make("t5", template, ANSWERS)
    query = only(renderer.score({"text": "fun film"}))
    assert query.decoder is not None
    assert shown(renderer, query.decoder)[-1] == last
    assert {read.positions for read in query.reads} == {(len(query.decoder) - 1,)}


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_a_text_is_cut_for_the_slot_and_not_for_any_word(make, name):
    renderer = make(name, "{text} so {mask}", ANSWERS, limit=12)
    rendering = renderer.score({"text": LONG})
    assert rendering.cut > 0
    assert len(only(rendering).ids) == 12
    drafted = renderer.drafts([{"text": LONG}])[0]
    assert renderer.score({"text": LONG}, draft=drafted) == rendering


def test_words_of_class_vectors_are_not_reported_on(make):
    renderer = make("bert", "{text} so {mask}", ANSWERS)
    assert check_words(renderer, {"text": "fun"}) == []
    words = [texts for texts, _ in renderer.candidate_ids({"text": "fun"})]
    assert words == [("bad",), ("terrible",), ("very good",)]


def test_a_causal_model_without_anything_before_the_answer_is_refused(make):
    renderer = make("gpt2", "{mask} {text}", ANSWERS)
    with pytest.raises(TemplateError, match="nothing stands before the answer slot"):
        renderer.score({"text": "fun"})


def test_rows_behind_the_slot_are_refused_only_where_a_method_has_rows(make):
    template = "{text} {mask} {soft:2}"
    assert make("gpt2", template, ANSWERS).total_rows == 0
    with pytest.raises(TemplateError, match="learned rows behind"):
        make("gpt2", template, ANSWERS, n_rows=2)
    assert make("bert", template, ANSWERS, n_rows=2).total_rows == 2
