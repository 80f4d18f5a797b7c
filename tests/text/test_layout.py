"""What each family is asked: which ids stand where, and what is read off which position."""

from __future__ import annotations

import pytest

from softprompt.errors import TemplateError
from softprompt.text.answers import FreeText, OwnCandidates, Verbalizer

TEXT = {"a": "fun film", "b": "good plot"}


def shown(renderer, ids):
    """Ids as pieces; learned row r as Pr."""
    tokenizer = renderer.frame.tokenizer
    return [f"P{-1 - i}" if i < 0 else tokenizer.pieces((i,))[0] for i in ids]


def only(rendering):
    (query,) = rendering.queries
    return query


def read(renderer, rendering):
    """For each candidate: (piece before, piece read) of every read."""
    found = {}
    for query in rendering.queries:
        ids = query.ids if query.decoder is None else query.decoder
        for one in query.reads:
            before = shown(renderer, [ids[p] for p in one.positions])
            found[one.candidate] = list(zip(before, shown(renderer, one.tokens), strict=True))
    return found


# Masked.


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-r", "albert"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("fun film", "good plot"),
        ("It was bad .", "总体评价是好的。"),
        ("", "good plot"),
        ("a", "."),
    ],
)
def test_a_pair_is_framed_as_the_tokenizer_frames_it(make, wrapped, name, first, second):
    renderer = make(name, "{a}{sep}{b} {mask}")
    query = only(renderer.score({"a": first, "b": second}))
    expected = wrapped[name](first, second, return_token_type_ids=True)
    place = query.ids.index(renderer.frame.tokenizer.mask)
    assert list(query.ids[:place] + query.ids[place + 1 :]) == expected["input_ids"]
    if name in ("bert", "albert"):
        segments = query.segments[:place] + query.segments[place + 1 :]
        assert list(segments) == expected["token_type_ids"]


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-r", "albert"])
def test_a_single_text_is_framed_as_the_tokenizer_frames_it(make, wrapped, name):
    # XLM-R's and ALBERT's own tokenizer puts a space before a full stop that follows a mask.
    stop = "." if name in ("bert", "roberta") else ""
    query = only(make(name, f"{{a}} It was {{mask}}{stop}").score(TEXT))
    text = f"fun film It was {wrapped[name].mask_token}{stop}"
    assert list(query.ids) == wrapped[name](text)["input_ids"]
    with_rows = only(make(name, f"{{a}} It was {{mask}}{stop}", n_rows=2).score(TEXT))
    assert [i for i in with_rows.ids if i >= 0] == list(query.ids)


def test_segments_go_on_counting_at_each_boundary(make):
    query = only(make("bert", "{a}{sep}{b}{sep}{mask}").score(TEXT))
    assert query.segments == (0, 0, 0, 0, 1, 1, 1, 2, 2)


def test_a_word_of_several_tokens_gets_as_many_masks_as_it_has_tokens(make):
    renderer = make("bert", "It was {mask}.", {"no": "terrible", "yes": "good fun", "so": "fab"})
    rendering = renderer.score({})
    assert [q.ids.count(renderer.frame.tokenizer.mask) for q in rendering.queries] == [1, 2, 3]
    assert read(renderer, rendering) == {
        0: [("[MASK]", "terrible")],
        1: [("[MASK]", "good"), ("[MASK]", "fun")],
        2: [("[MASK]", "f"), ("[MASK]", "##a"), ("[MASK]", "##b")],
    }


def test_words_of_one_length_share_a_row(make):
    renderer = make("bert", "It was {mask}.", {"no": ["bad", "dull"], "yes": ["good", "great"]})
    rendering = renderer.score({})
    assert [len(query.reads) for query in rendering.queries] == [4]
    assert rendering.label_of == (0, 0, 1, 1)
    assert rendering.labels == ("no", "yes")


