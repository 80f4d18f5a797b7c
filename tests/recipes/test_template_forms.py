"""What a generator reads, to the letter, and the template that its output stands for."""

from __future__ import annotations

import pytest

from softprompt.errors import SettingsError
from softprompt.recipes.search.templates.forms import forms, grown, is_spaced, source_ids
from softprompt.text.lm_bff import from_lm_bff
from softprompt.text.tokens import Encoding


class Letters:
    """A tokenizer of single letters; `^` marks what is encoded as the beginning of a text."""

    def __init__(self, n_sentinels: int = 3):
        self.sentinels = tuple(range(-1, -1 - n_sentinels, -1))
        self.end = (-99,)

    def encode(self, text: str, *, continues: bool) -> Encoding:
        ids = [ord(letter) for letter in (text if continues else f"^{text}")]
        return Encoding(tuple(ids), tuple((0, 0) for _ in ids))

    def show(self, ids: tuple[int, ...]) -> str:
        names = {-99: "</s>", **{s: f"<{n}>" for n, s in enumerate(self.sentinels)}}
        return "".join(names.get(i) or chr(i) for i in ids)


def shown(fields, word, *, limit=None, **how):
    tokenizer = Letters()
    return [
        tokenizer.show(source_ids(form, fields, word, tokenizer, limit))
        for form in forms(tuple(fields), **how)
    ]


def test_a_single_text_is_shown_before_and_behind_its_word():
    assert shown({"text": "a fine film."}, "great") == [
        "^a fine film.<0> great<1></s>",
        ".<0> great<1> a fine film.</s>",
    ]


def test_first_letters_are_raised_as_in_the_release_for_the_generator_only():
    assert shown({"text": "a fine film."}, "great", raised=True) == [
        "^A fine film.<0> great<1></s>",
        ".<0> great<1> A fine film.</s>",
    ]
    for form in forms(("text",), raised=True):
        assert "{text}" in str(grown(form, ("", "")))


def test_a_pair_loses_the_last_character_of_one_and_the_capital_of_the_other():
    fields = {"premise": "It rains.", "hypothesis": "We stay in."}
    assert shown(fields, "Yes") == ["^It rains<0> Yes<1> we stay in.</s>"]


def test_chinese_texts_and_words_stand_without_spaces():
    assert shown({"text": "很好看"}, "好", spaced=False) == [
        "^很好看<0>好<1></s>",
        "。<0>好<1>很好看</s>",
    ]
    fields = {"a": "他来了。", "b": "他在这里"}
    assert shown(fields, "是", spaced=False) == ["^他来了<0>是<1>他在这里</s>"]


@pytest.mark.parametrize(
    ("words", "spaced"),
    [(("great", "bad"), True), (("好", "差"), False), (("好", "bad"), True), (("хорошо",), True)],
)
def test_words_are_spaced_unless_their_script_parts_no_words(words, spaced):
    assert is_spaced(words) is spaced


def test_texts_that_do_not_fit_lose_what_is_furthest_from_the_blanks():
    framed = 2 + len(" ok") + 1  # two sentinels, the word, the end
    after, before = shown({"text": "abcdef"}, "ok", limit=framed + 3)
    assert after == "def<0> ok<1></s>"
    assert before == ".<0> ok<1> a</s>"  # the full stop and a space are of the frame or the text
    (pair,) = shown({"a": "abcdef.", "b": "xyz"}, "ok", limit=framed + 7)
    assert pair == "def<0> ok<1> xyz</s>"


def test_a_limit_that_leaves_no_text_is_refused():
    with pytest.raises(SettingsError, match="expected a larger limit"):
        shown({"text": "abcdef"}, "ok", limit=6)


def test_more_than_two_fields_and_too_few_sentinels_are_refused():
    with pytest.raises(SettingsError, match="found a, b, c; name one or two"):
        forms(("a", "b", "c"))
    (form, _) = forms(("text",))
    with pytest.raises(SettingsError, match=r"3 sentinels .* this one has 2"):
        source_ids(form, {"text": "a"}, "b", Letters(2))


@pytest.mark.parametrize(
    ("number", "written", "released"),
    [
        (0, (" This is", "."), "*cls**sent_0*_This_is*mask*.*sep+*"),
        (0, (" This is a", " one."), "*cls**sent_0*_This_is_a*mask*_one.*sep+*"),
        (1, (" Is that", "?"), "*cls*_Is_that*mask*?*+sent_0**sep+*"),
        (1, ("", ":"), "*cls**mask*:*+sent_0**sep+*"),
    ],
)
def test_outputs_become_what_the_releases_notation_says_of_them(number, written, released):
    form = forms(("text",))[number]
    assert grown(form, written) == from_lm_bff(released)


def test_outputs_of_a_pair_become_what_the_releases_notation_says_of_them():
    (form,) = forms(("sentence1", "sentence2"))
    released = "*cls**sent-_0*._I_think*mask*,*+sentl_1**sep+*"
    assert grown(form, (". I think", ",")) == from_lm_bff(released)


def test_exactly_one_space_stands_before_the_slot_and_none_where_words_have_none():
    after, before = forms(("text",))
    assert str(grown(after, (" It was ", "."))) == "{text} It was {mask}."
    assert str(grown(after, ("", ""))) == "{text} {mask}"
    assert str(grown(before, ("", " is"))) == "{mask} is {text}"
    after, before = forms(("text",), spaced=False)
    assert str(grown(after, ("，很", "。"), spaced=False)) == "{text}，很{mask}。"
    assert str(grown(before, ("", "，"), spaced=False)) == "{mask}，{text}"


def test_braces_in_an_output_are_escaped():
    template = grown(forms(("text",))[0], (" {", "}."))
    assert str(template) == "{text} {{ {mask}}}."
