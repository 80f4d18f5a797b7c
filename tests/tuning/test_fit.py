"""The state of one fit: its step, its evaluations, what is chosen, what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.backbones.loading import load_backbone
from softprompt.errors import RunError
from softprompt.inference.applied import Applied
from softprompt.tuning.fit import Fit
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit_many
from tests.builders import Backbones, fits_of, job, learned, mood
from tests.tiny_models import save_checkpoint


def ran(backbones: Backbones, name: str = "bert", **given: Any) -> Fit:
    (fit,) = fits_of(backbones(name), [job(**given)])
    Loop(backbones(name), [fit]).run()
    return fit


def test_dev_is_looked_at_when_due_and_at_the_end(backbones: Backbones):
    fit = ran(backbones, training={"steps": 7, "evaluate_every": 3})
    assert [record["step"] for record in fit.history] == [3, 6, 7]
    assert set(fit.history[0]) == {"step", "accuracy", "loss"}
    assert ran(backbones, task=mood(dev=0)).history == []


def test_the_best_step_is_chosen_the_first_of_equals_or_the_last(backbones: Backbones):
    best = ran(backbones, training={"steps": 8, "evaluate_every": 1})
    last = ran(backbones, training={"steps": 8, "evaluate_every": 1, "keep": "last"})
    scores = [record["accuracy"] for record in best.history]
    assert best.chosen_step == scores.index(max(scores)) + 1
    assert last.chosen_step == 8
    end = learned(last)
    last.choose()
    assert torch.equal(learned(last), end)
    short = ran(
        backbones, training={"steps": best.chosen_step, "evaluate_every": 1, "keep": "last"}
    )
    best.choose()
    assert torch.equal(learned(best), learned(short))


def test_patience_stops_after_so_many_evaluations_without_a_better_one(backbones: Backbones):
    fit = ran(backbones, training={"steps": 50, "evaluate_every": 2, "patience": 3})
    assert fit.early.best_step is not None
    assert fit.step == fit.early.best_step + 6 < 50


def test_dev_is_rendered_once_for_all_evaluations(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    rendered: list[str] = []
    render = Applied.render

    def counting(self: Applied, example: Any, draft: Any = None) -> Any:
        rendered.append(example.id)
        return render(self, example, draft)

    monkeypatch.setattr(Applied, "render", counting)
    fit = ran(backbones, training={"steps": 9, "evaluate_every": 1})
    fit.evaluate_dev(both_ways=True)
    assert sorted(rendered) == sorted(set(rendered))
    rendered.clear()
    fit_many(backbones("bert"), [job(seed=seed) for seed in range(3)])
    assert sorted(rendered) == sorted(set(rendered))  # seeds share what they render


def test_examples_cut_are_counted_once_an_epoch(backbones: Backbones):
    long = list(mood(n=8).examples("train"))
    long[2] = type(long[2])("long", {"text": "very " * 90 + "good"}, "positive")
    task = mood().with_splits(train=long)
    for steps in (2, 7):  # 8 rows in batches of 4
        assert ran(backbones, task=task, training={"steps": steps}).cut == 1


def test_a_learner_without_effect_on_the_loss_is_an_error(backbones: Backbones):
    (fit,) = fits_of(backbones("bert"), [job()])
    with pytest.raises(RunError, match="step 1: nothing that is learned has an effect"):
        fit.update({"loss": 0.5})


def test_parameters_that_overflow_are_an_error_before_they_are_kept(backbones: Backbones):
    (fit,) = fits_of(backbones("bert"), [job()])
    with torch.no_grad():
        fit.parameters["rows"].fill_(3.4e38)
    fit.parameters["rows"].grad = torch.full_like(fit.parameters["rows"], -1e-3)
    for group in fit._optimiser.param_groups:
        group["lr"] = 1e38
    fit._peak = 1e38
    with pytest.raises(RunError, match="step 1: the parameters are no longer finite"):
        fit.update({"loss": 0.5})


def test_an_alarm_is_told_once_and_stands_as_long_as_it_is_true(tmp_path: Path):
    backbone = load_backbone(save_checkpoint("bert", tmp_path), device="cpu")
    head: Any = backbone.model.get_output_embeddings()  # type: ignore[operator]
    head.bias.data[backbone.tokenizer.wrapped.convert_tokens_to_ids("great")] = 50.0
    records: list[dict[str, Any]] = []
    one = job(mood(dev=20), training={"steps": 8, "optimiser": {"learning_rate": 1e-9}})
    (fit,) = fits_of(backbone, [one])
    Loop(backbone, [fit], report=lambda fit, record: records.append(dict(record))).run()
    told = [(record["step"], record["alarms"]) for record in records if "alarms" in record]
    assert [step for step, _ in told] == [2]
    assert "'positive' is predicted for 100 % of 20 examples" in told[0][1][0]
    assert [alarm.kind for alarm in fit.alarms] == ["one_class"]
