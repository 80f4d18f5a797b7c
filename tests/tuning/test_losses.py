"""The losses of label scores: numbers done by hand, what they are zero for, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from softprompt.data.examples import Target
from softprompt.errors import DataError, SettingsError
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.scoring import hinge_loss, label_loss, label_scores, score
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.addition import stacked
from softprompt.text.answers import Verbalizer
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit_many
from tests.builders import Backbones, fits_of, gradients, job, learned, mood, rows

NEVER = float("-inf")
PIECES = {"positive": ("great",), "negative": ("terribly",)}
"""A word of one token, and one of several for the tiny tokenizers."""


def table(*given: list[float]) -> Tensor:
    return torch.tensor(given, dtype=torch.float64)


def close(got: Tensor, wanted: Any) -> None:
    torch.testing.assert_close(
        got, torch.as_tensor(wanted, dtype=got.dtype), rtol=1e-12, atol=1e-12
    )


# --- hinge ------------------------------------------------------------------------------------


def test_a_hinge_is_paid_for_each_wrong_label_within_a_margin_of_1():
    scores = table(
        [-1.0, -1.5, -3.0],  # 1 + 1 − 1.5 = 0.5 for the second, nothing for the third
        [-1.0, -1.5, -3.0],  # right is the second: 1 + 1.5 − 1 = 1.5, and nothing (1 + 1.5 − 3 < 0)
        [-1.0, -1.5, -3.0],  # right is the third: 3.0 + 2.5
        [-2.0, -2.25, NEVER],  # only two labels: 0.75
        [0.0, -1.0, -9.0],  # exactly at the margin
    )
    right = torch.tensor([0, 1, 2, 0, 0])
    close(hinge_loss(scores, right), [0.5, 1.5, 5.5, 0.75, 0.0])


def test_the_gradient_of_a_hinge_pushes_only_what_is_within_the_margin():
    scores = table([-1.0, -1.5, -1.75, -3.0, NEVER]).requires_grad_()
    hinge_loss(scores, torch.tensor([0])).sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    close(scores.grad, [[-2.0, 1.0, 1.0, 0.0, 0.0]])


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=6), st.data())
def test_a_hinge_is_the_papers_formula_of_losses(scores: list[float], data: Any):
    right = data.draw(st.integers(0, len(scores) - 1))
    cost = [-one for one in scores]
    wrong = [n for n in range(len(scores)) if n != right]
    wanted = sum(max(0.0, 1 + cost[right] - cost[n]) for n in wrong)
    found = hinge_loss(table(scores), torch.tensor([right]))
    torch.testing.assert_close(found, torch.tensor([wanted], dtype=torch.float64))


@pytest.mark.parametrize("masks", ["own", "longest"])
def test_words_of_different_lengths_are_compared_as_log_probabilities(
    backbones: Backbones, masks: Any
):
    backbone = backbones("bert", precision="float64")
    task = mood(words=PIECES)
    objective = ObjectiveSettings(loss="hinge", masks=masks)
    (fit,) = fits_of(backbone, [job(task, objective=objective)])
    ((loss, _),) = gradients(backbone, [fit])
    lessons = fit.draw()
    renderings = [lesson.rendering for lesson in lessons]
    lengths = {len(read.tokens) for q in renderings[0].queries for read in q.reads}
    assert len(lengths) == 2
    prompts = stacked([fit.learner.addition()])
    found = score(backbone, prompts, renderings, [0] * len(renderings), normalised=True)
    scores = label_scores(found, renderings, mean=False).detach()
    assert float(scores.max()) < 0
    wanted = [
        max(0.0, 1 - float(row[right]) + float(row[1 - right]))
        for row, right in zip(scores, (lesson.wanted.index(1.0) for lesson in lessons), strict=True)
    ]
    assert loss == pytest.approx(sum(wanted) / len(wanted), rel=1e-9)


def test_words_of_one_token_need_no_normaliser(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    hinge = job(objective=ObjectiveSettings(loss="hinge"))
    beside = job(mood(words=PIECES), objective=ObjectiveSettings(loss="hinge"), seed=1)
    ((loss, gradient),) = gradients(backbone, fits_of(backbone, [hinge]))
    # Beside words of several tokens the same rows are normalised.
    (shared_loss, shared), _ = gradients(backbone, fits_of(backbone, [hinge, beside]))
    assert shared_loss == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(shared, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "target", [{"positive": 0.75, "negative": 0.25}, {"positive": 0.5, "negative": 0.5}]
)
def test_a_hinge_has_no_soft_targets(backbones: Backbones, target: Target):
    soft = [replace(rows(1)[0], target=target), *rows(3)[1:]]
    task = mood().with_splits(train=soft)
    (fit,) = fits_of(backbones("bert"), [job(task, objective=ObjectiveSettings(loss="hinge"))])
    with pytest.raises(DataError, match=r"example 0-0: its target is a distribution, .* hinge"):
        fit.draw()


def test_all_of_a_label_is_a_hard_target(backbones: Backbones):
    sure = [replace(row, target={str(row.target): 1.0}) for row in rows(20)]
    found = []
    for train in (rows(20), sure):
        task = mood().with_splits(train=train)
        fits = fits_of(backbones("bert"), [job(task, objective=ObjectiveSettings(loss="hinge"))])
        found += gradients(backbones("bert"), fits)
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


# --- distillation -----------------------------------------------------------------------------


def test_a_temperature_softens_targets_and_scores():
    """Target (0.8, 0.2) at T = 2: √0.8 : √0.2 = 2 : 1. Scores (2 ln 3, 0) at T = 2: 3 : 1."""
    scores, targets = table([2 * math.log(3), 0.0]), table([0.8, 0.2])
    wanted = 4 * (2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(4))  # T² · cross-entropy
    close(label_loss(scores, targets, 2.0), [wanted])
    assert wanted == pytest.approx(2.6155, abs=1e-4)


def test_it_is_the_released_codes_loss_up_to_the_targets_entropy():
    """`F.kl_div(log_softmax(pred / T), softmax(target / T)) * T²`, with the target given as logits."""
    generator = torch.Generator().manual_seed(0)
    logits, scores = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64).unbind()
    targets, t = logits.softmax(dim=-1), 2.0
    soft = (logits / t).softmax(dim=-1)
    divergence = soft * (soft.log() - (scores / t).log_softmax(dim=-1))
    entropy = -(soft * soft.log()).sum(dim=-1)
    close(label_loss(scores, targets, t), t**2 * (divergence.sum(dim=-1) + entropy))


def test_hard_targets_stay_hard_and_missing_labels_count_nothing():
    scores = table([1.0, -1.0, NEVER], [1.0, -1.0, 0.5]).requires_grad_()
    targets = table([0.0, 1.0, 0.0], [0.0, 1.0, 0.0])
    losses = label_loss(scores, targets, 4.0)
    halves = [math.exp(one / 4) for one in (1.0, -1.0, 0.5)]
    close(losses.detach(), [16 * -math.log(halves[1] / sum(halves[:n])) for n in (2, 3)])
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


def test_a_prediction_like_the_target_has_no_gradient_at_any_temperature():
    targets = table([0.7, 0.2, 0.1])
    for temperature in (0.5, 1.0, 2.0, 10.0):
        scores = (targets.log() + 3.0).requires_grad_()
        label_loss(scores, targets, temperature).sum().backward()  # type: ignore[no-untyped-call]
        assert scores.grad is not None
        close(scores.grad, [[0.0, 0.0, 0.0]])


def test_temperature_1_and_cross_entropy_change_not_a_bit(backbones: Backbones):
    soft = [replace(row, target={"positive": 0.3, "negative": 0.7}) for row in rows(8)]
    ends = []
    for objective in (ObjectiveSettings(), ObjectiveSettings(temperature=1, loss="cross_entropy")):
        one = job(mood().with_splits(train=soft), objective=objective)
        (fit,) = fits_of(backbones("bert"), [one])
        Loop(backbones("bert"), [fit]).run()
        ends.append(learned(fit))
    assert torch.equal(*ends)


def test_a_temperature_is_of_training_alone(backbones: Backbones):
    backbone, task = backbones("bert"), mood(test=6)
    evaluated = []
    for temperature in (1.0, 2.0):
        one = job(task, training={"steps": 0}, objective=ObjectiveSettings(temperature=temperature))
        (run,) = fit_many(backbone, [one])
        evaluated.append(run.metrics)
        assert run.prompt.objective["temperature"] == temperature
    assert evaluated[0] == evaluated[1]
    ends = []
    for temperature in (1.0, 2.0):
        objective = ObjectiveSettings(temperature=temperature)
        ends += gradients(backbone, fits_of(backbone, [job(task, objective=objective)]))
    assert not torch.allclose(ends[0][1], ends[1][1])


# --- what makes no sense ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "hinge", "normalise": "vocabulary"}, "objective.loss: hinge compares the scores"),
        ({"temperature": 2.0, "normalise": "vocabulary"}, r"objective.temperature: 2.0 compares"),
        ({"loss": "hinge", "temperature": 2.0}, "objective.temperature: 2.0 softens distributions"),
    ],
)
def test_settings_without_effect_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(SettingsError, match=message):
        resolve_objective(ObjectiveSettings(**given), "masked", False)


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"temperature": "nan"}, {"loss": "huber"}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ObjectiveSettings.read(wrong, "objective")


def test_an_encoder_decoder_has_a_hinge_on_label_scores_alone(backbones: Backbones):
    with pytest.raises(SettingsError, match="give normalise: labels"):
        resolve_objective(ObjectiveSettings(loss="hinge"), "encoder_decoder", False)
    objective = ObjectiveSettings(loss="hinge", normalise="labels")
    one = job(method=PromptTuning(length=2), objective=objective, training={"steps": 2})
    (fit,) = fits_of(backbones("t5-1.1"), [one])
    Loop(backbones("t5-1.1"), [fit]).run()
    assert fit.step == 2


def test_training_may_take_the_mean_where_predictions_take_the_sum(backbones: Backbones):
    """PET's COPA and ReCoRD: one answer is longer than the other."""
    backbone, task = backbones("bert"), mood(test=6)
    answers = Verbalizer.read({"positive": "good film", "negative": "bad"}, 1)
    evaluated, ends = [], []
    for scores in ({}, {"training_score": "mean"}, {"answer_score": "mean"}):
        objective = ObjectiveSettings.read(scores, "test")
        one = job(task, answers=answers, training={"steps": 0}, objective=objective)
        (run,) = fit_many(backbone, [one])
        evaluated.append(run.metrics)
        ends += gradients(backbone, fits_of(backbone, [one]))
    assert evaluated[0] == evaluated[1] != evaluated[2]
    assert torch.equal(ends[1][1], ends[2][1])
    assert not torch.allclose(ends[0][1], ends[1][1])
