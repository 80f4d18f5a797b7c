"""Templates and examples become runs of text with breaks between them."""

from __future__ import annotations

import pytest

from softprompt.errors import TemplateError
from softprompt.text.spell import (
    Boundary,
    Demonstration,
    Rows,
    Run,
    Slot,
    Span,
    StartTokens,
    spell,
)
from softprompt.text.template import Literal, Sep, parse


def spelled(source, fields=None, demonstrations=(), **options):
    """The pieces of the main sequence, runs as their text."""
    options.setdefault("rows", {})
    pieces = spell(parse(source), fields or {}, demonstrations=demonstrations, **options).main
    return [piece.text if isinstance(piece, Run) else piece for piece in pieces]


def test_text_between_two_breaks_is_one_run():
    assert spelled("{a}, {b} It was {mask}.", {"a": "x", "b": "y"}) == [
        "x, y It was",
        Slot(0, " "),
        ".",
    ]


@pytest.mark.parametrize(
    ("source", "before", "space"),
    [
        ("{a} It was {mask}", ["x It was"], " "),
        ("{a}是{mask}", ["x是"], ""),
        ("{a} {mask}", ["x"], " "),
        ("{a}  {mask}", ["x"], "  "),
        (" {mask}", [], " "),
        ("{a}\n{mask}", ["x\n"], ""),
        ("{a}\n {mask}", ["x\n"], " "),
        ("{mask}", [], ""),
    ],
)
def test_the_space_before_a_slot_belongs_to_the_answer(source, before, space):
    assert spelled(source, {"a": "x"}) == [*before, Slot(0, space)]


def test_a_space_at_the_end_of_a_field_stays_the_fields():
    assert spelled("{a}{mask}", {"a": "x "}) == ["x ", Slot(0, "")]
    assert spelled("{a} {mask}", {"a": "x "}) == ["x ", Slot(0, " ")]


def test_an_empty_field_leaves_no_span():
    assert spelled("{a} {mask}", {"a": ""}) == [Slot(0, " ")]


def test_two_slots_in_one_run_are_numbered_in_order():
    assert spelled("{mask} and {mask:b} .") == [Slot(0), " and", Slot(1, " "), " ."]
    assert spelled("{mask} {mask}") == [Slot(0), Slot(1, " ")]


def test_soft_slots_stand_where_the_template_has_them_and_a_method_without_rows_ignores_them():
    source = "{soft:2#a}{a}{#a}b{soft:3}"
    rows = {0: Rows(0, 2), 2: Rows(0, 2), 4: Rows(2, 3)}
    assert spelled(source, {"a": "x"}, rows=rows) == [
        Rows(0, 2),
        "x",
        Rows(0, 2),
        "b",
        Rows(2, 3),
    ]
    assert spelled(source, {"a": "x"}) == ["xb"]


def test_rows_in_front_go_before_all_but_a_start_that_opens_the_template():
    assert spelled("{a}", {"a": "x"}, front=Rows(0, 2)) == [Rows(0, 2), "x"]
    opened = spelled("{start}{a}", {"a": "x"}, front=Rows(0, 2))
    assert opened == [StartTokens(), Rows(0, 2), "x"]


def test_sep_is_a_boundary_or_the_separator():
    fields = {"a": "x", "b": "y"}
    assert spelled("{a}{sep}{b}", fields) == ["x", Boundary(), "y"]
    assert spelled("{a}{sep}{b}", fields, separator="\n") == ["x\ny"]
    assert spelled("{a}{sep}{b}", fields, separator="") == ["xy"]


def test_what_follows_decoder_is_the_decoders():
    made = spell(parse("{a}{decoder}Answer: {mask}"), {"a": "x"}, rows={})
    assert made.main == (Run((Span("x", "a", True),)),)
    assert made.decoder == (Run((Span("Answer:"),)), Slot(0, " "))


def test_only_fields_without_an_exclamation_mark_may_be_shortened():
    (run,) = spell(parse("{a}{b!}c"), {"a": "x", "b": "y"}, rows={}).main
    assert isinstance(run, Run)
    assert [span.shortenable for span in run.spans] == [True, False, False]


def test_a_list_is_joined_by_commas_and_then_filtered():
    assert spelled("{a|upper}", {"a": ("x", "y")}) == ["X, Y"]
    assert spelled("{a}", {"a": []}) == []


