"""How a step is cut, and which fits share its batches, changes no number."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.jobs import Job
from softprompt.tuning.loop import Loop
from tests.builders import FAMILIES, Backbones, fits_of, gradients, job, learned, mood

# T5 works out its softmax and norms in f32 whatever its weights are.
EXACT = {"bert": 1e-10, "gpt2": 1e-10, "t5-1.1": 1e-5}


def close(got: Any, wanted: Any, tolerance: float) -> None:
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("normalise", ["labels", "vocabulary"])
def test_a_token_budget_changes_neither_loss_nor_gradient(
    backbones: Backbones, name: str, normalise: Any
):
    backbone = backbones(name, precision="float64")
    objective = ObjectiveSettings(normalise=normalise)
    found = []
    for budget in (16, 64, 10_000):
        one = job(training={"token_budget": budget, "batch_size": 7}, objective=objective)
        found += gradients(backbone, fits_of(backbone, [one]))
    (loss, gradient), *others = found
    assert float(gradient.abs().max()) > 1e-3
    for other_loss, other in others:
        close(other_loss, loss, EXACT[name])
        close(other, gradient, EXACT[name])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_token_budget_changes_no_result_after_20_steps(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    found = []
    for budget in (16, 64, 10_000):
        (fit,) = fits_of(backbone, [job(training={"token_budget": budget, "steps": 20})])
        Loop(backbone, [fit]).run()
        found.append(learned(fit))
    for other in found[1:]:
        close(other, found[0], 1e-8)


def several() -> list[Job]:
    """Fits that have nothing in common but the backbone."""
    adamw = {"name": "adamw", "learning_rate": 0.01}
    vocabulary = ObjectiveSettings(normalise="vocabulary")
    other = mood(
        n=9,
        seed=5,
        name="other",
        template="{soft:2}this {text} : {mask}",
        words={"positive": ("good", "fine"), "negative": ("bad",)},
    )
    return [
        job(training={"steps": 50, "batch_size": 5}),
        job(mood(seed=1), PromptTuning(length=7, init="uniform"), seed=3, training={"steps": 30}),
        job(other, PromptTuning(), training={"steps": 50, "optimiser": adamw, "batch_size": 2}),
        job(
            objective=vocabulary,
            seed=2,
            training={"steps": 50, "batch_size": 3, "order": "shuffled"},
        ),
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_fits_that_share_batches_have_the_gradient_they_have_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    together = gradients(backbone, fits_of(backbone, several()))
    for one, (loss, gradient) in zip(several(), together, strict=True):
        ((alone_loss, alone),) = gradients(backbone, fits_of(backbone, [one]))
        close(loss, alone_loss, EXACT[name])
        close(gradient, alone, EXACT[name])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_fits_that_share_batches_end_where_they_end_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    together = fits_of(backbone, several())
    Loop(backbone, together).run()
    assert [fit.step for fit in together] == [50, 30, 50, 50]
    for one, fit in zip(several(), together, strict=True):
        (alone,) = fits_of(backbone, [one])
        Loop(backbone, [alone]).run()
        close(learned(fit), learned(alone), 1e-6)
        assert fit.early == alone.early
        close(fit.history, alone.history, 1e-6)


def test_one_fit_that_is_not_a_number_leaves_the_others_gradients_alone(backbones: Backbones):
    backbone = backbones("bert")
    good, bad = fits_of(backbone, [job(), job(seed=1)])
    ((_, alone),) = gradients(backbone, fits_of(backbone, [job()]))
    with torch.no_grad():
        bad.parameters["rows"].fill_(float("nan"))
    (_, gradient), (loss, spoilt) = gradients(backbone, [good, bad])
    assert loss != loss
    assert bool(spoilt.isnan().any())
    close(gradient, alone, 1e-6)


def test_a_fit_that_fails_stops_and_the_others_go_on(backbones: Backbones):
    backbone = backbones("bert")
    good, bad = fits_of(backbone, [job(), job(seed=1)])
    records: list[tuple[str, dict[str, Any]]] = []

    def report(fit: Any, record: Any) -> None:
        records.append((fit.name, dict(record)))
        if fit is bad and fit.step == 3:
            with torch.no_grad():
                fit.parameters["rows"].fill_(float("nan"))

    Loop(backbone, [good, bad], report=report).run()
    (alone,) = fits_of(backbone, [job()])
    Loop(backbone, [alone]).run()
    assert (good.step, good.failure) == (6, None)
    close(learned(good), learned(alone), 1e-5)
    assert bad.step == 3
    assert "seed 1, step 4: the loss is nan" in (bad.failure or "")
    assert "failure" in records[-3][1]
    assert [record["step"] for name, record in records if name == bad.name] == [1, 2, 3, 3]
    bad.choose()  # the best of the evaluations until then
    assert bool(learned(bad).isfinite().all())


def test_dropout_draws_from_seed_and_step_whoever_shares_the_loop(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    training = {"dropout": True}
    ((loss, alone),) = gradients(backbone, fits_of(backbone, [job(seed=1, training=training)]))
    _, (_, shared) = gradients(backbone, fits_of(backbone, [job(), job(seed=1, training=training)]))
    ((still_loss, _),) = gradients(backbone, fits_of(backbone, [job(seed=1)]))
    assert torch.equal(alone, shared)
    assert loss != still_loss
    assert not backbone.model.training


def test_dropout_leaves_the_callers_random_numbers_alone(backbones: Backbones):
    backbone = backbones("bert")
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    gradients(backbone, fits_of(backbone, [job(training={"dropout": True})]))
    assert torch.equal(torch.rand(3), wanted)
