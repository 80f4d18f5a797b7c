"""Runs become tokens, words become answers in their context, fields are shortened at their ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.text.render import Context, answer_ids, level, shorten, token_count, tokenise
from softprompt.text.spell import Boundary, Rows, Run, Slot, Span, spell
from softprompt.text.template import parse
from softprompt.text.tokens import Encoding


def tokenised(tokenizer, source, fields=None, **options):
    made = spell(parse(source), fields or {}, rows={0: Rows(0, 2)})
    return tokenise(made.main, tokenizer, **options)


def pieces(tokenizer, source, fields=None, **options):
    """The pieces of all runs, one list each."""
    found = tokenised(tokenizer, source, fields, **options)
    return [tokenizer.pieces(p.ids) for p in found if isinstance(p, Encoding)]


def answer(tokenizer, source, word, fields=None, slot=0, **options):
    """The pieces of a word in a slot of a template."""
    contexts = [
        p for p in tokenised(tokenizer, source, fields, **options) if isinstance(p, Context)
    ]
    return tokenizer.pieces(answer_ids(tokenizer, contexts[slot], [word])[0])


# Where a text begins and where it goes on.


def test_a_run_is_tokenised_once_as_running_text(tokenizers):
    class Counting:
        def __init__(self, inner):
            self.inner, self.texts = inner, []

        def encode_many(self, texts):
            self.texts += [text for text, _ in texts]
            return self.inner.encode_many(texts)

    counting = Counting(tokenizers["roberta"])
    tokenised(counting, "{a}, {b} It was {mask}.", {"a": "fun film", "b": "good plot"})
    assert counting.texts == ["fun film, good plot It was", "."]


def test_the_text_after_a_slot_gets_no_space_of_its_own(tokenizers):
    for name in ("roberta", "xlm-r", "t5", "llama"):
        assert pieces(tokenizers[name], "It was {mask}.")[1] == ["."]
        assert pieces(tokenizers[name], "{mask} film")[0][0] in ("Ġfilm", "▁film")
        assert pieces(tokenizers[name], "{mask}film")[0][0] == "film"


def test_words_after_a_break_keep_the_spaces_that_the_template_has(tokenizers):
    for name in ("xlm-r", "albert", "t5", "llama"):
        assert pieces(tokenizers[name], "{mask} good film") == [["▁good", "▁film"]]


def test_rows_at_the_beginning_do_not_hide_that_a_text_begins_there(tokenizers):
    for name in ("xlm-r", "t5", "llama"):
        assert pieces(tokenizers[name], "{soft}film") == [["▁film"]]
        assert pieces(tokenizers[name], "{soft}{start}film") == [["▁film"]]
        assert pieces(tokenizers[name], "film{start}film")[1] == ["film"]


def test_rows_in_the_middle_are_a_break(tokenizers):
    run = (Run((Span("film"),)), Rows(0, 1), Run((Span("film"),)))
    first, _, second = tokenise(run, tokenizers["t5"])
    assert tokenizers["t5"].pieces(first.ids) == ["▁film"]
    assert tokenizers["t5"].pieces(second.ids) == ["film"]


def test_a_text_begins_anew_after_a_pair_boundary(tokenizers):
    run = (Run((Span("film"),)), Boundary(), Run((Span("film"),)))
    first, _, second = tokenise(run, tokenizers["xlm-r"])
    assert first.ids == second.ids
    behind = (*run[:2], Slot(0), *run[2:])
    assert tokenizers["xlm-r"].pieces(tokenise(behind, tokenizers["xlm-r"])[3].ids) == ["film"]


# Answers.


@pytest.mark.parametrize(
    ("name", "source", "word", "expected"),
    [
        ("roberta", "It was {mask}.", "great", ["Ġgreat"]),
        ("roberta", "It was{mask}.", "great", ["great"]),
        ("roberta", "{mask}: it", "great", ["great"]),
        ("roberta", " {mask}: it", "great", ["Ġgreat"]),
        ("roberta", "总体评价是{mask}的。", "好", ["å¥½"]),
        ("bert", "It was {mask}.", "Great", ["great"]),
        ("bert", "总体评价是{mask}的。", "好", ["好"]),
        ("bert", "film{mask}", "s", ["##s"]),
        ("xlm-r", "It was {mask}.", "great", ["▁great"]),
        ("xlm-r", "{mask}: it", "great", ["▁great"]),
        ("xlm-r", "总体评价是{mask}的。", "差", ["差"]),
        ("xlm-r", "总体评价是{mask}的。", "好", ["好"]),  # 是好 is one piece, 是 stands already
        ("t5", "It was {mask}.", "great", ["▁great"]),
        ("llama", "It was {mask}", "great", ["▁great"]),
        ("llama", "It was {mask}", "great film", ["▁great", "▁film"]),
        ("gpt2", "Review:\n{mask}", "great", ["great"]),
    ],
)
def test_answers_are_tokenised_in_context(tokenizers, name, source, word, expected):
    assert answer(tokenizers[name], source, word) == expected


def test_a_slot_right_behind_a_field_sees_the_fields_end(tokenizers):
    assert answer(tokenizers["bert"], "{a}{mask}", "s", {"a": "very good film"}) == ["##s"]
    assert answer(tokenizers["bert"], "{a}{mask}", "s", {"a": "good film."}) == ["s"]
    assert answer(tokenizers["xlm-r"], "{a}{mask}", "好", {"a": "总体评价是"}) == ["好"]
    assert answer(tokenizers["roberta"], "{a} {mask}", "great", {"a": "a"}) == ["Ġgreat"]
    assert answer(tokenizers["roberta"], "{a}{mask}", "great", {"a": ""}) == ["great"]
    assert answer(tokenizers["t5"], "{a}{mask}", "great", {"a": ""}) == ["▁great"]


def test_the_context_is_the_last_word_whatever_stands_before_it(tokenizers):
    long = tokenised(tokenizers["roberta"], "{a} was {mask}", {"a": "good film " * 50})
    short = tokenised(tokenizers["roberta"], "{a} was {mask}", {"a": "dull"})
    assert long[-1] == short[-1] == Context(0, " was", " ", True)


def test_the_second_slot_of_a_run_continues_the_first(tokenizers):
    assert answer(tokenizers["t5"], "{mask}{mask}", "film", slot=1) == ["film"]
    assert answer(tokenizers["t5"], "{mask} {mask}", "film", slot=1) == ["▁film"]


LEFT = st.text("a bcé是好差 .,\n", max_size=30)
WORD = st.text("a bcé是好差.", min_size=1, max_size=8).filter(str.strip)


@given(left=LEFT, word=WORD, space=st.sampled_from(["", " "]))
def test_an_answer_is_the_whole_text_minus_its_left(tokenizers, left, word, space):
    """The definition, over the whole left text, wherever left and word do not merge."""
    for name in ("bert", "roberta", "xlm-r", "llama"):
        tokenizer = tokenizers[name]
        source = ["{a}{mask}", "{a} {mask}"][len(space)]
        (context,) = (
            p for p in tokenised(tokenizer, source, {"a": left}) if isinstance(p, Context)
        )
        before = tokenizer.encode(left, continues=False).ids
        both = tokenizer.encode(left + space + word, continues=False).ids
        if both[: len(before)] == before and len(both) > len(before):
            assert answer_ids(tokenizer, context, [word, word]) == [both[len(before) :]] * 2


# Each piece apart.


def test_per_piece_tokenises_each_piece_as_lm_bff_does(tokenizers):
    tokenizer = tokenizers["roberta"]
    together = pieces(tokenizer, "{a}s It was {mask}.", {"a": "film"})
    apart = pieces(tokenizer, "{a}s It was {mask}.", {"a": "film"}, per_piece=True)
    assert together == [["film", "s", "ĠIt", "Ġwas"], ["."]]
    assert apart == [["film", "s", "ĠIt", "Ġwas"], ["."]]
    assert pieces(tokenizer, "goo{a}", {"a": "d film"}) == [["good", "Ġfilm"]]
    assert pieces(tokenizer, "goo{a}", {"a": "d film"}, per_piece=True) == [
        [*tokenizer.pieces(tokenizer.encode("goo", continues=False).ids), "d", "Ġfilm"]
    ]


def test_per_piece_hands_a_space_to_the_piece_behind_it(tokenizers):
    """PET puts a space before every piece: the template writes it, wherever it stands."""
    made = pieces(tokenizers["roberta"], "It was {mask} so {a}", {"a": "good"}, per_piece=True)
    assert made == [["It", "Ġwas"], ["Ġso", "Ġgood"]]


def test_per_piece_offsets_count_in_the_run(tokenizers):
    (found,) = tokenised(tokenizers["roberta"], "goo {a}!", {"a": "d film"}, per_piece=True)
    assert found.spans[-1] == (10, 11)
    assert [end for _, end in found.spans] == sorted(end for _, end in found.spans)


def test_per_piece_words_are_tokenised_by_themselves(tokenizers):
    assert answer(tokenizers["bert"], "film{mask}", "s", per_piece=True) == ["s"]
    assert answer(tokenizers["t5"], "It was {mask}", "film", per_piece=True) == ["▁film"]


# Shortening.


def shortened(tokenizer, source, fields, excess):
    made = spell(parse(source), fields, rows={}).main
    cut = shorten(made, tokenise(made, tokenizer), excess)
    return None if cut is None else "|".join(p.text for p in cut if isinstance(p, Run))


def test_the_longest_field_loses_its_end_first(tokenizers):
    fields = {"a": "good good good good", "b": "bad bad"}
    assert shortened(tokenizers["bert"], "{a} / {b}", fields, 1) == "good good good / bad bad"
    assert shortened(tokenizers["bert"], "{a} / {b}", fields, 3) == "good good / bad"
    assert shortened(tokenizers["bert"], "{a} / {b}", fields, 4) == "good / bad"
    assert shortened(tokenizers["bert"], "{a} / {b}", fields, 99) == " / "


def test_a_field_that_is_kept_is_not_shortened(tokenizers):
    fields = {"a": "good good good good", "b": "bad bad"}
    assert shortened(tokenizers["bert"], "{a!} / {b}", fields, 1) == "good good good good / bad"
    assert shortened(tokenizers["bert"], "{a!} / {b!}", fields, 1) is None
    assert shortened(tokenizers["bert"], "a b c", {}, 1) is None


def test_a_token_that_begins_in_the_template_still_counts_for_its_field(tokenizers):
    assert shortened(tokenizers["roberta"], "It was {a}", {"a": "good"}, 1) == "It was "


def test_a_token_that_ends_in_the_template_goes_with_its_field(tokenizers):
    assert shortened(tokenizers["roberta"], "{a}t film", {"a": "a good grea"}, 1) == "a goodt film"


def test_a_character_of_several_tokens_is_cut_whole(tokenizers):
    assert len(tokenizers["roberta"].encode("电", continues=True).ids) == 3
    for excess, left in ((1, "影电"), (3, "影电"), (4, "影"), (6, "影"), (7, "|")):
        made = shortened(tokenizers["roberta"], "{a}|", {"a": "影电影"}, excess)
        assert made is not None
        assert made.startswith(left)
        assert made.endswith("|")


def test_a_text_without_tokens_cannot_be_shortened(tokenizers):
    assert shortened(tokenizers["bert"], "{a}", {"a": "  \n "}, 1) is None


def test_equal_fields_lose_alike_and_the_last_one_first():
    assert level({(0, 0): 5, (0, 1): 5}, 1) == {(0, 0): 0, (0, 1): 1}
    assert level({(0, 0): 5, (0, 1): 5, (0, 2): 9}, 4) == {(0, 0): 0, (0, 1): 0, (0, 2): 4}
    assert level({(0, 0): 5, (0, 1): 5, (0, 2): 9}, 6) == {(0, 0): 0, (0, 1): 1, (0, 2): 5}


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    excess=st.integers(1, 100),
)
def test_levelling_takes_what_is_asked_from_the_longest(counts, excess):
    keyed = {(0, place): count for place, count in enumerate(counts)}
    cuts = level(keyed, excess)
    left = [keyed[key] - cuts[key] for key in keyed]
    assert sum(cuts.values()) == min(excess, sum(counts))
    assert all(rest >= 0 for rest in left)
    tallest = max(left)
    assert all(cuts[key] == 0 or keyed[key] - cuts[key] >= tallest - 1 for key in keyed)


TEXT = st.text("ab good.,!é是好差电🙂\n", max_size=25)


@given(a=TEXT, b=TEXT, excess=st.integers(1, 30))
def test_shortening_only_takes_a_suffix_and_always_takes_something(tokenizers, a, b, excess):
    for name in ("bert", "roberta", "xlm-r", "llama"):
        made = spell(parse("{a}<>{b}."), {"a": a, "b": b}, rows={}).main
        tokens = tokenise(made, tokenizers[name])
        cut = shorten(made, tokens, excess)
        if cut is None:
            continue
        text = cut[0].text
        first, second = text[:-1].split("<>")
        assert a.startswith(first)
        assert b.startswith(second)
        assert len(first) + len(second) < len(a) + len(b)
        left = token_count(tokenise(cut, tokenizers[name]))
        assert left <= token_count(tokens) + 1  # a border may split anew
