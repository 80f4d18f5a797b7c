"""A backbone in 8 bits scores and gives gradients nearly as it does in f32, and nothing is kept twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.backbones.opening import opened
from softprompt.backbones.quantised import (
    QuantisedLinear,
    is_quantised,
    quantise,
    quantise_rows,
)
from softprompt.errors import BackboneError
from tests.backbones.by_hand import embedded, framed, text_ids
from tests.backbones.conftest import Checkpoints, Tiny
from tests.tiny_models import ARCHITECTURES, TEXTS, save_checkpoint


def layer(inputs: int = 5, outputs: int = 7, *, bias: bool = True) -> tuple[nn.Linear, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    return whole, QuantisedLinear(whole.weight, whole.bias)


def test_a_weight_is_off_by_half_a_step_at_most() -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    weight[2] = 0.0
    weight[3] *= 1e4  # one row's size says nothing of another's
    whole, scale = quantise_rows(weight)
    assert whole.dtype == torch.int8
    assert int(whole.abs().max()) == 127
    off = (whole * scale[:, None] - weight).abs()
    assert bool((off <= 0.5001 * scale[:, None]).all())
    assert bool((off[2] == 0).all())


@pytest.mark.parametrize("bias", [True, False])
def test_its_gradient_is_that_of_its_own_output(bias: bool) -> None:
    _, narrow = layer(bias=bias)
    inputs = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(narrow, (inputs,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_layer_that_its_rounded_weight_makes(dtype: torch.dtype) -> None:
    whole, narrow = layer(64, 32)
    assert isinstance(narrow, QuantisedLinear)
    rounded = narrow.weight * narrow.scale[:, None]
    inputs = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = nn.functional.linear(inputs.float(), rounded, whole.bias)
    whole.to(dtype)
    got = QuantisedLinear(rounded, whole.bias)(inputs)
    assert got.dtype == dtype
    allowed = 1e-5 if dtype == torch.float32 else 1e-2  # 8 bits of bf16, three roundings
    assert float((got.float() - expected).abs().max() / expected.abs().max()) < allowed


def test_a_training_step_keeps_nothing_but_the_8_bits() -> None:
    """What the libraries get wrong: widened weights or inputs that wait for the backward pass."""
    _, narrow = layer(64, 32)
    kept: list[Tensor] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        narrow(torch.randn(8, 64, requires_grad=True))
    there = {t.data_ptr() for t in (*narrow.parameters(), *narrow.buffers())}
    assert kept
    assert all(tensor.data_ptr() in there for tensor in kept)


@pytest.fixture(params=list(ARCHITECTURES))
def pair(
    request: pytest.FixtureRequest, checkpoint: Checkpoints, tiny: Tiny
) -> tuple[Backbone, Backbone]:
    """An architecture in 8 bits and in f32."""
    narrow = load_backbone(checkpoint(request.param), precision="int8", device="cpu")
    return narrow, tiny(request.param)


def logits_and_gradient(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """Logits behind one text whose first three embeddings are learned rows, and their gradient."""
    ids = framed(backbone, text_ids(backbone, TEXTS[0]))
    text = embedded(backbone, [ids])
    rows = text.embeddings[0, :3].detach().clone().requires_grad_()
    inputs = replace(text, embeddings=torch.cat([rows[None], text.embeddings[:, 3:]], dim=1))
    first, last = torch.tensor([0]), torch.tensor([len(ids) - 1])
    if backbone.family == "encoder_decoder":
        start = embedded(backbone, [backbone.decoder_start], decoder=True)
        logits = backbone.logits(start, first, first, backbone.encode(inputs))
    else:
        logits = backbone.logits(inputs, first, last)
    logits.logsumexp(dim=-1).sum().backward()
    assert rows.grad is not None
    return logits.detach(), rows.grad


def test_every_architecture_scores_and_learns_nearly_as_in_float32(
    pair: tuple[Backbone, Backbone],
) -> None:
    (got, gradient), (expected, reference) = map(logits_and_gradient, pair)
    assert got.dtype == gradient.dtype == torch.float32
    # 127 steps a row; two layers of large random weights, 32 or 16 wide, multiply that
    assert float((got - expected).norm() / expected.norm()) < 0.1
    assert bool((gradient.abs().sum(dim=1) > 0).all()), "a dead row"
    assert float(torch.cosine_similarity(gradient.flatten(), reference.flatten(), dim=0)) > 0.9


def test_only_linear_layers_change_and_nothing_else_is_lost(
    pair: tuple[Backbone, Backbone],
) -> None:
    narrow, whole = pair
    assert narrow.precision == "int8"
    assert whole.precision == "float32"
    assert narrow.dtype == torch.float32
    assert narrow.n_parameters == whole.n_parameters
    assert narrow.identity == whole.identity
    head = narrow.model.get_output_embeddings()  # type: ignore[operator]
    assert not isinstance(head, QuantisedLinear)
    assert torch.equal(narrow.rows([6, 7]), whole.rows([6, 7]))
    assert sum(isinstance(m, QuantisedLinear) for m in narrow.model.modules()) >= 6
    assert not any(type(m) is nn.Linear and m is not head for m in narrow.model.modules())


@pytest.mark.filterwarnings("ignore:.*slower")  # of those that save nothing in f32 either
def test_savings_that_are_measured_hold_as_in_float32(pair: tuple[Backbone, Backbone]) -> None:
    narrow, whole = pair
    assert narrow.picks_tokens == whole.picks_tokens
    assert narrow.shares_prefix == whole.shares_prefix


@pytest.mark.parametrize("name", ["gpt2", "t5-1.1"])
def test_it_generates(checkpoint: Checkpoints, name: str) -> None:
    narrow = load_backbone(checkpoint(name), precision="int8", device="cpu")
    inputs = embedded(narrow, [framed(narrow, text_ids(narrow, text)) for text in TEXTS[:2]])
    assert len(narrow.generate(inputs, 3)) == 2


def test_a_checkpoint_in_half_precision_keeps_its_fingerprint(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "half", dtype=torch.bfloat16)
    narrow = load_backbone(folder, precision="int8", device="cpu")
    assert narrow.identity == load_backbone(folder, precision="float32", device="cpu").identity
    assert narrow.dtype == torch.float32


def test_its_weights_cannot_be_opened(checkpoint: Checkpoints) -> None:
    narrow = load_backbone(checkpoint("bert"), precision="int8", device="cpu")
    expected = pytest.raises(BackboneError, match="held in 8 bits and cannot be trained")
    with expected as caught, opened(narrow):
        pass
    assert caught.value.exit_code == 2
    assert not any(p.requires_grad for p in narrow.model.parameters())
    with opened(narrow, lambda name: name.endswith("LayerNorm.weight")) as parameters:
        assert parameters


class _Bare(nn.Module):
    """A model whose only linear layer is its head, or with one more under two names."""

    def __init__(self, deep: bool = False):
        super().__init__()
        self.table, self.head = nn.Embedding(4, 4), nn.Linear(4, 4, bias=False)
        self.inner = nn.Linear(4, 4) if deep else nn.Identity()
        self.shared = self.inner

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(BackboneError, match="no linear layers that could be held in 8 bits"):
        quantise(_Bare(), "toy")


def test_a_layer_that_stands_twice_stays_one() -> None:
    model = _Bare(deep=True)
    quantise(model, "toy")
    assert is_quantised(model)
    assert model.inner is model.shared


def test_a_weight_that_is_also_an_embedding_stays_as_it_is() -> None:
    model = _Bare(deep=True)
    assert isinstance(model.inner, nn.Linear)
    model.table.weight = model.inner.weight
    with pytest.raises(BackboneError, match="no linear layers"):
        quantise(model, "toy")
