from __future__ import annotations

import pytest
import torch

from softprompt.analysis.neighbours import nearest_words
from softprompt.errors import SettingsError, UsageError
from softprompt.methods.method import Scene
from softprompt.methods.wayward import Wayward, nearest_angles, sentence_ids
from softprompt.tuning.jobs import make_fit
from softprompt.tuning.run import fit
from tests.builders import FAMILIES, Backbones, job, mood

SENTENCE = "this old book is slow"


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_stay_nearest_to_the_sentences_words_however_far_they_are_pushed(
    backbones: Backbones, name: str
) -> None:
    backbone = backbones(name)
    made = make_fit(backbone, job(mood(), Wayward(sentence=SENTENCE, length=7)))
    renderer = made.applied.renderer
    ids = sentence_ids(backbone, renderer.text_ids(SENTENCE), SENTENCE)
    expected = [ids[row % len(ids)] for row in range(7)]
    scene = Scene(backbone, renderer, (), ())
    learner = Wayward(sentence=SENTENCE, length=7).learner(scene, torch.Generator())
    (offset,) = learner.parameters().values()
    start = learner.addition().rows
    assert start is not None
    torch.testing.assert_close(start.detach(), backbone.rows(expected))
    start.sum().backward()
    assert offset.grad is not None
    assert bool(torch.isfinite(offset.grad).all())
    for seed in range(5):
        with torch.no_grad():
            offset.copy_(
                1e6 * torch.randn(offset.shape, generator=torch.Generator().manual_seed(seed))
            )
        rows = learner.addition().rows
        assert rows is not None
        assert [near[0].id for near in nearest_words(backbone, rows, 1)] == expected


def test_a_fit_moves_the_rows_and_leaves_their_words(backbones: Backbones) -> None:
    backbone = backbones("bert")
    method = Wayward(sentence=SENTENCE, length=5)
    run = fit(backbone, mood(), method, training={"steps": 6, "batch_size": 4})
    rows = run.prompt.rows
    assert rows is not None
    near = [found[0].word for found in nearest_words(backbone, rows, 1)]
    assert near == SENTENCE.split()
    ids = [found[0].id for found in nearest_words(backbone, rows, 1)]
    assert float((rows - backbone.rows(ids)).abs().max()) > 1e-3
    assert run.prompt.method == "wayward"


def test_the_angle_to_the_nearest_word_is_that_of_the_table(backbones: Backbones) -> None:
    backbone = backbones("bert")
    ids = [backbone.tokenizer.encode(w, continues=False).ids[0] for w in ("good", "film")]
    second = [near[1].cosine for near in nearest_words(backbone, backbone.rows(ids), 2)]
    torch.testing.assert_close(
        nearest_angles(backbone, ids).cos().float(), torch.tensor(second), atol=1e-5, rtol=0
    )


def test_a_sentence_without_words_is_refused(backbones: Backbones) -> None:
    with pytest.raises(UsageError):
        Wayward.read({"sentence": ""})
    with pytest.raises(SettingsError, match="has no pieces"):
        sentence_ids(backbones("bert"), [], " ")
