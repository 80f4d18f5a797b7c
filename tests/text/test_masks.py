"""How many masks stand in the slots: each answer's own number, or the longest one's for all (PET, training)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from softprompt.text.layout import Frame, Masks, lay_out
from softprompt.text.query import Read
from softprompt.text.render import Context
from softprompt.text.tokens import Encoding
from tests.text.conftest import Make

FIRST, SECOND = (Context(number, "", "", True) for number in range(2))


def names(frame: Frame) -> tuple[int, int, int]:
    (start,), (end,), mask = frame.tokenizer.start, frame.tokenizer.end, frame.tokenizer.mask
    assert mask is not None
    return start, end, mask


def test_in_training_the_longest_answer_makes_the_masks_and_a_shorter_one_reads_the_first(
    frames: Mapping[str, Frame],
):
    """Schick & Schütze 2020, arXiv 2009.07118, section 3.1: terrible = terri + ble, great; k = 2."""
    terri, ble, great = 17, 18, 19
    start, end, mask = names(frames["bert"])
    text = [Encoding((15,), ()), FIRST, Encoding((16,), ())]
    words = [((terri, ble),), ((great,),)]
    (together,) = lay_out(text, None, words, frames["bert"], masks="longest")
    assert together.ids == (start, 15, mask, mask, 16, end)
    assert together.reads == (Read(0, (2, 3), (terri, ble)), Read(1, (2,), (great,)))
    two, one = lay_out(text, None, words, frames["bert"])
    assert two.ids == together.ids
    assert one.ids == (start, 15, mask, 16, end)
    assert (two.reads, one.reads) == (together.reads[:1], together.reads[1:])


def test_each_slot_has_the_masks_of_its_own_longest_word(frames: Mapping[str, Frame]):
    start, end, mask = names(frames["bert"])
    text = [FIRST, Encoding((15,), ()), SECOND]
    words = [((17, 18), (19,)), ((17,), (20, 21, 22))]
    (row,) = lay_out(text, None, words, frames["bert"], masks="longest")
    assert row.ids == (start, mask, mask, 15, mask, mask, mask, end)
    assert row.reads == (Read(0, (1, 2, 4), (17, 18, 19)), Read(1, (1, 4, 5, 6), (17, 20, 21, 22)))


@pytest.mark.parametrize("masks", ["own", "longest"])
def test_a_text_is_cut_so_that_the_answer_fits(make: Make, masks: Masks):
    words = {"no": [["very bad good", "fun"]], "yes": [["fun", "very good"]]}
    renderer = replace(make("bert", "{mask} film, {text} {mask}", words, limit=14), masks=masks)
    rendering = renderer.score({"text": "good plot " * 9})
    assert max(len(query.ids) for query in rendering.queries) == 14
    # 14 positions: two of the frame, `film ,`, the masks
    masked = {"own": 3 + 1, "longest": 3 + 2}[masks]
    assert rendering.cut == 18 - (14 - 2 - 2 - masked)
