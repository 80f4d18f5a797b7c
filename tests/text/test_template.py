"""The template language: what each slot means, how it is written back, what each mistake says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import TemplateError
from softprompt.text.filters import FILTERS
from softprompt.text.template import (
    RESERVED,
    Answer,
    DecoderStart,
    Demo,
    FieldRef,
    Filter,
    Literal,
    Part,
    Sep,
    Soft,
    SoftGroup,
    Start,
    Template,
    parse,
)


def parts(source: str) -> list[Part]:
    return list(parse(source).parts)


READINGS = {
    "": [],
    "plain": [Literal("plain")],
    "{{ }} {{{a}}}": [Literal("{ } {"), FieldRef("a"), Literal("}")],
    "{ Review Text }": [FieldRef("Review Text")],
    "{text!}": [FieldRef("text", keep=True)],
    "{a|lower_first|strip_end!}": [
        FieldRef("a", (Filter("lower_first"), Filter("strip_end")), True)
    ],
    "{a | first_words : 20 }": [FieldRef("a", (Filter("first_words", "20"),))],
    "{a|or:'it''s }'}": [FieldRef("a", (Filter("or", "it's }"),))],
    "{a|or:none}": [FieldRef("a", (Filter("or", "none"),))],
    "{field:mask}{field}{ field : a }": [FieldRef("mask"), FieldRef("field"), FieldRef("a")],
    "{mask}{mask:a}{mask}": [Answer(), Answer("a"), Answer()],
    "{soft}{soft:20}{soft:'It was'}": [Soft(), Soft(20), Soft(text="It was")],
    "{soft:' {x}''s'}": [Soft(text=" {x}'s")],
    "{soft:4#a}x{#a}": [Soft(4, group="a"), Literal("x"), Soft(group="a")],
    "{soft#a}{soft:'It'#b}": [Soft(group="a"), Soft(text="It", group="b")],
    "{sep}{start}{decoder}{demo}{sep}": [Sep(), Start(), DecoderStart(), Demo(), Sep()],
    "{soft:4}{text}。总体评价是{mask}的。": [
        Soft(4),
        FieldRef("text"),
        Literal("。总体评价是"),
        Answer(),
        Literal("的。"),
    ],
    '"{hypothesis}" ?{sep}{mask} , "{premise}"': [
        Literal('"'),
        FieldRef("hypothesis"),
        Literal('" ?'),
        Sep(),
        Answer(),
        Literal(' , "'),
        FieldRef("premise"),
        Literal('"'),
    ],
}


@pytest.mark.parametrize("source", READINGS)
def test_a_template_reads_as_its_parts(source):
    assert parts(source) == READINGS[source]
    assert parse(str(parse(source))) == parse(source)


MISTAKES = [
    ("a {text", 3, "expected '}' to close this slot, found the end"),
    ("{", 1, "to close this slot"),
    ("a } b", 3, "found a lone '}'"),
    ("{text{mask}}", 6, "expected '|', '!' or '}' after 'text', found '{'"),
    ("{}", 2, "expected a field name, '#' or one of mask, soft"),
    ("{  }", 4, "expected a field name"),
    ("{a|lowr}", 4, "expected a filter, found 'lowr': did you mean 'lower'?"),
    ("{a|zzzz}", 4, "there are lower_first,"),
    ("{a|}", 4, "expected a filter, found '}'"),
    ("{a|lower:3}", 10, "expected no argument for the filter 'lower', found '3'"),
    ("{a|first_words}", 15, "expected a whole number from 1"),
    ("{a|first_words:0}", 16, "found '0'"),
    ("{a|or}", 6, "expected a text in quotes"),
    ("{a!|lower}", 4, "the '!' stands last"),
    ("{mask!}", 6, "expected '}', found '!'"),
    ("{a:3}", 3, "found ':'"),
    ("{it's}", 4, "after 'it'"),
    ('{"placeholder":"a"}', 15, "from_openprompt"),
    ("{field:}", 8, "the name of a field"),
    ("{mask:}", 7, "a name for the answer slot"),
    ("{mask:a} {mask:a}", 16, "{mask:a} at most once"),
    ("{start}{start}", 8, "{start} at most once"),
    ("{decoder}{decoder}", 10, "{decoder} at most once"),
    ("{demo}{demo}", 7, "{demo} at most once"),
    ("{sep:1}", 5, "expected '}', found ':'"),
    ("{soft:0}", 7, "a number of rows from 1 to 100000"),
    ("{soft:-3}", 7, "found '-3'"),
    ("{soft:}", 7, "found '}'"),
    ("{soft:" + "9" * 5000 + "}", 7, "a number of rows"),
    ("{soft:²}", 7, "a number of rows"),
    ("{soft:It was}", 7, "a text is quoted: {soft:'It was'}"),
    ("{soft:''}", 7, "words to start the rows from"),
    ("{soft:'It was}", 7, "a quote ' to end this text"),
    ("{soft:'a'b}", 10, "expected '}', found 'b'"),
    ("{soft:2#}", 9, "a name after '#'"),
    ("{#}", 3, "a name after '#'"),
    ("{#a}", 3, "'#a', not yet defined"),
    ("{#a}{soft:2#a}", 3, "'#a', not yet defined"),
    ("{soft:2#a}{soft:3#a}", 19, "the rows defined at column 1 as {soft:2#a}"),
    ("{soft#a}{soft:3#a}", 17, "another definition, {soft:3#a}"),
    ("{soft:2#a}{soft:'x'#a}", 21, "another definition, {soft:'x'#a}"),
]


@pytest.mark.parametrize(("source", "column", "says"), MISTAKES)
def test_a_mistake_is_named_with_its_column(source, column, says):
    with pytest.raises(TemplateError) as caught:
        parse(source)
    assert caught.value.column == column
    assert caught.value.source == source
    assert says in str(caught.value)


def test_columns_count_in_the_source_and_take_no_part_in_equality():
    read = parse("ab{{c{ text }{mask}")
    assert [part.column for part in read.parts] == [1, 6, 14]
    assert read == parse("ab{{c{text}{mask}")
    assert hash(read) == hash(parse("ab{{c{text}{mask}"))


def test_a_template_knows_its_fields_answers_and_soft_slots():
    read = parse("{b} {a} {b|lower} {mask}{mask:x}")
    assert read.fields == ("b", "a")
    assert read.answers == (Answer(), Answer("x"))
    assert not read.has_soft
    assert parse("{soft}").has_soft


def test_filters_of_a_field_apply_from_left_to_right():
    field = parse("{a|drop_last|strip_end|lower_first}").parts[0]
    assert isinstance(field, FieldRef)
    assert field.apply("So it is.)") == "so it is"


def test_soft_groups_form_one_matrix_in_order_of_first_appearance():
    read = parse("{soft:2#a}{text}{soft}{#a}{soft:'It was'}{soft:3}{soft}")
    groups = read.soft_groups(5, text_length=lambda text: len(text.split()))
    assert groups == (
        SoftGroup("a", 0, 2),
        SoftGroup(None, 2, 5),
        SoftGroup(None, 7, 2, "It was"),
        SoftGroup(None, 9, 3),
        SoftGroup(None, 12, 5),
    )
    assert [group.slots for group in groups] == [(0, 3), (2,), (4,), (5,), (6,)]


def test_the_length_of_a_text_stays_open_until_it_is_tokenised():
    groups = parse("{soft:'It was'}{soft:3}").soft_groups(5)
    assert groups == (SoftGroup(None, 0, None, "It was"), SoftGroup(None, None, 3))


def test_a_text_without_tokens_cannot_start_rows():
    with pytest.raises(TemplateError, match="has no tokens") as caught:
        parse("x{soft:'It'}").soft_groups(5, text_length=lambda text: 0)
    assert caught.value.column == 2


@pytest.mark.parametrize(
    ("source", "length"),
    [
        ("{soft:20}{text}", 20),
        ("{soft:20}{soft:4#a}{#a}", 24),
        ("{text}", None),
        ("{soft}", None),
        ("{soft:20}{soft}", None),
        ("{soft:20}{soft:'It'}", None),
    ],
)
def test_explicit_length_is_known_only_if_every_group_has_a_number(source, length):
    assert parse(source).explicit_length == length


def test_parts_made_elsewhere_are_joined_and_checked():
    made = Template.from_parts([Literal("a"), Literal("{"), Literal(""), Answer(), Literal("")])
    assert made == parse("a{{{mask}")
    assert made.source == "a{{{mask}"
    for wrong in (FieldRef(" a"), FieldRef("a|lower"), FieldRef("a}"), Soft(0), Answer("a:b")):
        with pytest.raises(TemplateError):
            Template.from_parts([wrong])
    with pytest.raises(TemplateError, match="at most once"):
        Template.from_parts([Start(), Start()])


# Properties.

names = (
    st.text(st.characters(blacklist_characters="{}|!#:'", blacklist_categories=("Cs",)), min_size=1)
    .map(str.strip)
    .filter(bool)
)
texts = st.text(min_size=1)
counts = st.integers(1, 100_000)


def _filters() -> st.SearchStrategy[Filter]:
    argument = {"nothing": st.none(), "count": counts.map(str), "text": st.text()}
    return st.sampled_from(sorted(FILTERS)).flatmap(
        lambda name: st.builds(Filter, st.just(name), argument[FILTERS[name].takes])
    )


slots = st.one_of(
    st.builds(Literal, texts),
    st.builds(
        FieldRef,
        names | st.sampled_from(RESERVED),
        st.lists(_filters(), max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(Answer, st.none() | names),
    st.builds(Soft, st.none() | counts, st.none(), st.none() | names),
    st.builds(Soft, st.none(), texts.filter(str.strip), st.none() | names),
    st.builds(Soft, st.none(), st.none(), st.sampled_from("ab")),
    st.sampled_from([Sep(), Start(), DecoderStart(), Demo()]),
)


def _legal(drawn: list[Part]) -> list[Part]:
    """Without what a template may hold once, twice; groups defined once; literals apart."""
    kept: list[Part] = []
    seen: dict[object, Soft] = {}
    for part in drawn:
        if isinstance(part, Literal) and kept and isinstance(kept[-1], Literal):
            continue
        named = isinstance(part, Answer) and part.name is not None
        if (named or isinstance(part, Start | DecoderStart | Demo)) and part in kept:
            continue
        if isinstance(part, Soft) and part.group is not None:
            first = seen.setdefault(part.group, part)
            same = (part.length, part.text) in ((None, None), (first.length, first.text))
            if not same:
                continue
        kept.append(part)
    return kept


@given(st.lists(slots, max_size=8).map(_legal))
def test_any_parts_are_written_and_read_back_as_the_same_parts(drawn):
    template = Template.from_parts(drawn)
    assert list(template.parts) == drawn
    assert parse(str(template)) == template


MARKS = ("{", "}", "{{", "}}", "|", "!", "#", ":", "'", " ")
WORDS = (
    "mask",
    "soft",
    "field",
    "sep",
    "start",
    "20",
    "0",
    "a",
    "lower",
    "first_words",
    "or",
    "好",
)
pieces = st.sampled_from((*MARKS, *WORDS, "{soft:4#a}", "{#a}", "{mask}"))


@given(st.text() | st.lists(pieces | st.characters(), max_size=20).map("".join))
def test_any_string_is_read_or_refused_at_a_column_of_it(source):
    refusal = None
    try:
        template = parse(source)
    except TemplateError as error:
        refusal = error
    if refusal is None:
        assert parse(str(template)) == template
        assert str(parse(str(template))) == str(template)
        assert all(source[part.column - 1] == "{" for part in template.parts if _is_slot(part))
    else:
        assert refusal.column is not None
        assert 1 <= refusal.column <= len(source) + 1


def _is_slot(part: Part) -> bool:
    return not isinstance(part, Literal)
