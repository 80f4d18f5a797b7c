"""The language-model loss on unlabelled rows: what is learned from it, and what it leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.scoring import score
from softprompt.methods.dept import Dept
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.linear_probe import LinearProbe
from softprompt.methods.lora import Lora
from softprompt.methods.method import Method
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.warp import Warp
from softprompt.prompts.addition import stacked
from softprompt.text.rendering import RenderSettings
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import origin
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit_many
from softprompt.tuning.settings import AuxiliarySettings, TrainingSettings
from tests.builders import (
    FAMILIES,
    Backbones,
    content,
    fits_of,
    gradients,
    job,
    learned,
    mood,
)
from tests.unlabelled_fits import ALPHA, auxiliary, one_fit, pooled, unlabelled, with_pool

# T5 works out its softmax and norms in f32 whatever its weights are.
EXACT = {"bert": 1e-9, "gpt2": 1e-9, "t5-1.1": 1e-5}


def close(got: Any, wanted: Any, tolerance: float) -> None:
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def all_gradients(backbone: Backbone, fit: Fit) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Both losses, and the gradient of each parameter."""
    losses = dict(Loop(backbone, [fit]).backward({0: fit.draw()})[0])
    found = {n: p.grad.clone() for n, p in fit.parameters.items() if p.grad is not None}
    fit.drop_gradients()
    return losses, found


def by_hand(backbone: Backbone, fit: Fit) -> Tensor:
    """The mean loss of a step's unlabelled rows, one row at a time."""
    lessons, prompts = unlabelled(fit), stacked([fit.learner.addition()])
    found = [score(backbone, prompts, [lesson.rendering], [0]) for lesson in lessons]
    tokens = sum(int(one.tokens.sum()) for one in found)
    return -torch.stack([one.summed.sum() for one in found]).sum() / tokens


