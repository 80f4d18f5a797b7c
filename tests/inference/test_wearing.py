"""Prompts with weights of their own: saved, put on, taken off, and read by the PEFT library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError
from softprompt.inference.predict import predict
from softprompt.inference.predictor import Predictor, applied_prompt
from softprompt.methods.adapters import Adapters
from softprompt.methods.bitfit import BitFit
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.ia3 import Ia3
from softprompt.methods.lora import Lora
from softprompt.methods.method import Method
from softprompt.methods.opened_weights import WeightTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.prompt import Prompt
from softprompt.prompts.weights import read_weights
from softprompt.tuning.run import Run, fit
from tests.builders import FAMILIES, Backbones, content, fits_of, job, mood, rows

METHODS: list[WeightTuning] = [
    Lora(rank=3, alpha=6),
    Ia3(),
    Adapters(bottleneck=5),
    BitFit(),
    FullTuning(),
    FullTuning(top_layers=1),
]
CASES = pytest.mark.parametrize(
    ("method", "family"),
    [(m, f) for m in METHODS for f in FAMILIES if (m.name, f) != ("bitfit", "t5-1.1")],
)
TRAINING: dict[str, Any] = {
    "steps": 6,
    "batch_size": 8,
    "evaluate_every": 3,
    "keep_weights": True,
    "optimiser": {"learning_rate": 0.02},
}


def trained(backbone: Backbone, method: Method, folder: Path) -> Run:
    run = fit(backbone, mood(test=8), method, training=TRAINING)
    run.prompt.save(folder)
    return run


@CASES
def test_a_saved_prompt_predicts_as_it_did_when_it_was_trained(
    backbones: Backbones, tmp_path: Path, method: WeightTuning, family: str
):
    backbone = backbones(family)
    before = {n: t.clone() for n, t in backbone.model.state_dict().items()}
    run = trained(backbone, method, tmp_path / "prompt")
    predictor = Predictor(backbone, tmp_path / "prompt")
    found = list(predictor.predict_examples(mood(test=8).examples("test")))
    wanted = run.evaluations["test"].predictions
    assert [p.probabilities for p in found] == [p.probabilities for p in wanted]
    again = list(predictor.predict_examples(mood(test=8).examples("test")))
    assert [p.probabilities for p in again] == [p.probabilities for p in wanted]
    assert all(torch.equal(t, before[n]) for n, t in backbone.model.state_dict().items())
    assert list(before) == list(backbone.model.state_dict())
    loaded = Prompt.load(tmp_path / "prompt", backbone.identity)
    assert loaded.content_hash == run.prompt.content_hash
    assert loaded.n_parameters == run.n_learned == method.n_opened(backbone)
    assert sum(len(c) for n, c in content(tmp_path / "prompt" / "weights").items()) > loaded.n_bytes


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("method", [Lora(rank=3), Lora(rank=2, targets="all"), Ia3()])
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_the_weights_and_gives_the_same_logits(
    backbones: Backbones, tmp_path: Path, method: WeightTuning, family: str
):
    from peft import PeftModel

    backbone = backbones(family)
    run = trained(backbone, method, tmp_path / "prompt")
    assert run.prompt.weights is not None
    ids = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    if family == "t5-1.1":
        ids["decoder_input_ids"] = torch.tensor([[0, 9]])
    with method.wearing(backbone, run.prompt.weights.tensors), torch.no_grad():
        ours: Tensor = backbone.model(**ids).logits
    with torch.no_grad():
        bare: Tensor = backbone.model(**ids).logits
    fresh = type(backbone.model)(backbone.config)
    fresh.load_state_dict(backbone.model.state_dict())
    theirs = PeftModel.from_pretrained(fresh, tmp_path / "prompt" / "weights").eval()
    with torch.no_grad():
        logits = theirs(**ids).logits
    assert torch.allclose(logits, ours, atol=1e-6)
    assert not torch.allclose(logits, bare, atol=1e-4)


def test_a_prompt_with_weights_shares_no_predictor(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    run = trained(backbone, Lora(rank=2), tmp_path / "lora")
    plain = fit(backbone, mood(), PromptTuning(length=2), training={"steps": 1}).prompt
    with pytest.raises(
        PromptError, match=r"'a' of the method 'lora' has weights of its own.*with b"
    ):
        Predictor(backbone, {"a": tmp_path / "lora", "b": plain})
    with pytest.raises(PromptError, match="works on the frozen backbone"):
        applied_prompt(backbone, run.prompt)
    card = (tmp_path / "lora" / "README.md").read_text()
    assert "with weights of its own" in card
    assert f"| learned parameters | {run.n_learned:,} |" in card


def test_damaged_and_foreign_weights_are_refused(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    run = trained(backbone, Adapters(bottleneck=2), tmp_path / "a")
    assert run.prompt.weights is not None
    path = tmp_path / "a" / "weights" / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(PromptError, match="hash does not match"):
        Prompt.load(tmp_path / "a")
    path.write_bytes(whole[:50])
    with pytest.raises(PromptError, match="truncated or corrupt"):
        Prompt.load(tmp_path / "a")
    path.unlink()
    with pytest.raises(PromptError, match="cannot be read"):
        read_weights(path.parent, run.prompt.weights.record())
    other = Adapters(bottleneck=3)
    with (
        pytest.raises(PromptError, match="are not those that"),
        other.wearing(backbone, run.prompt.weights.tensors),
    ):
        pass


def test_a_run_keeps_its_weights_and_saves_over_them(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    run = trained(backbone, Lora(rank=2), tmp_path / "a")
    run.prompt.save(tmp_path / "a", overwrite=True)
    config = json.loads((tmp_path / "a/weights/adapter_config.json").read_text())
    assert (config["peft_type"], config["r"]) == ("LORA", 2)
    bare = fit(backbone, mood(), Lora(rank=2), training={"steps": 1, "keep_weights": False}).prompt
    assert bare.weights is None
    with pytest.raises(PromptError, match=r"cannot predict.*training\.keep_weights=true"):
        Predictor(backbone, bare)


def test_kept_beginnings_are_those_of_the_worn_network(backbones: Backbones, tmp_path: Path):
    backbone = backbones("gpt2")
    method = Lora(rank=3)
    run = trained(backbone, method, tmp_path / "a")
    (frozen,) = fits_of(backbone, [job(method=FullTuning())])
    examples = [(0, example) for example in rows(4, seed=9)]
    bare = predict(backbone, [frozen.applied], examples)
    dressed = Predictor(backbone, run.prompt)
    first = dressed.predict_pairs([("", example) for _, example in examples])
    assert [p.probabilities for p in predict(backbone, [frozen.applied], examples)] == [
        p.probabilities for p in bare
    ]
    assert dressed.predict_pairs([("", example) for _, example in examples]) == first
    assert first != bare