@pytest.mark.parametrize("value", [5, None, ["x", 1], {"x": "y"}])
def test_a_field_that_is_no_text_is_an_error_with_its_name_and_column(value):
    with pytest.raises(TemplateError, match=r"column 3: expected a text or a list of texts.*'a'"):
        spelled("x {a}", {"a": value})


def test_a_missing_field_is_an_error_that_names_those_there_are():
    with pytest.raises(TemplateError, match="column 1: expected a field 'a', the example has: b"):
        spelled("{a}", {"b": "x"})


# Demonstrations.

SHOWN = [Demonstration({"a": "good fun"}, ("great",)), Demonstration({"a": "dull"}, ("bad",))]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{a} It was {mask}.{demo}", ["x It was", Slot(0, " "), ". %1 %2"]),
        ("{a} It was {mask}. {demo}", ["x It was", Slot(0, " "), ". %1 %2"]),
        ("{demo}{a} It was {mask}.", ["%1 %2 x It was", Slot(0, " "), "."]),
        ("{demo}\n\n{a} It was {mask}.", ["%1 %2\n\nx It was", Slot(0, " "), "."]),
        ("{soft:2}{demo}{a} It was {mask}.", ["%1 %2 x It was", Slot(0, " "), "."]),
    ],
)
def test_demonstrations_are_solved_templates_joined_to_what_stands_beside_them(source, text):
    first, second = "good fun It was great.", "dull It was bad."
    filled = [
        piece.replace("%1", first).replace("%2", second) if isinstance(piece, str) else piece
        for piece in text
    ]
    assert spelled(source, {"a": "x"}, SHOWN) == filled


@pytest.mark.parametrize(
    ("source", "without"),
    [
        ("{a} It was {mask}. {demo}", "{a} It was {mask}."),
        ("{demo}\n{a} It was {mask}.", "{a} It was {mask}."),
        ("{a} {demo} It was {mask}.", "{a} It was {mask}."),
        ("{a}{sep}{demo} It was {mask}.", "{a}{sep}It was {mask}."),
        ("{demo}", ""),
    ],
)
def test_without_demonstrations_the_template_is_as_if_it_had_no_place_for_them(source, without):
    assert spelled(source, {"a": "x"}) == spelled(without, {"a": "x"})


def test_demonstrations_have_no_rows_and_their_fields_are_never_shortened():
    pieces = spell(
        parse("{soft:2}{a} {mask}{demo}"), {"a": "x"}, rows={0: Rows(0, 2)}, demonstrations=SHOWN
    ).main
    assert sum(isinstance(piece, Rows) for piece in pieces) == 1
    shortenable = [s.text for p in pieces if isinstance(p, Run) for s in p.spans if s.shortenable]
    assert shortenable == ["x"]


def test_a_boundary_in_the_template_is_one_in_each_demonstration():
    joint = (Sep(),)
    made = spelled("{a}{sep}{mask}{demo}", {"a": "x"}, SHOWN[:1], joint=joint)
    assert made == ["x", Boundary(), Slot(0), Boundary(), "good fun", Boundary(), "great"]
    text = spelled("{a}{sep}{mask}{demo}", {"a": "x"}, SHOWN[:1], separator="\n")
    assert text == ["x\n", Slot(0), " good fun\ngreat"]


def test_a_slot_left_out_is_filled_at_the_end_of_a_demonstration():
    assert spelled("{demo}{a}", {"a": "x"}, SHOWN[:1]) == ["good fun great x"]
    made = spell(parse("{demo}{a}{decoder}So: {mask}"), {"a": "x"}, rows={}, demonstrations=SHOWN)
    assert made.main[0].text == "good fun So: great dull So: bad x"  # type: ignore[union-attr]


def test_the_joint_is_any_text():
    shown = spelled("{demo}{a}{mask}", {"a": "x"}, SHOWN, joint=(Literal("\n\n"),))
    assert shown == ["good fungreat\n\ndullbad\n\nx", Slot(0)]


def test_a_demonstration_needs_a_word_for_each_slot():
    with pytest.raises(TemplateError, match=r"2 word.*found \['great'\]"):
        spelled("{mask}{a}{mask}{demo}", {"a": "x"}, SHOWN[:1])


def test_demonstrations_need_a_place():
    with pytest.raises(TemplateError, match=r"expected \{demo\}"):
        spelled("{a} {mask}", {"a": "x"}, SHOWN)