# --- what is learned --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("method", [PromptTuning(length=3), Lora(rank=2), FullTuning()])
def test_the_gradient_is_the_weighted_sum_of_both_losses_gradients(
    backbones: Backbones, name: str, method: Method
):
    backbone = backbones(name, precision="float64")
    with method.opened(backbone):
        _, own = all_gradients(backbone, one_fit(backbone, job(pooled(), method)))
        fit = one_fit(backbone, with_pool(method=method))
        losses, both = all_gradients(backbone, fit)
        alone = by_hand(backbone, fit)
        alone.backward()  # type: ignore[no-untyped-call]
        beside = {n: p.grad.clone() for n, p in fit.parameters.items() if p.grad is not None}
        fit.drop_gradients()
    assert losses["auxiliary_loss"] == pytest.approx(float(alone.detach()), rel=EXACT[name])
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in beside.values())
    for key, gradient in both.items():
        nothing = torch.zeros_like(gradient)
        wanted = (1 - ALPHA) * own.get(key, nothing) + ALPHA * beside.get(key, nothing)
        close(gradient, wanted, EXACT[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_the_models_own_language_model_loss(backbones: Backbones, name: str):
    backbone, method = backbones(name), FullTuning()
    model: Any = backbone.model
    with method.opened(backbone):
        fit = one_fit(backbone, with_pool(method=method))
        losses, _ = all_gradients(backbone, fit)
        logits, targets = list[Tensor](), list[int]()
        for lesson in unlabelled(fit):
            (query,) = lesson.rendering.queries
            ids = torch.tensor([query.ids])
            if query.decoder is None:
                found = model(input_ids=ids).logits[0]
            else:
                decoder = torch.tensor([query.decoder])
                found = model(input_ids=ids, decoder_input_ids=decoder).logits[0]
            (read,) = query.reads
            logits.append(found[list(read.positions)])
            targets += read.tokens
        mean = functional.cross_entropy(torch.cat(logits), torch.tensor(targets))
    assert losses["auxiliary_loss"] == pytest.approx(float(mean.detach()), rel=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_token_budget_changes_nothing(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    found = []
    for budget in (16, 64, 10_000):
        one = with_pool(training={"token_budget": budget, "batch_size": 5})
        found.append(all_gradients(backbone, one_fit(backbone, one)))
    for losses, other in found[1:]:
        for part, loss in losses.items():
            assert loss == pytest.approx(found[0][0][part], rel=EXACT[name])
        close(other, found[0][1], EXACT[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_fits_with_and_without_it_share_batches_as_if_each_were_alone(
    backbones: Backbones, name: str
):
    backbone = backbones(name, precision="float64")
    vocabulary = ObjectiveSettings(normalise="vocabulary")
    jobs = [
        with_pool(),
        job(mood(seed=1), PromptTuning(length=5), seed=3),
        with_pool({"weight": 0.01, "per_example": 1}, seed=4, objective=vocabulary),
    ]
    together = gradients(backbone, fits_of(backbone, jobs))
    for one, (loss, gradient) in zip(jobs, together, strict=True):
        ((alone_loss, alone),) = gradients(backbone, fits_of(backbone, [one]))
        close(loss, alone_loss, EXACT[name])
        close(gradient, alone, EXACT[name])


def test_class_vectors_stand_beside_it(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    fit = one_fit(backbone, with_pool(method=Warp(length=3)))
    losses, _ = all_gradients(backbone, fit)
    alone = by_hand(backbone, fit).detach()
    assert losses["auxiliary_loss"] == pytest.approx(float(alone), rel=1e-9)


def test_a_step_and_its_record_have_both_losses(backbones: Backbones):
    backbone, records = backbones("bert"), list[dict[str, Any]]()
    fit = one_fit(backbone, with_pool(training={"steps": 2}))
    Loop(backbone, [fit], report=lambda fit, record: records.append(dict(record))).run()
    assert list(records[0])[:4] == ["step", "loss", "auxiliary_loss", "learning_rate"]
    assert records[0]["auxiliary_loss"] > 1.0


def test_full_tuning_with_it_forgets_less_language(backbones: Backbones):
    backbone = backbones("bert")
    ends: dict[float, float] = {}
    for weight in (0.0, 0.9):
        with FullTuning().opened(backbone):
            given = {"steps": 15, "optimiser": {"learning_rate": 3e-3}}
            one = with_pool({"weight": weight}, method=FullTuning(), training=given)
            fit = one_fit(backbone, one)
            Loop(backbone, [fit]).run()
            judge = one_fit(backbone, with_pool(method=FullTuning(), seed=9))
            ends[weight] = float(by_hand(backbone, judge).detach())
    assert ends[0.9] < 0.8 * ends[0.0]


# --- when and whether -------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "method", "training"),
    [
        ("bert", PromptTuning(length=3), {}),
        ("gpt2", PromptTuning(length=3), {"token_budget": 60}),
        ("t5-1.1", PromptTuning(length=3), {}),
        ("bert", FullTuning(), {"dropout": True}),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_byte(
    backbones: Backbones, tmp_path: Path, name: str, method: Method, training: dict[str, Any]
):
    backbone = backbones(name)
    one = with_pool(method=method, training={"steps": 5, **training})
    (whole,) = fit_many(backbone, [replace(one, folder=tmp_path / "whole")])
    for at in (1, 3):

        def stop(fit: Fit, record: Any, at: int = at) -> None:
            if fit.step == at:
                raise Stopped

        cut = replace(one, folder=tmp_path / f"at-{at}")
        with pytest.raises(Stopped):
            fit_many(backbone, [cut], stop)
        (resumed,) = fit_many(backbone, [cut])
        assert resumed.prompt.content_hash == whole.prompt.content_hash
        assert content(tmp_path / f"at-{at}") == content(tmp_path / "whole")


def test_weight_0_leaves_to_the_byte_what_no_key_leaves(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    found = []
    for number, group in enumerate(({}, {"weight": 0}, {"weight": 0, "per_example": 7})):
        folder = tmp_path / str(number)
        training = {"auxiliary": group} if number else {}
        (run,) = fit_many(backbone, [job(mood(test=4), training=training, folder=folder)])
        found.append((content(folder), run.metrics, run.prompt.content_hash))
    assert found[0] == found[1]
    assert found[0][:2] == found[2][:2]  # the prompt's folder says which settings were given


def test_the_unlabelled_rows_belong_to_what_a_run_came_from_where_they_count(
    backbones: Backbones, tmp_path: Path
):
    backbone = backbones("bert")
    applied = one_fit(backbone, job())._applied
    on, off = with_pool(), job(pooled())
    assert set(origin(backbone, on, applied)["data"]) == {"train", "dev", "unlabelled"}
    assert origin(backbone, off, applied) == origin(backbone, job(mood()), applied)
    assert "auxiliary" not in origin(backbone, off, applied)["training"]
    (run,) = fit_many(backbone, [replace(on, folder=tmp_path)])
    assert run.prompt.task["unlabelled_rows"] == 30
    with pytest.raises(Exception, match=r"of another run \(other: .*data.unlabelled"):
        fit_many(backbone, [replace(on, task=pooled(n=29), folder=tmp_path)])
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert line["auxiliary_loss"] > 0


def test_seeds_tokenise_unlabelled_rows_once(backbones: Backbones):
    first, second = fits_of(backbones("bert"), [with_pool(), with_pool(seed=1)])
    second.render_with([first])
    assert auxiliary(second)._lessons is auxiliary(first)._lessons
    assert auxiliary(second)._lessons is not first._lessons


def test_long_unlabelled_rows_are_cut_and_not_counted(backbones: Backbones):
    task = pooled(n=10, most=60)
    one = with_pool(task=task, render=RenderSettings(limit=20))
    fit = one_fit(backbones("bert"), one)
    lessons = fit.draw()
    assert max(lesson.rendering.length for lesson in lessons) == 20
    assert fit.cut == 0


def test_a_run_without_unlabelled_rows_says_what_to_do(backbones: Backbones):
    for task in (mood(), mood().with_splits(unlabelled=[])):
        with pytest.raises(
            SettingsError, match=r"weight: 0.3 needs unlabelled rows, and task 'mood'"
        ):
            one_fit(backbones("bert"), with_pool(task=task))


def test_what_it_cannot_be_used_with_is_refused(backbones: Backbones):
    with pytest.raises(SettingsError, match="encoder-decoder without sentinels"):
        one_fit(backbones("bart"), with_pool(template="{text}"))
    with pytest.raises(SettingsError, match="adds to the embeddings"):
        one_fit(backbones("gpt2"), with_pool(method=Dept(length=3)))
    with pytest.raises(SettingsError, match="class vectors have no part"):
        one_fit(backbones("bert"), with_pool(method=LinearProbe()))
    assert one_fit(backbones("bert"), with_pool(method=PromptDesign())).done
    fit = one_fit(backbones("llama"), with_pool(template="{mask} {text}"))
    with pytest.raises(SettingsError, match="no text stands before the answer"):
        fit.draw()


@pytest.mark.parametrize(
    "wrong", [{"weight": 1.0}, {"weight": -0.1}, {"per_example": 0}, {"rate": 0.0}, {"rate": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]):
    (key,) = wrong
    with pytest.raises(SettingsError, match=f"'auxiliary.{key}'"):
        TrainingSettings.read({"auxiliary": wrong}, "training")
    assert not AuxiliarySettings().on


def test_a_prompt_learns_from_unlabelled_rows(backbones: Backbones):
    backbone, losses = backbones("bert"), list[float]()
    given = {"steps": 40, "optimiser": {"name": "adamw", "learning_rate": 0.3}, "keep": "last"}
    fit = one_fit(backbone, with_pool({"weight": 0.99}, training=given))
    start = learned(fit)

    def report(fit: Fit, record: Any) -> None:
        losses.append(record["auxiliary_loss"])

    Loop(backbone, [fit], report=report).run()
    assert fmean(losses[-8:]) < fmean(losses[:8])
    assert not torch.equal(learned(fit), start)