def test_two_slots_are_read_together(make):
    renderer = make(
        "bert", "{mask} film, {mask} plot", {"no": [["dull", "bad"]], "yes": [["fun", "good"]]}
    )
    rendering = renderer.score({})
    (query,) = rendering.queries
    assert [one.tokens for one in query.reads] == [
        tuple(renderer.frame.tokenizer.encode(t, continues=True).ids)
        for t in ("dull bad", "fun good")
    ]
    assert {query.ids[p] for one in query.reads for p in one.positions} == {4}


def test_a_template_that_begins_with_its_slot(make):
    renderer = make("roberta", "{mask}: {a}")
    assert shown(renderer, only(renderer.score(TEXT)).ids)[:3] == ["<s>", "<mask>", ":"]


def test_start_tokens_stand_first_or_where_the_template_says(make):
    def pieces(template):
        renderer = make("bert", template, n_rows=2)
        return shown(renderer, only(renderer.score(TEXT)).ids)[:4]

    assert pieces("{a} {mask}") == ["[CLS]", "P0", "P1", "fun"]
    assert pieces("{soft}{a} {mask}") == ["[CLS]", "P0", "P1", "fun"]
    assert pieces("{soft}{start}{a} {mask}") == ["P0", "P1", "[CLS]", "fun"]
    assert pieces("{start}{a} {mask}") == ["[CLS]", "P0", "P1", "fun"]


def test_groups_of_rows_are_one_matrix_in_order_of_first_appearance(make):
    renderer = make("bert", "{soft:2#x}{a}{soft:'fun film plot'}{#x}{soft}{mask}", n_rows=4)
    rows = [-1 - i for i in only(renderer.score(TEXT)).ids if i < 0]
    assert rows == [0, 1, 2, 3, 4, 0, 1, 5, 6, 7, 8]
    assert renderer.total_rows == 9


# Causal.


def test_a_causal_answer_is_read_where_the_token_before_it_stands(make):
    renderer = make("gpt2", "{a} It was {mask}")
    rendering = renderer.score(TEXT)
    assert shown(renderer, only(rendering).ids)[-1] == "Ġwas"
    assert read(renderer, rendering) == {0: [("Ġwas", "Ġterrible")], 1: [("Ġwas", "Ġgreat")]}


@pytest.mark.parametrize(
    ("left_out", "same"),
    [
        ("{a} It was", "{a} It was {mask}"),
        ("{a} It was ", "{a} It was {mask}"),
        ("{a}\n", "{a}\n{mask}"),
        ("{a}{sep}", "{a}{sep}{mask}"),
        ("{soft}{a}{soft}", "{soft}{a}{soft} {mask}"),
        ("{a}", "{a} {mask}"),
    ],
)
def test_a_causal_slot_left_out_follows_the_text_behind_a_space(make, left_out, same):
    for name in ("gpt2", "llama"):
        given = make(name, left_out, n_rows=2).score(TEXT)
        assert given == make(name, same, n_rows=2).score(TEXT)


def test_a_causal_slot_in_the_middle_reads_the_answer_and_what_follows(make):
    renderer = make("gpt2", "It was {mask} film")
    rendering = renderer.score({})
    assert len(rendering.queries) == 2
    assert read(renderer, rendering)[1] == [("Ġwas", "Ġgreat"), ("Ġgreat", "Ġfilm")]


def test_learned_rows_behind_a_causal_slot_are_not_read_as_tokens(make):
    renderer = make("gpt2", "It was {mask} a{soft:2} film{soft:1}", n_rows=2)
    rendering = renderer.score({})
    assert read(renderer, rendering)[0] == [
        ("Ġwas", "Ġterrible"),
        ("Ġterrible", "Ġa"),
        ("P1", "Ġfilm"),
    ]
    assert all(query.ids[-1] == -2 for query in rendering.queries)


def test_causal_candidates_that_differ_in_their_last_token_share_a_row(make):
    answers = {"a": "so good", "b": "so bad", "c": "fun"}
    renderer = make("gpt2", "It was {mask}", answers)
    rendering = renderer.score({})
    assert [len(query.reads) for query in rendering.queries] == [2, 1]
    assert read(renderer, rendering)[1] == [("Ġwas", "Ġso"), ("Ġso", "Ġbad")]


