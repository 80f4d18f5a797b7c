"""The forgetting audit: nothing for a prompt, something for weights, whatever the batches."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from softprompt.analysis.forgetting import TextLoss, change, drift
from softprompt.backbones.backbone import Backbone
from softprompt.cli.main import main
from softprompt.errors import DataError, PromptError, UsageError
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.lora import Lora
from softprompt.methods.method import Method
from softprompt.methods.prefix_tuning import PrefixTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.prompt import Prompt
from softprompt.recipes import forgetting
from softprompt.recipes.forgetting import audit, held_texts
from softprompt.tuning.run import fit
from tests.builders import FAMILIES, Backbones, mood
from tests.tiny_models import TEXTS

HELD = [*TEXTS, "the story of the old film is long and slow, but the new one is not so bad at all"]


def learned(backbone: Backbone, method: Method) -> Prompt:
    training = {"steps": 8, "batch_size": 8, "keep_weights": True}
    if method.opens_weights:
        training |= {"optimiser": {"learning_rate": 0.02}}  # type: ignore[dict-item]
    return fit(backbone, mood(), method, training=training).prompt


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [PromptTuning(length=3), PrefixTuning(length=2)])
def test_a_prompt_forgets_exactly_nothing(backbones: Backbones, method: Method, family: str):
    found = audit(backbones(family), learned(backbones(family), method), HELD)
    assert found.loss.difference == 0.0
    assert (found.loss.interval.low, found.loss.interval.high) == (0.0, 0.0)
    assert [(w.moved, w.length, w.rank) for w in found.words] == [(0.0, 1.0, 1)] * 2
    assert found.loss.tokens > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_weights_change_the_loss_and_full_tuning_moves_the_words(
    backbones: Backbones, family: str
):
    backbone = backbones(family)
    before = {n: t.clone() for n, t in backbone.model.state_dict().items()}
    full = audit(backbone, learned(backbone, FullTuning()), HELD)
    lora = audit(backbone, learned(backbone, Lora()), HELD)
    assert full.loss.difference != 0.0 != lora.loss.difference
    assert full.loss.before == lora.loss.before
    assert all(w.moved > 0.0 for w in full.words)
    assert all(w.moved == 0.0 for w in lora.words)
    assert all(torch.equal(t, before[n]) for n, t in backbone.model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_how_blocks_are_batched_does_not_change_the_loss(
    backbones: Backbones, family: str, monkeypatch: pytest.MonkeyPatch
):
    backbone = backbones(family)
    prompt = learned(backbone, PromptTuning(length=2))
    together = audit(backbone, prompt, HELD)
    monkeypatch.setattr(forgetting, "HELD_LOGITS", 1)
    alone = audit(backbone, prompt, HELD)
    assert alone.loss.tokens == together.loss.tokens
    assert alone.loss.before == pytest.approx(together.loss.before, rel=1e-5)


def test_the_causal_loss_is_that_of_transformers(backbones: Backbones):
    backbone = backbones("gpt2")
    found = audit(backbone, learned(backbone, PromptTuning(length=2)), HELD[:3])
    total, tokens = 0.0, 0
    for text in HELD[:3]:
        ids = torch.tensor([backbone.tokenizer.encode(text, continues=False).ids])
        if ids.shape[1] < forgetting.LEAST:
            continue
        with torch.no_grad():
            total += float(backbone.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert found.loss.tokens == tokens
    assert found.loss.before == pytest.approx(total / tokens, rel=1e-5)


def test_the_interval_covers_what_is_known():
    draw = np.random.default_rng(3)
    old = [TextLoss(10.0, 5) for _ in range(400)]
    new = [TextLoss(10.0 + 5 * x, 5) for x in draw.normal(0.2, 1.0, 400)]
    found = change(old, new)
    assert found.interval.low < found.difference < found.interval.high
    # ± 1.96 standard errors of a mean of 400 with sd 1
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * 1.96 / math.sqrt(400), rel=0.15)
    with pytest.raises(UsageError, match="same texts"):
        change(old, new[1:])


def test_drift_says_how_far_and_who_is_nearer_now():
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    (found,) = drift(["word"], torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), table)
    assert found.cosine == pytest.approx(0.0)
    assert found.length == pytest.approx(2.0)
    assert found.rank == 3  # two others are nearer to where it was


def test_what_cannot_be_audited_is_refused(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    with pytest.raises(DataError, match="no text of at least 4 tokens"):
        audit(backbone, learned(backbone, PromptTuning(length=2)), ["a", "b"])
    bare = fit(backbone, mood(), FullTuning(), training={"steps": 1}).prompt
    with pytest.raises(PromptError, match="keep_weights=true"):
        audit(backbone, bare, HELD)
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="no texts"):
        held_texts(tmp_path / "empty.txt")


def test_the_command_writes_what_it_shows(
    backbones: Backbones, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    backbone = backbones("bert")
    learned(backbone, Lora(rank=2)).save(tmp_path / "lora")
    (tmp_path / "held.txt").write_text("\n".join(HELD), encoding="utf-8")
    out = tmp_path / "found.json"
    code = main(
        ["forgetting", str(tmp_path / "lora"), str(tmp_path / "held.txt"), "--out", str(out)]
    )
    assert code == 0
    shown = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert f"{found['loss']['after']:.4f}" in shown
    assert "label word" in shown
    assert main(["forgetting", str(tmp_path / "lora"), str(tmp_path / "none.txt")]) == 2
