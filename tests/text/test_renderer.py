"""A renderer refuses what cannot work, and makes every example fit."""

from __future__ import annotations

import pytest

from softprompt.errors import TemplateError
from softprompt.text.answers import FreeText, OwnCandidates, Poles, Verbalizer
from softprompt.text.spell import Demonstration

LONG = "good film " * 20
SHOWN = [Demonstration({"a": "fun"}, ("great",)), Demonstration({"a": "dull"}, ("terrible",))]


def text_of(renderer, rendering):
    ids = [i for i in rendering.queries[0].ids if i >= 0]
    return renderer.frame.tokenizer.wrapped.decode(ids)


# What cannot go together.


@pytest.mark.parametrize(
    ("family", "template", "says"),
    [
        ("bert", "{a} It was", "no answer slot: expected {mask}"),
        ("bert", "{a} {mask}{decoder}", "only an encoder-decoder"),
        ("gpt2", "{a}{decoder}{mask}", "only an encoder-decoder"),
        ("t5", "{a} {mask}{decoder}So", "an answer slot before {decoder}"),
        ("t5", "{a} {mask}{decoder}{mask}", "an answer slot before {decoder}"),
        ("bert", "{a} {mask} {mask}", r"1 word(s) ['terrible'] for 2 answer slot(s)"),
    ],
)
def test_a_template_that_the_family_cannot_fill_is_refused_at_once(make, family, template, says):
    answers = Verbalizer.read({"negative": "terrible", "positive": "great"})
    with pytest.raises(TemplateError) as caught:
        make(family, template, answers)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("family", "template"),
    [
        ("bert", "{a} {mask}"),
        ("gpt2", "{a} {mask}."),
        ("gpt2", "{a} {mask}{soft}"),
        ("bart", "{a} {mask}."),
        ("t5", "{a}{decoder}{mask} it is"),
        ("gpt2", "{a} {mask} {mask}"),
    ],
)
def test_free_text_is_refused_where_it_would_have_to_stop_in_the_middle(make, family, template):
    with pytest.raises(TemplateError, match=r"free text|need label words"):
        make(family, template, FreeText())


def test_free_text_may_fill_a_sentinel_anywhere_and_a_slot_at_the_end(make):
    fields = {"a": "fun"}
    for family, template in (("t5", "It was {mask}, {a}"), ("gpt2", "{a}:{mask}"), ("t5", "{a}")):
        renderer = make(family, template, FreeText())
        assert renderer.gold(fields, ("very good",)).queries
        assert renderer.source(fields).ids
        with pytest.raises(TemplateError, match="no candidates to score"):
            renderer.score(fields)


def test_several_slots_need_label_words(make):
    for answers in (OwnCandidates(), Poles(("No", "Yes"), (0, 5))):
        with pytest.raises(TemplateError, match=r"2 answer slots .* need label words"):
            make("bert", "{mask} {mask}", answers)


def test_a_word_without_tokens_is_an_error_that_names_it(make):
    with pytest.raises(TemplateError, match="'\u200b' has no tokens"):
        make("bert", "{a} {mask}", OwnCandidates()).score({"a": "x"}, ("good", "\u200b"))


def test_a_demonstration_separator_is_text_or_sep(make):
    assert make("bert", "{mask}", demonstration_separator=" {sep}")
    with pytest.raises(TemplateError, match=r"expected text and \{sep\}"):
        make("bert", "{mask}", demonstration_separator="{a}")


# Special names in a text.


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "xlm-r", "albert", "t5", "bart", "gpt2", "llama"]
)
def test_a_users_text_never_becomes_a_special_token(make, name):
    text = "a [MASK] </s> <s> <mask> <extra_id_0> [SEP] <pad> <|endoftext|> b"
    renderer = make(name, "{a} It was {mask} ")
    special = renderer.frame.tokenizer.special - {renderer.frame.tokenizer.unknown}

    def specials(fields):
        return [[i for i in q.ids if i in special] for q in renderer.score(fields).queries]

    assert specials({"a": text}) == specials({"a": "a b"})


