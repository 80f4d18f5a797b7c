"""Free text in the masks of a masked backbone: how many stand there, what they should hold, what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from softprompt.errors import TemplateError
from softprompt.text.answers import FreeText
from softprompt.text.free_slot import MOST_SPARE, spare_masks
from softprompt.text.renderer import Renderer
from softprompt.text.template import parse
from tests.text.conftest import Make

TEMPLATE = "{a} it was {mask:span}."
ROW = {"a": "good film", "span": "the movie"}


@pytest.fixture
def writer(make: Make) -> Renderer:
    return make("bert", TEMPLATE, answers=FreeText())


def masks(renderer: Renderer, ids: tuple[int, ...]) -> int:
    return ids.count(renderer.frame.tokenizer.mask or -1)


def test_a_prediction_has_a_mask_more_than_the_field_has_tokens(writer: Renderer):
    source = writer.source(ROW)
    assert masks(writer, source.ids) == len(source.masks) == 2 + 1
    assert all(source.ids[place] == writer.frame.tokenizer.mask for place in source.masks)
    assert source.decoder == ()


@pytest.mark.parametrize("spare", range(MOST_SPARE + 1))
def test_a_lesson_reads_the_span_and_then_padding_at_every_mask(writer: Renderer, spare: int):
    (query,) = writer.gold(ROW, ("the movie",), spare=spare).queries
    (read,) = query.reads
    tokenizer = writer.frame.tokenizer
    words = tokenizer.encode(" the movie", continues=True).ids
    assert tokenizer.pad is not None
    assert read.tokens == words + (tokenizer.pad,) * spare
    assert [query.ids[place] for place in read.positions] == [tokenizer.mask] * (2 + spare)


def test_masks_to_spare_follow_from_the_names_of_row_and_pattern_alone():
    one, other = parse(TEMPLATE), parse("{mask:span}: {a}")
    drawn = [spare_masks(f"train:{number}", one) for number in range(4_000)]
    assert drawn == [spare_masks(f"train:{number}", one) for number in range(4_000)]
    assert drawn != [spare_masks(f"train:{number}", other) for number in range(4_000)]
    counts = Counter(drawn)
    assert set(counts) == set(range(MOST_SPARE + 1))
    # Binomial(4000, 1/4): sd 27.4; five of them.
    assert all(abs(count - 1_000) < 137 for count in counts.values())


def test_a_text_that_does_not_fit_is_cut_before_the_masks_are(make: Make):
    writer = make("bert", TEMPLATE, answers=FreeText(max_tokens=4), limit=13)
    source = writer.source({"a": "good film " * 9, "span": "the movie"})
    assert source.cut > 0
    assert len(source.masks) == 3
    assert len(source.ids) <= 13


@pytest.mark.parametrize(
    ("template", "row", "most", "message"),
    [
        ("{a} it was {mask}.", ROW, 32, "name the one slot after a field"),
        ("{a} {mask:span} {mask:b}.", ROW, 32, "name the one slot|answer slots"),
        (TEMPLATE, {"a": "good", "span": ""}, 32, "field 'span'.* expected a text, got ''"),
        (TEMPLATE, {"a": "good"}, 32, "field 'span'.* expected a text, got None"),
        (TEMPLATE, ROW, 2, "an answer of 2 tokens and 1 to spare.*max_answer_tokens"),
    ],
)
def test_what_leaves_the_number_of_masks_open_is_refused(
    make: Make, template: str, row: dict[str, str], most: int, message: str
):
    with pytest.raises(TemplateError, match=message):
        make("bert", template, answers=FreeText(max_tokens=most)).source(row)


def test_a_tokenizer_without_padding_cannot_end_a_text(writer: Renderer):
    class Unpadded:
        pad = None

        def __getattr__(self, name: str) -> Any:
            return getattr(writer.frame.tokenizer, name)

    frame = replace(writer.frame, tokenizer=Unpadded())
    with pytest.raises(TemplateError, match="no padding token"):
        Renderer(parse(TEMPLATE), FreeText(), frame)
