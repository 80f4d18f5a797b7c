"""A run may go on from a checkpoint of any family, if it fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.backbones.loading import load_backbone
from softprompt.errors import SettingsError
from softprompt.pretraining.run import pretrain
from tests.pretraining.toy_runs import (
    Record,
    recipe,
)
from tests.tiny_models import build_model, build_tokenizer, save_checkpoint

STARTED: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"layout": "encoder", "objective": "masked"}),
    "T5 to an LM": ("t5-1.1", {"layout": "encoder_decoder", "objective": "prefix_lm"}),
    "T5 spans": ("t5", {"layout": "encoder_decoder", "objective": "span_corruption"}),
    "BART": ("bart", {"layout": "encoder_decoder", "objective": "bert_style"}),
    "GPT-2": ("gpt2", {"layout": "decoder", "objective": "causal_lm"}),
    "Llama to a prefix LM": ("llama", {"layout": "prefix_decoder", "objective": "prefix_lm"}),
}


@pytest.mark.parametrize("name", STARTED)
def test_a_run_may_go_on_from_a_checkpoint(name: str, corpus: Path, tmp_path: Path):
    kind, changes = STARTED[name]
    start = save_checkpoint(kind, tmp_path / "start")
    records: list[Record] = []
    settings = recipe(
        architecture={},
        start_from=str(start),
        keep_models=[0],
        steps=12,
        optimiser={"warmup": 2, "learning_rate": 3e-3},
        **changes,
    )
    folder = pretrain(settings, corpus, tmp_path / "run", records.append)
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0]
    before = load_backbone(start, device="cpu", precision="float32").model.state_dict()
    kept = tmp_path / "run" / "models" / "step-000000"
    begun = load_backbone(kept, device="cpu", precision="float32").model.state_dict()
    for key, tensor in before.items():
        assert torch.equal(begun[key], tensor.half().float()), key
    after = load_backbone(folder, device="cpu", precision="float32")
    assert any(not torch.equal(t, before[k]) for k, t in after.model.state_dict().items())


def test_bart_goes_on_with_its_own_first_token(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from softprompt.pretraining import run

    seen: list[int] = []

    class Watched(run.Examples):
        def at(self, step: int) -> Any:
            batch = super().at(step)
            seen.extend(batch.inputs["decoder_input_ids"][:, 0].tolist())
            return batch

    monkeypatch.setattr(run, "Examples", Watched)
    start = save_checkpoint("bart", tmp_path / "start")
    settings = recipe(
        architecture={},
        start_from=str(start),
        layout="encoder_decoder",
        objective="prefix_lm",
        steps=1,
    )
    folder = pretrain(settings, corpus, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    assert set(seen) == {config["decoder_start_token_id"]}
    assert config["decoder_start_token_id"] != config["pad_token_id"]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bert", {"layout": "decoder", "objective": "causal_lm"}, "needs an end token"),
        ("roberta", {"layout": "encoder_decoder", "objective": "prefix_lm"}, "start_from: .*onfig"),
        ("bert", {"length": 128}, "blocks of 128 tokens do not fit.*64"),
        ("gpt2", {"layout": "decoder", "objective": "span_corruption"}, "needs sentinels"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    kind: str, changes: dict[str, Any], message: str, corpus: Path, tmp_path: Path
):
    start = save_checkpoint(kind, tmp_path / "start")
    settings = recipe(architecture={}, start_from=str(start), **changes)
    with pytest.raises(SettingsError, match=message):
        pretrain(settings, corpus, tmp_path / "run")


def test_a_checkpoint_that_is_damaged_or_too_small_is_named(corpus: Path, tmp_path: Path):
    start = save_checkpoint("bert", tmp_path / "start")
    settings = recipe(architecture={}, start_from=str(start))
    build_model("bert", build_tokenizer("word_piece")).bert.save_pretrained(start)
    with pytest.raises(SettingsError, match=r"start lacks cls\..* for layout encoder; choose"):
        pretrain(settings, corpus, tmp_path / "headless")
    path = start / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(SettingsError, match="start_from: "):
        pretrain(settings, corpus, tmp_path / "run")
    save_checkpoint("bert", start, vocab_size=20)
    with pytest.raises(SettingsError, match=r"the tokenizer has \d+ tokens, the model rows for 20"):
        pretrain(settings, corpus, tmp_path / "other")