# Making it fit.


@pytest.mark.parametrize("limit", [9, 12, 20])
@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-r", "t5", "bart", "gpt2", "llama"])
def test_a_long_field_loses_its_end_and_nothing_else(make, name, limit):
    renderer = make(name, "{a} It was {mask} .", n_rows=2, limit=limit)
    full = make(name, "{a} It was {mask} .", n_rows=2).score({"a": LONG})
    rendering = renderer.score({"a": LONG})
    assert max(len(query.ids) for query in rendering.queries) == limit
    assert rendering.queries[0].ids[-4:] == full.queries[0].ids[-4:]
    assert rendering.cut == len(full.queries[0].ids) - limit
    assert "it was" in text_of(renderer, rendering).lower()


def test_what_fits_exactly_is_not_cut(make):
    length = make("bert", "{a} It was {mask}.").score({"a": LONG}).length
    assert make("bert", "{a} It was {mask}.", limit=length).score({"a": LONG}).cut == 0
    assert make("bert", "{a} It was {mask}.", limit=length - 1).score({"a": LONG}).cut == 1


def test_a_shortened_example_is_rendered_as_one_that_was_written_shorter(make):
    for name in ("bert", "roberta", "xlm-r", "llama"):
        renderer = make(name, "{a} It was {mask}", limit=14)
        rendering = renderer.score({"a": LONG})
        shorter = [
            make(name, "{a} It was {mask}").score({"a": ("good film " * 10)[:end].rstrip()})
            for end in range(1, 100)
        ]
        assert rendering.queries in [other.queries for other in shorter]


def test_the_longest_answer_always_fits(make):
    answers = {"no": "bad", "yes": "very good fun"}
    for name in ("bert", "gpt2", "bart"):
        renderer = make(name, "{a} It was {mask}", answers, limit=16)
        rendering = renderer.score({"a": LONG})
        assert max(len(q.ids) for q in rendering.queries) <= 16
        assert max(len(q.decoder or ()) for q in rendering.queries) <= 16
        texts = {tuple(q.ids[:8]) for q in rendering.queries}
        assert len(texts) == 1


def test_the_cut_says_nothing_of_the_answer(make):
    """Training on the gold answer alone sees as much of the text as scoring all of them."""
    answers = {"no": "bad", "yes": "very good fun"}
    for name in ("bert", "gpt2", "t5", "bart"):
        renderer = make(name, "{a} It was {mask}", answers, limit=16)
        cut = renderer.score({"a": LONG}).cut
        assert cut > 0
        assert {renderer.gold({"a": LONG}, w).cut for w in (("bad",), ("very good fun",))} == {cut}
        if name != "bert":
            assert renderer.source({"a": LONG}).cut == cut


def test_free_text_leaves_room_for_what_may_be_generated(make):
    renderer = make("gpt2", "{a}:", FreeText(max_tokens=10), limit=30)
    source = renderer.source({"a": LONG})
    assert len(source.ids) + 10 <= 31  # the last token is generated, not read
    assert renderer.gold({"a": LONG}, ("fun",)).cut == source.cut
    assert renderer.gold({"a": LONG}, ("fun " * 15,)).cut > source.cut


def test_an_answer_in_a_decoder_of_its_own_takes_no_room(make):
    renderer = make("t5", "{a}", FreeText(max_tokens=50), limit=30)
    assert len(renderer.source({"a": LONG}).ids) == 30
    assert renderer.gold({"a": "fun"}, ("good " * 60,)).cut == 0


def test_a_long_field_in_the_decoder_is_cut_there(make):
    renderer = make("t5", "{a}{decoder}{b} so {mask}", limit=20)
    (query, _) = renderer.score({"a": "fun", "b": LONG}).queries
    assert len(query.ids) == 2
    assert len(query.decoder) == 20


