from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softprompt.analysis.probe import STRENGTHS, linear_probe, pooled_features
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import DataError, UsageError
from softprompt.inference.assemble import embed_rows
from tests.builders import mood, task_of
from tests.tiny_models import TEXTS, save_checkpoint

# Rounding of float32 through two layers; a wrong mask or position moves a mean by 1e-2 and more.
SAME = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module", params=["bert", "t5-1.1", "llama"])
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("probed") / request.param
    return load_backbone(save_checkpoint(request.param, folder), device="cpu")


def test_a_batch_gives_the_features_of_each_text_alone(each: Backbone) -> None:
    together = pooled_features(each, TEXTS)
    alone = torch.cat([pooled_features(each, [text]) for text in TEXTS])
    assert together.shape[0] == len(TEXTS)
    torch.testing.assert_close(together, alone, **SAME)


def test_a_small_budget_changes_no_feature_and_no_order(each: Backbone) -> None:
    torch.testing.assert_close(
        pooled_features(each, TEXTS, token_budget=8), pooled_features(each, TEXTS), **SAME
    )


def test_only_the_tokens_of_the_text_are_averaged(each: Backbone) -> None:
    tokenizer = each.tokenizer
    body = tokenizer.encode("a dull plot", continues=False).ids
    row = (*tokenizer.start, *body, *tokenizer.end)
    inputs: Inputs = embed_rows(each, None, [row], [0])
    columns = torch.arange(len(tokenizer.start), len(tokenizer.start) + len(body))
    if each.family == "encoder_decoder":
        states = each.encode(inputs).states[0, columns]
    else:
        states = each.hidden(inputs, torch.zeros_like(columns), columns)
    torch.testing.assert_close(pooled_features(each, ["a dull plot"])[0], states.mean(0), **SAME)


def test_a_text_is_cut_at_the_limit(each: Backbone) -> None:
    frame = len(each.tokenizer.start) + len(each.tokenizer.end)
    ids = each.tokenizer.encode("the film was very good", continues=False).ids
    whole, cut = ("the film was very good", "the film")
    kept = len(each.tokenizer.encode(cut, continues=False).ids)
    assert kept < len(ids)
    torch.testing.assert_close(
        pooled_features(each, [whole], limit=kept + frame), pooled_features(each, [cut]), **SAME
    )


def test_an_empty_text_has_features_too(each: Backbone) -> None:
    found = pooled_features(each, ["", "good"])
    assert bool(torch.isfinite(found).all())


def test_the_probe_reads_what_one_word_decides(each: Backbone) -> None:
    found = linear_probe(each, mood(n=400, dev=100, test=200))
    assert found.n == {"dev": 100, "test": 200}
    assert found.settings["C"] in STRENGTHS
    assert found.accuracy > 0.7  # random weights; chance is 0.5


def test_without_dev_the_strength_is_one(backbone: Backbone) -> None:
    assert linear_probe(backbone, mood(n=8, dev=0, test=4)).settings["C"] == 1.0


def test_one_label_only_is_refused(backbone: Backbone) -> None:
    task = mood(n=8)
    rows = [row for row in task.examples("train") if row.target == "positive"]
    with pytest.raises(DataError, match="linear probe: train holds the label 'positive' only"):
        linear_probe(backbone, task.with_splits(train=rows))


def test_numbers_have_no_probe(backbone: Backbone) -> None:
    rows = [Example(str(n), {"text": "good"}, float(n)) for n in range(4)]
    task = task_of(
        {"train": rows}, fields=("text",), kind="number", bounds=(0, 3), metrics=("pearson",)
    )
    with pytest.raises(UsageError, match="for labels only"):
        linear_probe(backbone, task)


def test_a_saved_copy_has_the_same_features(backbone: Backbone, tmp_path: Path) -> None:
    backbone.model.save_pretrained(tmp_path)  # type: ignore[operator]
    backbone.tokenizer.wrapped.save_pretrained(tmp_path)
    again = load_backbone(tmp_path, device="cpu")
    assert torch.equal(pooled_features(again, TEXTS), pooled_features(backbone, TEXTS))
