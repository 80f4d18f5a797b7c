"""Probing for facts: ranks against the whole vocabulary, checked position by position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from softprompt.data.examples import Example
from softprompt.data.lama import read_lama
from softprompt.errors import SettingsError
from softprompt.recipes.lama import mean_scores, probe
from tests.builders import Backbones, backbones
from tests.official_files import write_lama

__all__ = ["backbones"]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_rank_counts_the_tokens_that_the_network_finds_as_likely(
    family: str, tmp_path: Path, backbones: Backbones
) -> None:
    backbone = backbones(family)
    (relation,) = read_lama(write_lama(tmp_path), ["P1"])
    fact = Example("P1:1", {"subject": "the film"}, "the")  # one token in both vocabularies
    relation = replace(relation, facts=(fact,))
    (found,) = probe(backbone, [relation])
    tokenizer = backbone.tokenizer
    text = "the film was [MASK] ." if family == "bert" else "the film was"
    ids = tokenizer.wrapped(text, return_tensors="pt").input_ids
    place = -1
    if family == "bert":
        place = int((ids[0] == tokenizer.wrapped.mask_token_id).nonzero()[0])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids).logits[0, place].float()
    logits[sorted(tokenizer.special)] = -torch.inf
    word = "the" if family == "bert" else " the"
    (token,) = tokenizer.wrapped(word, add_special_tokens=False).input_ids
    assert found.ranks["P1:1"] == int((logits >= logits[token]).sum())


def test_objects_of_several_tokens_are_left_out_and_counted(
    tmp_path: Path, backbones: Backbones
) -> None:
    both = read_lama(write_lama(tmp_path))
    found = probe(backbones("bert"), both)
    assert [(one.relation, one.n, one.skipped) for one in found] == [("P1", 2, 1), ("P2", 1, 0)]
    for name, value in mean_scores(found).items():
        assert value == pytest.approx(sum(one.scores[name] for one in found) / 2)


def test_a_causal_backbone_cannot_read_on_and_an_encoder_decoder_is_refused(
    tmp_path: Path, backbones: Backbones
) -> None:
    both = read_lama(write_lama(tmp_path))
    with pytest.raises(SettingsError, match=r"P2: .* goes on behind \[Y\]"):
        probe(backbones("gpt2"), both)
    with pytest.raises(SettingsError, match="expected a masked or a causal backbone"):
        probe(backbones("t5-1.1"), both)


def test_a_small_real_model_knows_some_capitals(shared: Path) -> None:
    from softprompt.backbones.loading import load_backbone

    folder, model = shared / "data" / "lama", shared / "models" / "minilm_mlm"
    if not (folder.is_dir() and model.is_dir()):
        pytest.skip("lama or minilm_mlm is not in the shared folder")
    found = probe(load_backbone(model, precision="float32", device="cpu"), read_lama(folder))
    scores = mean_scores(found)
    assert 0 < scores["p_at_1"] <= scores["mrr"] <= scores["p_at_10"] < 1
