"""Templates in the notations of LM-BFF, OpenPrompt and PET, read into ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import DataError, TemplateError
from softprompt.text.notations import (
    from_lm_bff,
    from_openprompt,
    from_pet,
    read_lm_bff_label_mapping,
    read_lm_bff_templates,
)
from softprompt.text.template import parse

# LM-BFF: the manual templates of the paper's table as its repository writes them.


@pytest.mark.parametrize(
    ("source", "ours"),
    [
        ("*cls**sent_0*_It_was*mask*.*sep+*", "{text} It was {mask}."),
        ("*cls**mask*:*+sent_0**sep+*", "{mask}: {text}"),
        (
            "*cls**sent-_0*?*mask*,*+sentl_1**sep+*",
            "{sentence1|drop_last}? {mask}, {sentence2|lower_first}",
        ),
        (
            "*cls**sent_0**mask*,*+sentl_1**sep+*",
            "{sentence1} {mask}, {sentence2|lower_first}",
        ),
        ("*cls**sent_0*_{So}_*mask*", "{text} {{So}} {mask}"),
        ("*sentu_0**sentl-_0*", "{text|upper_first}{text|lower_first|drop_last}"),
        ("*+sentu_0*", " {text|upper_first}"),
        ("*cls**sent_0**sep+**mask*_it_is*sep+*", "{text}{sep} {mask} it is"),
        ("*sent_0**cls**sep*a", "{text}{start}{sep}a"),
        ("*cls**sent_0*_**mask*.*sep+*", "{text} {mask}."),
    ],
)
def test_lm_bff_notation_reads_as_ours(source, ours):
    assert str(from_lm_bff(source)) == ours


def test_lm_bff_sentences_take_the_names_of_the_fields():
    source = "*cls**sent-_0*?*mask*,*+sentl_1**sep+*"
    read = from_lm_bff(source, fields=("premise", "field"))
    assert read.fields == ("premise", "field")


@pytest.mark.parametrize(
    ("source", "column", "says"),
    [
        ("*cls**sent_0**label_0*", 15, "{demo}"),
        ("*cls**sent_2*", 7, "found *sent_2*"),
        ("*cls**sentx_0*", 7, "l, u or -"),
        ("*sent_0*}*+sent_*", 11, "found *+sent_*"),
    ],
)
def test_lm_bff_mistakes_are_named_with_their_column(source, column, says):
    with pytest.raises(TemplateError) as caught:
        from_lm_bff(source)
    assert caught.value.column == column
    assert says in str(caught.value)


def test_lm_bff_files_hold_templates_or_words_with_or_without_scores(tmp_path: Path):
    path = tmp_path / "16-13.score.txt"
    path.write_text("0.50000 *cls**sent_0*_A*mask*\n-0.1 *cls**mask*\n*mask*\n", encoding="utf-8")
    read = read_lm_bff_templates(path)
    assert [(str(t), score) for t, score in read] == [
        ("{text} A {mask}", 0.5),
        ("{mask}", -0.1),
        ("{mask}", None),
    ]
    path.write_text('1.0 {0: "bad", 1: "good"}\n{"no": "No", "yes": "\\""}\n', encoding="utf-8")
    assert read_lm_bff_label_mapping(path) == [
        ({"0": "bad", "1": "good"}, 1.0),
        ({"no": "No", "yes": '"'}, None),
    ]


@pytest.mark.parametrize("between", ["\t", "  ", " \t"])
def test_a_score_is_no_text_whatever_white_space_is_behind_it(tmp_path: Path, between: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"0.91{between}*cls**sent_0*_It_was*mask*.*sep+*\n", encoding="utf-8")
    assert read_lm_bff_templates(path) == [(parse("{text} It was {mask}."), 0.91)]


def test_lm_bff_files_name_the_line_that_cannot_be_read(tmp_path: Path):
    path = tmp_path / "16-13.txt"
    path.write_text("*cls**mask*\n\n*sent_7*\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"16-13\.txt, line 3: .*column 2"):
        read_lm_bff_templates(path)
    path.write_text('{"0": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: expected labels and words"):
        read_lm_bff_label_mapping(path)
    with pytest.raises(DataError, match="expected a readable UTF-8 file"):
        read_lm_bff_templates(tmp_path / "none.txt")


def test_all_published_lm_bff_templates_read_and_write(shared: Path):
    folder = shared / "data" / "lm_bff_published"
    paths = sorted(path for path in folder.glob("*/16-*.txt"))
    if not paths:
        pytest.skip(f"no published templates in {folder}")
    for path in paths:
        read = read_lm_bff_templates(path)
        assert 80 <= len(read) <= 100, path
        for template, score in read:
            assert (score is not None) == (".score." in path.name), path
            assert len(template.answers) == 1
            assert template.fields in {("text",), ("sentence1",), ("sentence1", "sentence2")}
            assert parse(str(template)) == template
            assert "*" not in str(template)
            before = str(template).partition("{mask}")[0]
            assert before == "" or (before.endswith(" ") and not before.endswith("  "))


def test_all_published_lm_bff_label_mappings_read(shared: Path):
    folder = shared / "data" / "lm_bff_published" / "label_mapping"
    paths = sorted(folder.glob("*/16-*.txt"))
    if not paths:
        pytest.skip(f"no published label mappings in {folder}")
    for path in paths:
        read = read_lm_bff_label_mapping(path)
        assert read, path
        assert len({frozenset(words) for words, _ in read}) == 1, path


# OpenPrompt.

FIVE_PIECES = (
    '{"soft": None, "duplicate": 3} {"soft": "Does"} {"soft_id": 1} {"special": "<sep>"}{"mask"}'
)


@pytest.mark.parametrize(
    ("source", "ours"),
    [
        ('{"placeholder":"text_a"} It was {"mask"}.', "{text_a} It was {mask}."),
        (
            '{"soft"}the Answer {"soft"}is {"mask"} .',
            "{soft:1}the Answer{soft:1}is {mask} .",
        ),
        (FIVE_PIECES, "{soft:3}{soft:' Does'}{soft:1#1}{sep}{mask}"),
        (
            '{"meta": "a"} {"soft": "the", "soft_id": 1} first {"soft_id": 1} second?',
            "{a!}{soft:' the'#1} first{#1} second?",
        ),
        ('{"soft": None, "duplicate": 3, "same": True}', "{soft:1#same1}{#same1}{#same1}"),
        (
            '{"placeholder": "text_a", "shortenable": False}  {"meta": "b", "shortenable": True}',
            "{text_a!} {b}",
        ),
        (
            '{"meta": "a", "post_processing": lambda s: s[:-1]}?{"mask"},',
            "{a|drop_last!}?{mask},",
        ),
        (
            '{"placeholder": "b", "post_processing": lambda x: x[:1].lower() + x[1:]}',
            "{b|lower_first}",
        ),
        (
            """{"meta":'a', "post_processing": lambda s: s.rstrip(string.punctuation)}. {"mask"}""",
            "{a|strip_end!}. {mask}",
        ),
        (
            '{"placeholder":"text_a","post_processing": lambda x:x+"."} {"text": "So {it}"}',
            "{text_a}. So {{it}}",
        ),
        (' hypothesis: {"special": "<eos>"}', " hypothesis:"),
        ('{"special": "<cls>"} {"mask"}x{"special": "<cls>"}', "{mask}x{start}"),
    ],
)
def test_openprompt_notation_reads_as_ours(source, ours):
    assert str(from_openprompt(source)) == ours


def test_openprompt_names_can_be_given_the_names_of_the_task():
    read = from_openprompt('{"placeholder":"text_a"} {"meta":"w"}', fields={"text_a": "mask"})
    assert str(read) == "{field:mask} {w!}"


@pytest.mark.parametrize(
    ("source", "column", "says"),
    [
        ('a {"mask"', 3, "to close this slot"),
        ("{1}", 1, "a name in quotes"),
        ("{}", 1, "one of placeholder"),
        ("{a b}", 1, "a Python dict or set"),
        ('{"mask", "soft"}', 1, "one of placeholder"),
        ('{"mask": 1, "color": 2}', 1, "found color"),
        ('x{"mask": __import__("os")}', 2, "a text, a number, True, False or None for 'mask'"),
        ('{"meta": "a", "post_processing": lambda x: x.title()}', 1, "lambda x: x.title()"),
        ('{"meta": "a", "post_processing": lambda x: x.title()}', 1, "strip_end"),
        ('{"soft": None, "post_processing": "mlp"}', 1, "a setting of the method"),
        ('{"soft": None, "duplicate": 0}', 1, "for 'duplicate', found 0"),
        ('{"soft": "a", "duplicate": 2}', 1, "with {\"soft\": None} only"),
        ('{"soft_id": 0}', 1, "for 'soft_id', found 0"),
        ('{"soft": ""}', 1, "a text for 'soft'"),
        ('{"placeholder": 3}', 1, "a text for 'placeholder', found 3"),
        ('{"special": "<eos>"} {"mask"}', 1, "only at the end"),
    ],
)  # fmt: skip
def test_openprompt_mistakes_are_named_and_nothing_is_run(source, column, says):
    with pytest.raises(TemplateError) as caught:
        from_openprompt(source)
    assert caught.value.column == column
    assert says in str(caught.value)


# PET.


@pytest.mark.parametrize(
    ("pattern", "fields", "ours"),
    [
        ("It was _ . a", {"a": "text"}, "It was {mask} . {text}"),
        ("Just _ ! ‖ a", {"a": "text"}, "Just {mask} !{sep}{text}"),
        ("[ Category: _ ] a b", {"a": "t", "b": "d"}, "[ Category: {mask} ] {t} {d}"),
        (
            '"a" ? ‖ _ , "b"',
            {"a": "premise|strip_end", "b": "hypothesis"},
            '"{premise|strip_end}" ?{sep}{mask} , "{hypothesis}"',
        ),
        (
            'w . Sense (1) (\\a) "a" ( _ ) "b"',
            {"w": "word", "a": "sentence1", "b": "sentence2"},
            '{word} . Sense (1) (a) "{sentence1}" ( {mask} ) "{sentence2}"',
        ),
        (
            'p . Question: q ? Is the correct answer "ans"? _ .',
            {"p": "paragraph", "q": "question", "ans": "answer"},
            '{paragraph} . Question: {question} ? Is the correct answer "{answer}"? {mask} .',
        ),
        (
            "text The pronoun '*p*' refers to _ .",
            {"text": "text", "p": "field:mask"},
            "{text} The pronoun '*{field:mask}*' refers to {mask} .",
        ),
        ("a_b \\_ \\\\ _ ‖a‖b", {"a": "x", "b": "y"}, "a_b _ \\ {mask}{sep}{x}{sep}{y}"),
        ("{a} _", {"a": "x"}, "{{{x}}} {mask}"),
    ],
)
def test_pet_patterns_read_as_ours(pattern, fields, ours):
    assert str(from_pet(pattern, fields)) == ours


@pytest.mark.parametrize(
    ("pattern", "fields", "says"),
    [
        ("It was a", {"a": "text"}, "expected a _ standing alone"),
        ("It was _", {"a": "text"}, "expected the words a in the pattern"),
        ("_ a", {"a": "mask"}, "field:mask"),
        ("_ a", {"a": "text|lowr"}, "did you mean 'lower'?"),
        ("_ a", {"a": ""}, "expected a field name"),
    ],
)
def test_pet_mistakes_are_named(pattern, fields, says):
    with pytest.raises(TemplateError) as caught:
        from_pet(pattern, fields)
    assert says in str(caught.value)


# Any string is read or refused with a TemplateError: pytest fails on every other exception.

lm_bff_pieces = st.sampled_from(
    ["*", "cls", "mask", "sep+", "sent_0", "+sentl-_1", "sent", "_", "label_0", "{", "}", "a", " "]
)
PYTHON = ("{", "}", '"', "'", "\\", ":", ",", " ", "soft", "mask", "None", "lambda s: s", "1", "\0")
SLOTS = ('{"mask"}', '{"soft": None, "duplicate": 2}', '{"soft": "It"}', '{"meta": "a"}')
openprompt_pieces = st.sampled_from((*PYTHON, *SLOTS))


def _read_or_refuse(read, source):
    try:
        template = read(source)
    except TemplateError:
        return
    assert parse(str(template)) == template


@given(st.text() | st.lists(lm_bff_pieces, max_size=12).map("".join))
def test_any_string_is_an_lm_bff_template_or_refused(source):
    _read_or_refuse(from_lm_bff, source)


@given(st.text() | st.lists(openprompt_pieces, max_size=12).map("".join))
def test_any_string_is_an_openprompt_template_or_refused(source):
    _read_or_refuse(from_openprompt, source)


@given(st.text() | st.lists(st.sampled_from("_ab ‖{}\\."), max_size=12).map("".join))
def test_any_string_is_a_pet_pattern_or_refused(source):
    _read_or_refuse(lambda pattern: from_pet(pattern, {"a": "text"}), source)


def test_deep_nesting_is_refused_not_a_crash():
    with pytest.raises(TemplateError):
        from_openprompt('{"a": ' + "-" * 5000 + "1}")
