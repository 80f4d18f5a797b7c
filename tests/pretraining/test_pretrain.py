"""Whole pretrainings on a toy corpus: every layout learns, and gives a backbone of its family."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from softprompt.backbones.loading import load_backbone
from softprompt.errors import RunError, SettingsError
from softprompt.pretraining.run import pretrain
from softprompt.pretraining.settings import at_size
from softprompt.tuning.checkpoints import checkpoint_folder, read
from tests.pretraining.toy_runs import (
    BART,
    FAMILIES,
    GPT2,
    LLAMA,
    MODERNBERT,
    STILL,
    T5,
    Record,
    recipe,
)


def weights(model: Path) -> dict[str, Tensor]:
    return load_file(model / "model.safetensors")


LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("masked", {"architecture": STILL, "noise_rate": 0.25}),
    "modernbert": ("masked", {"architecture": MODERNBERT, "bf16": True, "whole_word": True}),
    "t5": ("encoder_decoder", {**FAMILIES["encoder_decoder"]}),
    "bart": (
        "encoder_decoder",
        {"architecture": BART, "layout": "encoder_decoder", "objective": "bert_style"},
    ),
    "llama": ("causal", {**FAMILIES["causal"]}),
    "gpt2": (
        "causal",
        {"architecture": GPT2, "layout": "prefix_decoder", "objective": "prefix_lm"},
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_loss_falls_and_the_model_is_a_backbone_of_its_family(
    name: str, corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    family, changes = LEARNERS[name]
    records: list[Record] = []
    settings = recipe(
        **changes,
        tokenizer_from=str(tokenizers[family]),
        steps=40,
        evaluate_every=40,
        optimiser={"warmup": 4, "learning_rate": 1e-2},
    )
    folder = pretrain(settings, corpus, tmp_path, records.append)
    steps = [record for record in records if "loss" in record]
    assert [record["step"] for record in steps] == list(range(1, 41))
    assert all(record["tokens_per_second"] > 0 for record in steps)
    assert all("share_of_matrix_rate" in record for record in steps)
    chance = math.log(440)
    assert steps[0]["loss"] > chance - 0.5
    assert steps[-1]["loss"] < steps[0]["loss"]
    (last,) = (record["validation"] for record in steps if "validation" in record)
    assert set(last) == {"en", "zh"}
    for loss in last.values():  # from chance to what the frequencies of so few words make of it
        assert loss < chance - 1.0
    backbone = load_backbone(folder, device="cpu")
    assert (backbone.family, backbone.width) == (family, 32)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    assert {t.dtype for t in weights(folder).values()} == {torch.float16}


@pytest.mark.parametrize("family", FAMILIES)
def test_tied_weights_are_stored_once_and_in_half(
    family: str, corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    settings = recipe(**FAMILIES[family], tokenizer_from=str(tokenizers[family]), steps=1)
    folder = pretrain(settings, corpus, tmp_path)
    backbone = load_backbone(folder, device="cpu", precision="float32")
    count = sum(p.numel() for p in backbone.model.parameters())  # tied ones are one parameter
    size = (folder / "model.safetensors").stat().st_size
    assert 2 * count <= size < 2 * count + 12_000  # the names and places of the tensors
    last = read(checkpoint_folder(tmp_path, "last"))
    assert last is not None
    for name, parameter in backbone.model.named_parameters():
        assert torch.equal(parameter.detach(), last.tensors[f"weight|{name}"].half().float()), name


def test_a_tokenizer_is_trained_where_none_is_given(corpus: Path, tmp_path: Path):
    out = tmp_path / "run"
    folder = pretrain(recipe(steps=1), corpus, out)
    assert {path.name for path in (out / "tokens").iterdir()} >= {
        path.name for path in (out / "tokens").glob("??_toy-*.u2")
    }
    assert len(list((out / "tokens").iterdir())) == 2
    backbone = load_backbone(folder, device="cpu")
    assert backbone.tokenizer.mask == 4
    other = pretrain(recipe(steps=1, tokenizer_from=str(folder)), corpus, tmp_path / "other")
    assert (other / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_the_split_into_parts_changes_nothing_but_rounding(
    corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    for family, changes in FAMILIES.items():
        still = {"masked": STILL, "encoder_decoder": {**T5, "dropout_rate": 0.0}, "causal": LLAMA}
        found = []
        for size in (8, 3):
            settings = recipe(
                **{**changes, "architecture": still[family]},
                tokenizer_from=str(tokenizers[family]),
                micro_batch=size,
                steps=2,
            )
            pretrain(settings, corpus, tmp_path / f"{family}-{size}")
            last = read(checkpoint_folder(tmp_path / f"{family}-{size}", "last"))
            assert last is not None
            found.append(last.tensors)
        for name, tensor in found[0].items():
            if name.startswith("weight|"):
                # Adam divides by a gradient's own size: rounding is a share of the rate of 5e-3.
                assert torch.allclose(tensor, found[1][name], atol=2e-5), (family, name)


def test_the_average_is_the_mean_of_the_kept_weights(
    corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    common: dict[str, Any] = {
        "architecture": STILL,
        "tokenizer_from": str(tokenizers["masked"]),
        "keep_models": [2, 4, 6],
    }
    plain = pretrain(recipe(**common), corpus, tmp_path / "plain")
    settings = recipe(**common, average={"last": 3, "every": 2})
    mean = weights(pretrain(settings, corpus, tmp_path / "mean"))
    kept = [weights(tmp_path / "mean" / "models" / f"step-{n:06d}") for n in (2, 4, 6)]
    for name, tensor in mean.items():
        wanted = torch.stack([k[name].float() for k in kept]).mean(dim=0)
        # Four roundings to f16, of eleven bits each.
        assert torch.allclose(tensor.float(), wanted, rtol=2e-3, atol=5e-5), name
    final, last = weights(plain), weights(tmp_path / "mean" / "models" / "step-000006")
    assert all(torch.equal(final[name], last[name]) for name in final)


def test_kept_models_are_backbones(corpus: Path, tmp_path: Path):
    settings = recipe(steps=4, keep_models=[0, 2, 900])
    pretrain(settings, corpus, tmp_path)
    kept = sorted((tmp_path / "models").iterdir())
    assert [path.name for path in kept] == ["step-000000", "step-000002"]
    for path in kept:
        assert load_backbone(path, device="cpu").family == "masked"
    first, second = (weights(path) for path in kept)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(corpus: Path, tmp_path: Path):
    settings = recipe(optimiser={"warmup": 0, "learning_rate": 1e20}, checkpoint_every=1)
    with pytest.raises(RunError, match=r"is (nan|inf) at step 2; the last checkpoint is kept"):
        pretrain(settings, corpus, tmp_path)
    kept = read(checkpoint_folder(tmp_path, "last"))
    assert kept is not None
    assert kept.step == 1


def test_a_step_that_hides_nothing_changes_no_number_to_nan(corpus: Path, tmp_path: Path):
    records: list[Record] = []
    settings = recipe(batch_size=1, length=8, noise_rate=0.02, steps=8)
    pretrain(settings, corpus, tmp_path, records.append)
    assert all(record["loss"] == record["loss"] for record in records if "loss" in record)


def test_labelled_tasks_may_be_mixed_in(corpus: Path, tokenizers: dict[str, Path], tmp_path: Path):
    settings = recipe(
        **FAMILIES["encoder_decoder"],
        tokenizer_from=str(tokenizers["encoder_decoder"]),
        tasks={"rates": {"softprompt/reviews-en": 1.0}, "share": 0.5},
        steps=2,
    )
    assert load_backbone(pretrain(settings, corpus, tmp_path), device="cpu")


def test_one_recipe_has_its_sizes(corpus: Path, tmp_path: Path):
    sizes = {"nano": {"hidden_size": 16}, "tiny": {"hidden_size": 32}}
    settings = recipe(sizes=sizes, size="nano", steps=1)
    folder = pretrain(settings, corpus, tmp_path)
    assert load_backbone(folder, device="cpu").width == 16
    assert at_size(settings, "tiny").config["hidden_size"] == 32
    with pytest.raises(SettingsError, match="no 'huge'; known: nano, tiny"):
        at_size(settings, "huge")