def test_a_field_that_must_not_be_cut_and_alone_overflows_is_an_error(make):
    renderer = make("bert", "{a!} {b} {mask}", limit=20)
    with pytest.raises(TemplateError, match=r"23 tokens too long for the limit of 20.*`!` fields"):
        renderer.score({"a": LONG, "b": "fun"})
    assert renderer.score({"a": "fun", "b": LONG}).cut == 24


def test_a_slot_behind_a_shortened_field_is_in_the_context_that_is_left(make):
    renderer = make("bert", "{a}{mask}", {"x": "s"}, limit=5)
    known = renderer.candidate_ids({"a": "film . film , good . film ."})
    rendering = renderer.score({"a": "film . film , good . film ."})
    assert rendering.queries[0].reads[0].tokens == known[0][1][0]
    assert text_of(renderer, rendering).startswith("[CLS] film.")


# Demonstrations.


def test_demonstrations_are_left_out_before_a_field_is_cut(make):
    template = "{a} It was {mask}.{demo}"
    whole = make("bert", template).score({"a": "good"}, demonstrations=SHOWN)
    assert whole.demonstrations == 2
    for limit, shown in ((whole.length, 2), (whole.length - 1, 1), (whole.length - 6, 0)):
        renderer = make("bert", template, limit=limit)
        rendering = renderer.score({"a": "good"}, demonstrations=SHOWN)
        assert rendering.demonstrations == shown
        same = make("bert", template).score({"a": "good"}, demonstrations=SHOWN[:shown])
        assert rendering.queries == same.queries
        assert (rendering.cut > 0) == (shown < 2)


def test_a_field_is_cut_only_when_no_demonstration_is_left(make):
    renderer = make("bert", "{demo}{a} It was {mask}.", limit=20)
    rendering = renderer.score({"a": LONG}, demonstrations=SHOWN)
    assert rendering.demonstrations == 0
    assert rendering.queries == renderer.score({"a": LONG}).queries
    assert rendering.cut > renderer.score({"a": LONG}).cut


def test_as_many_of_many_demonstrations_as_fit_are_shown(make):
    renderer = make("gpt2", "{demo}\n{a} It was {mask}", limit=100, demonstration_separator="\n")
    many = SHOWN * 16
    rendering = renderer.score({"a": "fun"}, demonstrations=many)
    assert 0 < rendering.demonstrations < 32
    assert text_of(renderer, rendering).count("It was") == rendering.demonstrations + 1
    more = many[: rendering.demonstrations + 1]
    assert (
        make("gpt2", "{demo}\n{a} It was {mask}", demonstration_separator="\n")
        .score({"a": "fun"}, demonstrations=more)
        .length
        > 100
    )


def test_demonstrations_may_be_segments_of_their_own(make):
    """LM-BFF: query [SEP] demonstration [SEP] demonstration [SEP]."""
    renderer = make("bert", "{a} It was {mask}.{demo}", demonstration_separator="{sep}")
    rendering = renderer.score({"a": "good"}, demonstrations=SHOWN)
    assert text_of(renderer, rendering) == (
        "[CLS] good it was [MASK]. [SEP] fun it was great. [SEP] dull it was terrible. [SEP]"
    )
    assert set(rendering.queries[0].segments) == {0, 1, 2}


# State.


def test_a_renderer_remembers_no_more_than_it_should(make, monkeypatch):
    monkeypatch.setattr("softprompt.text.known_words.REMEMBERED", 10)
    renderer = make("bert", "{a}{mask}")
    for number in range(30):
        renderer.score({"a": f"w{number}"})
        assert len(renderer._known) <= 10


def test_the_same_example_is_rendered_the_same_every_time(make):
    renderer = make("xlm-r", "{a}{mask}", limit=12)
    first = renderer.score({"a": LONG})
    renderer.score({"a": "总体评价是"})
    assert renderer.score({"a": LONG}) == first