def test_a_causal_slot_with_nothing_before_it_is_refused_without_a_start_token(make):
    with pytest.raises(TemplateError, match="nothing stands before"):
        make("gpt2", "{mask} film").score({})
    assert make("llama", "{mask} film").score({}).queries
    assert make("gpt2", "{mask} film", n_rows=1).score({}).queries


def test_causal_sequences_have_a_start_but_no_end_token(make, wrapped):
    query = only(make("llama", "{a} It was {mask}").score(TEXT))
    assert list(query.ids) == wrapped["llama"]("fun film It was")["input_ids"]


def test_a_free_causal_answer_ends_with_the_end_token(make):
    renderer = make("llama", "{a}: {mask}", FreeText())
    rendering = renderer.gold(TEXT, ("so good",))
    assert read(renderer, rendering)[0] == [(":", "▁so"), ("▁so", "▁good"), ("▁good", "</s>")]
    empty = renderer.gold(TEXT, ("",))
    assert read(renderer, empty)[0][-1][1] == "</s>"


# Encoder-decoder.


def test_the_decoder_answers_where_the_slot_is_left_out(make, wrapped):
    renderer = make("t5", "sentence: {a}")
    rendering = renderer.score(TEXT)
    assert list(rendering.queries[0].ids) == wrapped["t5"]("sentence: fun film")["input_ids"]
    assert read(renderer, rendering) == {
        0: [("<pad>", "▁terrible"), ("▁terrible", "</s>")],
        1: [("<pad>", "▁great"), ("▁great", "</s>")],
    }


def test_a_t5_slot_in_the_text_is_a_sentinel(make):
    renderer = make("t5", "{a} It was {mask}.")
    rendering = renderer.score(TEXT)
    expected = ["▁fun", "▁film", "▁It", "▁was", "<extra_id_0>", ".", "</s>"]
    assert shown(renderer, rendering.queries[0].ids) == expected
    assert shown(renderer, rendering.queries[1].decoder) == ["<pad>", "<extra_id_0>", "▁great"]
    assert read(renderer, rendering)[1] == [("<extra_id_0>", "▁great"), ("▁great", "<extra_id_1>")]


def test_two_t5_slots_are_two_sentinels_and_the_one_between_is_read(make):
    renderer = make("t5", "{mask} film, {mask} plot", {"x": [["fun", "good"]]})
    rendering = renderer.score({})
    assert read(renderer, rendering)[0] == [
        ("<extra_id_0>", "▁fun"),
        ("▁fun", "<extra_id_1>"),
        ("<extra_id_1>", "▁good"),
        ("▁good", "<extra_id_2>"),
    ]


def test_more_slots_than_sentinels_are_refused_at_once(make):
    with pytest.raises(TemplateError, match=r"5 sentinels.*found 4"):
        make("t5", "{mask}" * 4, {"x": [["a"] * 4]})


def test_a_slot_in_the_decoder_continues_the_decoders_text(make):
    renderer = make("t5", "{a}{decoder}It was {mask}")
    rendering = renderer.score(TEXT)
    assert shown(renderer, rendering.queries[0].ids) == ["▁fun", "▁film", "</s>"]
    assert read(renderer, rendering)[1] == [("▁was", "▁great"), ("▁great", "</s>")]
    assert make("t5", "{a}{decoder}It was").score(TEXT) == rendering
    bare, none = make("t5", "{a}{decoder}").score(TEXT), make("t5", "{a}").score(TEXT)
    assert bare == none


def test_rows_in_the_decoder_stand_before_the_answer(make):
    renderer = make("t5", "{a}{decoder}{soft}{mask}", n_rows=2)
    rendering = renderer.score(TEXT)
    assert shown(renderer, rendering.queries[0].decoder)[:3] == ["<pad>", "P0", "P1"]
    assert read(renderer, rendering)[0][0] == ("P1", "▁terrible")


