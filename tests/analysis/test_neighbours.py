from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from softprompt.analysis import neighbours
from softprompt.analysis.neighbours import Neighbour, nearest_words
from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError


def ids_of(backbone: Backbone, *words: str) -> list[int]:
    return [int(backbone.tokenizer.wrapped.convert_tokens_to_ids(word)) for word in words]


def test_a_row_that_is_an_embedding_has_that_word_as_its_nearest(backbone: Backbone) -> None:
    ids = ids_of(backbone, "great", "dull")
    found = nearest_words(backbone, 7.5 * backbone.rows(ids), k=3)
    assert [near[0].word for near in found] == ["great", "dull"]
    assert [near[0].id for near in found] == ids
    assert found[0][0].cosine == pytest.approx(1.0, abs=1e-6)
    assert all(a.cosine >= b.cosine for near in found for a, b in pairwise(near))


def test_special_tokens_are_never_neighbours(backbone: Backbone) -> None:
    special = sorted(backbone.tokenizer.special)
    found = nearest_words(backbone, backbone.rows(special), k=backbone.tokenizer.size)
    assert {n.id for near in found for n in near}.isdisjoint(special)
    assert len(found[0]) == backbone.tokenizer.size - len(special)


def test_a_row_of_zeros_is_near_nothing(backbone: Backbone) -> None:
    (near,) = nearest_words(backbone, torch.zeros(1, backbone.width), k=2)
    assert [n.cosine for n in near] == [0.0, 0.0]


def test_comparing_in_parts_changes_nothing(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.randn(4, backbone.width, generator=torch.Generator().manual_seed(0))
    whole = nearest_words(backbone, rows, k=4)
    monkeypatch.setattr(neighbours, "AT_A_TIME", 7)
    parts = nearest_words(backbone, rows, k=4)
    assert [[n.id for n in near] for near in parts] == [[n.id for n in near] for near in whole]


def test_rows_of_another_width_are_refused(backbone: Backbone) -> None:
    with pytest.raises(PromptError, match="expected width 32"):
        nearest_words(backbone, torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("piece", "word"), [("##ing", "ing"), ("▁great", "great"), ("Ġgreat", "great"), ("▁", "▁")]
)
def test_marks_of_word_begin_and_continuation_are_not_shown(piece: str, word: str) -> None:
    assert Neighbour(0, piece, 0.0).word == word
