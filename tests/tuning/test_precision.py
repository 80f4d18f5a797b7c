"""Whatever a backbone runs in, what is learned, its loss and its optimiser stay in f32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softprompt.errors import BackboneError
from softprompt.methods.full_tuning import FullTuning
from softprompt.tuning.jobs import make_fit
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit_many
from tests.builders import FAMILIES, Backbones, gradients, job, learned, mood

NARROW = ("bfloat16", "int8")


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_and_the_gradient_are_nearly_those_of_float32(
    backbones: Backbones, name: str, precision: str
) -> None:
    narrow, whole = backbones(name, precision), backbones(name)
    ((loss, gradient),) = gradients(narrow, [make_fit(narrow, job())])
    ((expected, reference),) = gradients(whole, [make_fit(whole, job())])
    assert gradient.dtype == torch.float32
    assert loss != torch.tensor(loss).bfloat16().item()  # a loss in bf16 has 8 bits
    assert loss == pytest.approx(expected, rel=0.1)
    alike = torch.cosine_similarity(gradient.flatten(), reference.flatten(), dim=0)
    assert float(alike) > 0.9  # two layers of large random weights


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("name", FAMILIES)
def test_rows_and_optimiser_are_float32_so_that_small_steps_are_not_lost(
    backbones: Backbones, name: str, precision: str
) -> None:
    backbone = backbones(name, precision)
    slow = {"optimiser": {"name": "adamw", "learning_rate": 1e-6, "relative": False}}
    made = make_fit(backbone, job(training={"steps": 2, "evaluate_every": 2, **slow}))
    before = learned(made)
    Loop(backbone, [made]).run()
    assert learned(made).dtype == torch.float32
    moved = learned(made) != before
    assert float(moved.float().mean()) > 0.9  # in bf16 a step of 1e-6 moves next to nothing
    assert {tensor.dtype for tensor in made.tensors().values()} == {torch.float32}


@pytest.mark.parametrize("precision", NARROW)
def test_a_prompt_says_what_its_backbone_ran_in(
    backbones: Backbones, tmp_path: Path, precision: str
) -> None:
    backbone = backbones("bert", precision)
    (run,) = fit_many(backbone, [job(mood(test=4))])
    assert run.prompt.settings["precision"] == precision
    assert run.prompt.backbone == backbones("bert").identity  # the stored weights are the same
    run.prompt.save(tmp_path / "prompt")
    assert precision in (tmp_path / "prompt" / "README.md").read_text(encoding="utf-8")


def test_full_tuning_on_8_bits_is_refused(backbones: Backbones) -> None:
    with pytest.raises(BackboneError, match="held in 8 bits and cannot be trained"):
        fit_many(backbones("bert", "int8"), [job(method=FullTuning())])