def test_bart_reconstructs_the_text_with_the_answer(make):
    renderer = make("bart", "{a} It was {mask}.", n_rows=2)
    rendering = renderer.score(TEXT)
    main = shown(renderer, rendering.queries[0].ids)
    assert main == ["<s>", "P0", "P1", "fun", "Ġfilm", "ĠIt", "Ġwas", "<mask>", ".", "</s>"]
    decoder = shown(renderer, rendering.queries[1].decoder)
    assert decoder == ["</s>", "<s>", "fun", "Ġfilm", "ĠIt", "Ġwas", "Ġgreat", "."]
    assert read(renderer, rendering)[1] == [("Ġwas", "Ġgreat"), ("Ġgreat", "."), (".", "</s>")]


def test_sep_is_a_newline_outside_masked_families_unless_set(make):
    for name in ("gpt2", "bart"):
        renderer = make(name, "{a}{sep}{b}")
        assert "Ċ" in shown(renderer, renderer.score(TEXT).queries[0].ids)
        renderer = make(name, "{a}{sep}{b}", separator=" | ")
        assert "|" in "".join(shown(renderer, renderer.score(TEXT).queries[0].ids))


def test_sentinel_answers_begin_with_the_first_sentinel(make):
    renderer = make("t5", "{a}", sentinel_answers=True)
    rendering = renderer.score(TEXT)
    assert read(renderer, rendering)[1] == [("<extra_id_0>", "▁great"), ("▁great", "</s>")]
    assert shown(renderer, renderer.source(TEXT).decoder) == ["<pad>", "<extra_id_0>"]
    with pytest.raises(TemplateError, match="1 sentinels"):
        make("bart", "{a}", sentinel_answers=True)


def test_an_encoder_decoder_without_sentinels_or_mask_cannot_fill_a_slot(make):
    assert make("pegasus", "{a} It was").score(TEXT).queries
    with pytest.raises(TemplateError, match="no sentinels and was not taught to fill a mask"):
        make("pegasus", "{a} It was {mask}.")


def test_own_candidates_of_several_lengths(make):
    renderer = make("bert", "{a} so {mask}.", OwnCandidates())
    rendering = renderer.score(TEXT, ("it was fun", "bad", "good"))
    assert rendering.labels == ("it was fun", "bad", "good")
    assert sorted(len(query.reads) for query in rendering.queries) == [1, 2]


# What a generator continues.


@pytest.mark.parametrize(
    ("name", "template", "main", "decoder"),
    [
        ("llama", "{a}: {mask}", ["<s>", "▁fun", "▁film", ":"], []),
        ("t5", "{a}", ["▁fun", "▁film", "</s>"], ["<pad>"]),
        ("t5", "{a}{decoder}It {mask}", ["▁fun", "▁film", "</s>"], ["<pad>", "▁It"]),
        (
            "t5",
            "{a} {mask}.",
            ["▁fun", "▁film", "<extra_id_0>", ".", "</s>"],
            ["<pad>", "<extra_id_0>"],
        ),
        (
            "bart",
            "{a} {mask}",
            ["<s>", "fun", "Ġfilm", "<mask>", "</s>"],
            ["</s>", "<s>", "fun", "Ġfilm"],
        ),
    ],
)
def test_a_source_is_the_scored_sequence_up_to_its_answer(make, name, template, main, decoder):
    renderer = make(name, template, FreeText())
    source = renderer.source(TEXT)
    assert shown(renderer, source.ids) == main
    assert shown(renderer, source.decoder) == decoder
    gold = only(renderer.gold(TEXT, ("great",)))
    begun = gold.ids if gold.decoder is None else gold.decoder
    given = source.decoder if gold.decoder is not None else source.ids
    assert begun[: len(given)] == given
    assert len(source.segments) == len(source.ids)


def test_masked_backbones_generate_nothing(make):
    with pytest.raises(TemplateError, match="cannot generate"):
        make("bert", "{a} {mask}").source(TEXT)


def test_labels_and_words_of_a_verbalizer_keep_their_order(make):
    answers = Verbalizer.read({"2": "good", "1": ["bad", "dull"]})
    rendering = make("bert", "{a} {mask}", answers).score(TEXT)
    assert rendering.labels == ("2", "1")
    assert rendering.label_of == (0, 1, 1)
