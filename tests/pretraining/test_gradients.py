"""The head in pieces gives the gradient of the head at once; where more follows it, it stays whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from softprompt.pretraining import gradients
from softprompt.pretraining.gradients import Gradients
from softprompt.pretraining.layouts import Batch

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
CPU = torch.device("cpu")


def model(kind: str, **more: Any) -> nn.Module:
    config = AutoConfig.for_model(kind, **SMALL, **more)
    auto = AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM
    torch.manual_seed(0)
    made: nn.Module = auto.from_config(config).double()
    return made.train()


def batch(said: float = 0.7) -> Batch:
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 40, size=(3, 12))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return Batch(
        inputs, generator.integers(5, 40, size=(3, 12)), generator.random(ids.shape) < said
    )


def gradient(kind: nn.Module, given: Batch, scale: float = 0.5) -> tuple[float, list[torch.Tensor]]:
    kind.zero_grad()
    torch.manual_seed(1)  # the same dropout
    loss = Gradients(kind, kind, CPU, bf16=False).add(given, scale)
    return float(loss), [p.grad.clone() for p in kind.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_pieces_of_any_size_give_the_same_gradient(kind: str, monkeypatch: pytest.MonkeyPatch):
    given = batch()
    assert given.predict.sum() > 20
    found = []
    for size in (1_000, 7, 1):
        monkeypatch.setattr(gradients, "PIECE", size)
        found.append(gradient(model(kind), given))
    for loss, grads in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)  # logits are f32 in the loss
        for one, other in zip(found[0][1], grads, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_pieces_are_the_gradient_of_the_loss():
    network, given = model("llama"), batch()
    loss, grads = gradient(network, given)
    network.zero_grad()
    whole = Gradients(network, network, CPU, bf16=False).loss(given) * 0.5
    whole.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(float(whole.detach()), rel=1e-6)
    for one, parameter in zip(grads, network.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(one, parameter.grad, rtol=1e-5, atol=1e-6)


def test_a_model_that_caps_its_logits_keeps_its_own_head(monkeypatch: pytest.MonkeyPatch):
    network = model(
        "gemma2", head_dim=8, num_key_value_heads=1, final_logit_softcapping=0.01, pad_token_id=0
    )
    called: list[bool] = []
    monkeypatch.setattr(
        Gradients,
        "loss",
        lambda self, given, own=Gradients.loss: called.append(True) or own(self, given),
    )
    gradient(network, batch())
    assert len(called) == 2  # to find out, and to learn


def test_a_batch_that_hides_nothing_has_no_gradient():
    network = model("llama")
    assert Gradients(network, network, CPU, bf16=False).add(batch(), 1.0) > 0
    network.zero_grad()
    assert float(Gradients(network, network, CPU, bf16=False).add(batch(said=0.0), 1.0)) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
