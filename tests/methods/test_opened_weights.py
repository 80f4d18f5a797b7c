"""Methods that train weights: their count, their start, and the backbone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.fingerprint import identity_of
from softprompt.backbones.opening import trainable
from softprompt.errors import BackboneError, SettingsError
from softprompt.inference.predict import predict
from softprompt.methods.adapters import Adapters
from softprompt.methods.bitfit import BitFit
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.ia3 import Ia3
from softprompt.methods.lora import Lora
from softprompt.methods.opened_weights import WeightTuning
from softprompt.methods.prompt_design import PromptDesign
from softprompt.tuning.run import fit
from tests.builders import FAMILIES, Backbones, fits_of, job, learned, mood, rows

METHODS = [
    Lora(rank=3),
    Lora(rank=2, targets="all"),
    Ia3(),
    Adapters(bottleneck=5),
    BitFit(),
    FullTuning(),
    FullTuning(top_layers=1),
    FullTuning(unfreeze_every=2),
]
BUILT_IN = [method for method in METHODS if isinstance(method, Lora | Ia3 | Adapters)]


def named(method: WeightTuning) -> str:
    given = [f"{k}={v}" for k, v in method.model_dump(exclude_defaults=True).items()]
    return ",".join([method.name, *given])


def cases(methods: list[WeightTuning]) -> Any:
    pairs = [(m, f) for m in methods for f in FAMILIES if (m.name, f) != ("bitfit", "t5-1.1")]
    return pytest.mark.parametrize(
        ("method", "family"), pairs, ids=[f"{named(m)}-{f}" for m, f in pairs]
    )


def bits(backbone: Backbone) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}


def assert_as_before(backbone: Backbone, before: Mapping[str, Tensor], modules: list[Any]) -> None:
    after = backbone.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert [id(m) for m in backbone.model.modules()] == [id(m) for m in modules]
    assert not any(m._forward_hooks for m in modules)
    assert not trainable(backbone)
    assert not hasattr(backbone.model, "peft_config")
    again = identity_of(
        backbone.model,
        backbone.config,
        name=backbone.name,
        family=backbone.family,
        width=backbone.width,
        stored=backbone._stored,
    )
    assert again == backbone.identity


def probabilities(backbone: Backbone) -> Tensor:
    (made,) = fits_of(backbone, [job(method=PromptDesign())])
    found = predict(backbone, [made.applied], [(0, example) for example in rows(6, seed=5)])
    return torch.tensor([list(p.probabilities.values()) for p in found], dtype=torch.float64)


@cases(METHODS)
def test_the_formula_is_the_count_and_the_backbone_is_as_before(
    backbones: Backbones, method: WeightTuning, family: str
):
    backbone = backbones(family)
    before, modules = bits(backbone), list(backbone.model.modules())
    run = fit(backbone, mood(), method, training={"steps": 3, "batch_size": 4, "evaluate_every": 1})
    assert run.n_learned == method.n_opened(backbone) > 0
    losses = [record["loss"] for record in run.history]
    assert losses[0] != losses[-1]
    assert_as_before(backbone, before, modules)


@cases(METHODS)
def test_the_backbone_is_as_before_also_after_an_error(
    backbones: Backbones, method: WeightTuning, family: str
):
    backbone = backbones(family)
    before, modules = bits(backbone), list(backbone.model.modules())
    with pytest.raises(RuntimeError, match="stop"), method.opened(backbone):  # noqa: PT012
        with torch.no_grad():
            for parameter in trainable(backbone).values():
                parameter.fill_(float("nan"))
        raise RuntimeError("stop")
    assert_as_before(backbone, before, modules)


@cases(BUILT_IN)
def test_what_is_built_in_changes_nothing_before_the_first_step(
    backbones: Backbones, method: WeightTuning, family: str
):
    backbone = backbones(family)
    expected = probabilities(backbone)
    with method.opened(backbone):
        fits_of(backbone, [job(method=method)])
        found = probabilities(backbone)
        with torch.no_grad():
            for parameter in trainable(backbone).values():
                parameter.add_(0.5)
        moved = probabilities(backbone)
    # A bottleneck starts near the identity, the others on it.
    assert torch.allclose(found, expected, atol=1e-2 if isinstance(method, Adapters) else 1e-6)
    assert (moved - expected).abs().max() > 1e-3
    assert torch.equal(probabilities(backbone), expected)


@cases(BUILT_IN)
def test_a_seed_means_the_same_start_whatever_the_global_generator(
    backbones: Backbones, method: WeightTuning, family: str
):
    starts = []
    for chance in (0, 1):
        torch.manual_seed(chance)
        before = torch.random.get_rng_state()
        with method.opened(backbones(family)):
            (made,) = fits_of(backbones(family), [job(method=method, seed=7)])
            starts.append(learned(made))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*starts)


@cases([Lora(rank=3), Ia3(), Adapters(bottleneck=5)])
def test_dropout_off_a_batch_means_what_its_rows_mean(
    backbones: Backbones, method: WeightTuning, family: str
):
    backbone = backbones(family)
    with method.opened(backbone):
        (made,) = fits_of(backbone, [job(method=method)])
        with torch.no_grad():
            for parameter in trainable(backbone).values():
                parameter.add_(0.1)
        examples = rows(6, seed=5)
        together = predict(backbone, [made.applied], [(0, e) for e in examples])
        alone = [predict(backbone, [made.applied], [(0, e)])[0] for e in examples]
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_what_a_method_needs_and_a_backbone_lacks_is_refused(backbones: Backbones):
    t5, bert = backbones("t5-1.1"), backbones("bert")
    albert = backbones("albert")
    refused: list[tuple[WeightTuning, Backbone, str]] = [
        (BitFit(), t5, "has no biases to train"),
        (BitFit(), backbones("modernbert"), "has no biases to train"),
        (Lora(targets=["querry"]), bert, "no linear layer 'querry'; it has query, key, value"),
        (Adapters(targets=["nowhere"]), bert, "there is no nowhere"),
        (Ia3(), albert, "PEFT does not know where .* type albert; give targets"),
        (FullTuning(top_layers=9), bert, "has 2 blocks in a stack"),
    ]
    for method, backbone, message in refused:
        with pytest.raises(SettingsError, match=message):
            method.n_opened(backbone)
        with pytest.raises(SettingsError, match=message):
            fit(backbone, mood(), method, training={"steps": 1})
    with pytest.raises(BackboneError, match="8 bits"):
        fit(backbones("bert", "int8"), mood(), Lora(), training={"steps": 1})
    with pytest.raises(SettingsError, match="give both, or none"):
        Ia3.read({"targets": ["key"]})


def test_ia3_goes_where_it_is_told(backbones: Backbones):
    albert = backbones("albert")
    method = Ia3(targets=["key", "value"], feedforward=["ffn_output"])
    run = fit(albert, mood(), method, training={"steps": 2, "batch_size": 4})
    assert run.n_learned == method.n_opened(albert)


@pytest.mark.parametrize("architecture", ["electra", "modernbert", "roberta", "llama"])
@pytest.mark.parametrize("method", [Lora(rank=2), Ia3(), Adapters(bottleneck=3)], ids=named)
def test_other_architectures_count_as_the_formula_says(
    backbones: Backbones, method: WeightTuning, architecture: str
):
    backbone = backbones(architecture)
    before, modules = bits(backbone), list(backbone.model.modules())
    run = fit(backbone, mood(), method, training={"steps": 2, "batch_size": 4})
    assert run.n_learned == method.n_opened(backbone)
    assert_as_before(backbone, before, modules)


def test_without_peft_its_methods_say_how_to_install_it(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "peft", None)
    for method in (Lora(), Ia3()):
        with pytest.raises(SettingsError, match=r"pip install 'softprompt\[peft\]'"):
            method.n_opened(backbones("bert"))
    assert Adapters().n_opened(backbones("bert")) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_top_layers_leave_the_rest_as_it_is(backbones: Backbones, family: str):
    backbone = backbones(family)
    with FullTuning(top_layers=1).opened(backbone):
        names = set(trainable(backbone))
    blocks = {name for name in names if any(f".{n}." in name for n in ("layer", "block", "h"))}
    assert blocks
    assert not any("embed" in name or "shared" in name or "wte" in name for name in names)
    assert not any(f".{part}.0." in n for n in blocks for part in ("layer", "h")) or (
        family == "t5-1.1" and not any(".block.0." in n for n in blocks)
    )
    every = FullTuning(top_layers=2).n_opened(backbone)
    assert FullTuning(top_layers=1).n_opened(backbone) < every < backbone.n_parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_join_in_from_the_top(backbones: Backbones, family: str):
    backbone, method = backbones(family), FullTuning(unfreeze_every=2)
    with method.opened(backbone):
        (made,) = fits_of(backbone, [job(method=method, training={"optimiser": {"warmup": 0}})])
        low = next(n for n in made.parameters if ".layer.0." in n or ".h.0." in n)
        low = next((n for n in made.parameters if ".block.0." in n), low)
        start = made.parameters[low].detach().clone()
        from softprompt.tuning.loop import Loop

        seen = []

        def look(fit: Any, record: Any) -> None:
            seen.append(not torch.equal(made.parameters[low].detach(), start))

        Loop(backbone, [made], report=look).run()
    assert seen == [False, False, True, True, True, True]
