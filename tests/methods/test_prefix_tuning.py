"""Prefix tuning: keys and values in every layer of every family, stored as they are used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softprompt.analysis.accounts import of_prompt, planned
from softprompt.errors import BackboneError, SettingsError, UsageError
from softprompt.methods.method import Method
from softprompt.methods.prefix_tuning import PrefixTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit, fit_many
from tests.builders import FAMILIES, Backbones, fits_of, job, mood, saved_as_learned

KINDS: dict[str, Method] = {
    "text": PrefixTuning(length=3),
    "long text": PrefixTuning(length=5, init_text="good"),
    "random": PrefixTuning(length=3, init="random"),
    "zero": PrefixTuning(length=3, init="zero"),
    "reparametrised": PrefixTuning(length=3, init="random", reparametrise=True, hidden=6),
}
EACH = pytest.mark.parametrize("method", KINDS.values(), ids=KINDS.keys())
SHORT = {"steps": 3, "batch_size": 4}


@EACH
@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_has_a_gradient_in_every_family(
    backbones: Backbones, name: str, method: Method
):
    backbone = backbones(name)
    (made,) = fits_of(backbone, [job(method=method)])
    addition = made.applied.addition
    assert set(addition.attended) == set(backbone.attentions.shapes)
    Loop(backbone, [made]).backward({0: made.draw()})
    for parameter, tensor in made.parameters.items():
        assert tensor.grad is not None, parameter
        assert bool(tensor.grad.isfinite().all()), parameter
        if method.init != "zero":  # type: ignore[attr-defined]
            assert bool(tensor.grad.any()), parameter


@EACH
@pytest.mark.parametrize("name", FAMILIES)
def test_the_saved_prompt_predicts_what_the_learner_did(
    backbones: Backbones, tmp_path: Path, name: str, method: Method
):
    saved_as_learned(backbones(name), method, tmp_path / "prompt", SHORT)


@EACH
@pytest.mark.parametrize("name", FAMILIES)
def test_formulas_count_what_is_learned_and_what_is_stored(
    backbones: Backbones, name: str, method: Method
):
    backbone = backbones(name)
    run = fit(backbone, mood(), method, training={"steps": 1, "batch_size": 4})
    shapes = backbone.attentions.shapes
    account = planned(method, 0, backbone.width, backbone.n_parameters, shapes)
    assert account.learned == run.n_learned
    assert account.stored == of_prompt(run.prompt, backbone.n_parameters).stored
    assert account.stored == method.n_attended() * sum(
        2 * shape.layers * shape.heads * shape.width for shape in shapes.values()
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_together_with_other_prompts_each_is_what_it_is_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    kinds = [*KINDS.values(), PromptTuning(length=4)]
    jobs = [job(method=m, seed=n, training=SHORT) for n, m in enumerate(kinds)]
    together = fit_many(backbone, jobs)
    for one, shared in zip(jobs, together, strict=True):
        (alone,) = fit_many(backbone, [one])
        expected = alone.prompt.addition.tensors()
        for key, tensor in shared.prompt.addition.tensors().items():
            torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-6)


def test_one_stack_of_an_encoder_decoder_can_be_chosen(backbones: Backbones):
    backbone = backbones("t5")
    (made,) = fits_of(backbone, [job(method=PrefixTuning(length=2, stacks="cross"))])
    assert set(made.parameters) == {"cross"}


def test_what_does_not_fit_is_refused(backbones: Backbones):
    with pytest.raises(SettingsError, match="one stack of layers only"):
        fits_of(backbones("bert"), [job(method=PrefixTuning(stacks="encoder"))])
    with pytest.raises(SettingsError, match="take \\{soft\\} out"):
        fits_of(
            backbones("bert"), [job(method=PrefixTuning(), template="{soft:3}{text} is {mask}")]
        )
    with pytest.raises(BackboneError, match="cannot be put there"):
        fits_of(backbones("bloom"), [job(method=PrefixTuning())])
    with pytest.raises(UsageError, match="init: random"):
        PrefixTuning.read({"reparametrise": True}, "method")
    with pytest.raises(UsageError, match="init: text only"):
        PrefixTuning.read({"init": "zero", "init_text": "good"}, "method")
