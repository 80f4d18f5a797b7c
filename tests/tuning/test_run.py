"""Whole fits: they learn, they touch nothing else, and they say what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import RunError, SettingsError, TemplateError, UsageError
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.text.answers import Verbalizer
from softprompt.tuning.checkpoints import checkpoint_folder, read
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit, fit_many
from tests.builders import FAMILIES, Backbones, fits_of, job, learned, mood, rows, task_of
from tests.tiny_models import save_checkpoint


def weights(backbone: Backbone) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}


def assert_untouched(backbone: Backbone, before: dict[str, Tensor]) -> None:
    after = backbone.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(p.requires_grad or p.grad is not None for p in backbone.model.parameters())
    assert not backbone.model.training


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dropout", [False, True])
def test_only_the_prompt_changes(backbones: Backbones, name: str, dropout: bool):
    backbone = backbones(name)
    before = weights(backbone)
    (made,) = fits_of(backbone, [job(training={"dropout": dropout})])
    start = learned(made)
    Loop(backbone, [made]).run()
    assert not torch.equal(learned(made), start)
    assert_untouched(backbone, before)


def test_full_tuning_changes_weights_and_gives_them_back_to_the_bit(backbones: Backbones):
    backbone = backbones("bert")
    before = weights(backbone)
    run = fit(backbone, mood(), FullTuning(), training={"steps": 4, "evaluate_every": 2})
    assert run.n_learned == backbone.n_parameters
    assert run.history[0]["loss"] != run.history[1]["loss"]
    assert run.prompt.rows is None
    assert_untouched(backbone, before)


def cued(n: int, seed: int) -> list[Example]:
    """Mood behind the word `old`; without it the answer is always negative."""
    behind = {
        number: replace(row, fields={"text": f"old {row.fields['text']}"})
        for number, row in enumerate(rows(n, seed))
        if number // 2 % 2
    }
    return [
        behind.get(number, replace(row, target="negative"))
        for number, row in enumerate(rows(n, seed))
    ]


def test_a_network_learns_a_toy_and_then_a_prompt_does(tmp_path: Path):
    """The network learns to tell moods where a cue asks for it; the prompt learns to be the cue."""
    raw = load_backbone(save_checkpoint("bert", tmp_path / "raw", initializer_range=0.05))
    taught = mood(2).with_splits(train=cued(400, 1), dev=cued(60, 2))
    training = {"steps": 100, "batch_size": 32, "evaluate_every": 10}
    method = FullTuning()
    teach = {**training, "optimiser": {"learning_rate": 3e-3}}
    with method.opened(raw):
        (teaching,) = fits_of(raw, [job(taught, method, training=teach)])
        Loop(raw, [teaching]).run()
        teaching.choose()
        raw.model.save_pretrained(tmp_path / "taught")  # type: ignore[operator]
        raw.tokenizer.wrapped.save_pretrained(tmp_path / "taught")
    assert max(record["accuracy"] for record in teaching.history) > 0.95
    backbone = load_backbone(tmp_path / "taught", device="cpu")
    task = mood(n=100, dev=40, test=100, seed=7)
    unprompted = fit(backbone, task, PromptDesign())
    prompted = fit(backbone, task, PromptTuning(length=8), training={**training, "steps": 60})
    assert unprompted.metrics["test"]["accuracy"] == pytest.approx(0.5, abs=0.1)
    assert prompted.metrics["test"]["accuracy"] > 0.9


def test_an_encoder_decoder_learns_to_generate_its_labels(tmp_path: Path):
    backbone = load_backbone(save_checkpoint("t5-1.1", tmp_path, initializer_factor=0.3))
    task = mood(n=200, dev=20, test=40)
    training = {"steps": 100, "batch_size": 32, "optimiser": {"learning_rate": 5e-3}}
    found = fit(backbone, task, FullTuning(), training=training, template="{text}").metrics["test"]
    assert found["illegal"] == 0.0
    assert found["greedy_accuracy"] == found["rank_accuracy"] == found["accuracy"] > 0.9


@pytest.mark.parametrize(
    "optimiser",
    [
        {"learning_rate": 0.05},
        {"learning_rate": 0.01, "relative": False},
        {"learning_rate": 0.05, "step_offset": 1_100_000},
        {"name": "adamw", "learning_rate": 0.05},
    ],
)
def test_each_optimiser_moves_the_prompt_by_its_rate(
    backbones: Backbones, optimiser: dict[str, Any]
):
    backbone = backbones("bert")
    (made,) = fits_of(backbone, [job(training={"steps": 1, "optimiser": optimiser})])
    start = learned(made)
    Loop(backbone, [made]).run()
    moved = float((learned(made) - start).pow(2).mean().sqrt())
    scale = 1.0 if optimiser.get("relative") is False else backbone.rms
    # Adafactor's first step has RMS 1 and is clipped at it, AdamW's elements are all ±1.
    assert moved == pytest.approx(optimiser["learning_rate"] * scale, rel=0.02)


def test_zero_steps_and_a_method_without_parameters_are_evaluated_as_they_are(
    backbones: Backbones, tmp_path: Path
):
    backbone, task = backbones("bert"), mood(test=6)
    template = "{soft:2}{text} it was {mask}."
    design = fit(backbone, task, PromptDesign(), template=template, folder=tmp_path / "a")
    assert (design.n_learned, design.step, design.prompt.rows) == (0, 0, None)
    started = fit(
        backbone, task, PromptTuning(), template=template, training={"steps": 0}, folder=tmp_path
    )
    assert started.step == 0
    assert started.prompt.rows is not None
    for run in (design, started):
        assert set(run.metrics) == {"dev", "test"}
    together = fit_many(backbone, [job(task, PromptDesign()), job(task)])
    assert [run.step > 0 for run in together] == [False, True]
    assert together[0].metrics["test"] == fit(backbone, task, PromptDesign()).metrics["test"]


def test_a_template_without_soft_slots_gets_the_rows_in_front(backbones: Backbones):
    def learned_with(template: str, method: PromptTuning) -> Any:
        training = {"steps": 2, "batch_size": 4}
        return fit(backbones("bert"), mood(), method, training=training, template=template)

    bare = "{text} it was {mask}."
    wanted = learned_with(bare, PromptTuning(length=3))
    assert wanted.prompt.rows.shape == (3, 32)
    for same in ("{soft:3}", "{start}{soft:3}", "{soft}"):
        length = 3 if same == "{soft}" else None
        found = learned_with(same + bare, PromptTuning(length=length))
        assert torch.equal(found.prompt.rows, wanted.prompt.rows)
    other = learned_with("{soft:3}{start}" + bare, PromptTuning())
    assert not torch.equal(other.prompt.rows, wanted.prompt.rows)


def test_illegal_outputs_raise_an_alarm(backbones: Backbones):
    greedy = ObjectiveSettings(prediction="greedy")
    # A random network generates anything but the label words.
    run = fit(
        backbones("t5-1.1"),
        mood(dev=20),
        PromptTuning(length=3),
        objective=greedy,
        training={"steps": 2, "batch_size": 4},
        template="{text}",
    )
    assert [alarm.kind for alarm in run.alarms] == ["illegal_labels"]
    assert "outputs are none of the labels (for example" in run.alarms[0].message
    assert run.metrics["dev"]["illegal"] > 0.9


def test_a_loss_that_is_no_number_stops_with_its_step_and_the_last_good_checkpoint(
    backbones: Backbones, tmp_path: Path
):
    backbone = backbones("bert")
    absurd = {"learning_rate": 1e30, "relative": False, "schedule": "constant", "warmup": 0.5}
    training = {"steps": 200, "checkpoint_every": 1, "evaluate_every": 100, "optimiser": absurd}
    with pytest.raises(
        RunError, match=r"prompt_tuning on mood, seed 0, step \d+: the .*Try a lower"
    ) as stopped:
        fit(backbone, mood(), PromptTuning(length=3), training=training, folder=tmp_path)
    kept = read(checkpoint_folder(tmp_path, "last"))
    assert kept is not None
    assert f"The checkpoint of step {kept.step} is kept in {tmp_path}" in str(stopped.value)
    assert f"step {kept.step + 1}:" in str(stopped.value)
    assert bool(kept.tensors["0|parameter|rows"].isfinite().all())
    assert kept.state["fits"][0]["failure"] is None
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == kept.step
    assert_untouched(backbone, weights(backbone))


def test_a_failed_fit_is_raised_after_the_others_or_returned_on_demand(backbones: Backbones):
    backbone = backbones("bert")
    absurd = {"optimiser": {"learning_rate": 1e38, "relative": False}, "evaluate_every": 100}
    jobs = [job(training=absurd), job(seed=1)]
    steps: list[tuple[int, int]] = []
    with pytest.raises(RunError, match="seed 0, step"):
        fit_many(backbone, jobs, lambda fit, record: steps.append((fit.seed, fit.step)))
    assert max(steps) == (1, 6)
    failed, good = fit_many(backbone, jobs, keep_failures=True)
    assert failed.failure is not None
    assert failed.metrics == {}
    assert good.failure is None
    assert set(good.metrics) == {"dev"}


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"template": "{review} {mask}"}, SettingsError, "template field 'review'.*fields text"),
        ({"template": "{text}"}, TemplateError, "no answer slot"),
        ({"words": {"positive": "good"}}, SettingsError, "words are given for positive;.*labels"),
        (
            {"answers": Verbalizer.read({"up": "good", "down": "bad"})},
            SettingsError,
            "words are given for up, down",
        ),
        ({"training": {"step": 5}}, SettingsError, "unknown key 'step'; did you mean 'steps'"),
        (
            {"method": PromptTuning(length=3), "template": "{soft:4}{text}{mask}"},
            SettingsError,
            "two different lengths: the template says 4 rows, the method says 3",
        ),
    ],
)
def test_wrong_settings_are_said_before_a_step_is_taken(
    backbones: Backbones, given: dict[str, Any], kind: type[UsageError], message: str
):
    given = {"method": PromptTuning(length=2), **given}
    with pytest.raises(kind, match=message):
        fit(backbones("bert"), mood(), **given)


def test_a_task_without_template_or_targets_says_so(backbones: Backbones):
    backbone, method = backbones("bert"), PromptTuning(length=2)
    with pytest.raises(SettingsError, match=r"no template of its own: .*\{text\} It was \{mask\}"):
        fit(backbone, mood(template=None), method)
    bare = [replace(row, target=None) for row in rows(4)]
    for split in ("dev", "test"):
        with pytest.raises(SettingsError, match=f"split '{split}': example 0-0 has no target"):
            fit(
                backbone,
                mood().with_splits(**{split: bare}),
                method,
                training={"steps": 1, "batch_size": 2},
            )


def test_jobs_that_cannot_share_a_loop_are_refused(backbones: Backbones, tmp_path: Path):
    backbone, one = backbones("bert"), job()
    wrong: list[tuple[Sequence[Any], str]] = [
        ([one, job(method=FullTuning())], "cannot share the backbone"),
        ([one, replace(one, folder=tmp_path)], "either every job has a folder, or none"),
        ([replace(one, folder=tmp_path)] * 2, "a folder of its own"),
    ]
    for jobs, message in wrong:
        with pytest.raises(SettingsError, match=message):
            fit_many(backbone, jobs)


def test_a_number_between_two_poles_is_learned_and_scored(backbones: Backbones):
    examples = [replace(row, target=float(number % 6)) for number, row in enumerate(rows(12))]
    task = task_of(
        {"train": examples, "dev": examples[:6]},
        fields=("text",),
        kind="number",
        metrics=("pearson",),
        bounds=(0.0, 5.0),
        template="{text} it was {mask}.",
    )
    words = {"lower": "awful", "upper": ["great"]}
    training = {"steps": 3, "batch_size": 4}
    run = fit(backbones("bert"), task, PromptTuning(length=2), words=words, training=training)
    assert set(run.metrics["dev"]) == {"pearson", "loss"}
    assert run.prompt.answers["kind"] == "poles"
    values = [p.value for p in run.evaluations["dev"].predictions]
    assert all(value is not None and 0 <= value <= 5 for value in values)
    with pytest.raises(SettingsError, match="it needs bounds, and two words"):
        fit(backbones("bert"), task, PromptTuning(length=2))


def test_own_candidates_and_free_text_are_learned(backbones: Backbones):
    choices = ("a good film", "a bad film", "fine")
    examples = [
        replace(row, target=choices[n % 3], candidates=choices) for n, row in enumerate(rows(9))
    ]
    facts: dict[str, Any] = {"fields": ("text",), "kind": "text", "metrics": ("exact_match",)}
    chosen = task_of({"train": examples, "dev": examples[:4]}, template="{text} {mask}", **facts)
    free = task_of(
        {
            s: [replace(row, candidates=None) for row in chosen.examples(s)]
            for s in ("train", "dev")
        },
        template="{text} {mask}",
        **facts,
    )
    training = {"steps": 2, "batch_size": 4}
    run = fit(backbones("gpt2"), chosen, PromptTuning(length=2), training=training)
    assert run.prompt.answers["kind"] == "candidates"
    assert {p.label for p in run.evaluations["dev"].predictions} <= set(choices)
    run = fit(backbones("gpt2"), free, PromptTuning(length=2), training=training)
    assert run.prompt.objective["normalise"] == "vocabulary"
    assert all(p.text is not None and not p.label for p in run.evaluations["dev"].predictions)
    with pytest.raises(SettingsError, match="no labels to give words for"):
        fit(backbones("gpt2"), free, PromptTuning(length=2), words={"a": "b"})


def test_what_a_run_leaves_says_where_it_comes_from(backbones: Backbones, tmp_path: Path):
    backbone, task = backbones("bert"), mood(test=6)
    run = fit(
        backbone, task, PromptTuning(length=3), seed=5, training={"steps": 3}, folder=tmp_path
    )
    prompt = run.prompt
    assert prompt.settings["seed"] == 5
    assert prompt.settings["training"]["steps"] == 3
    assert prompt.backbone == backbone.identity
    by_name = {(score["split"], score["metric"]): score for score in prompt.scores}
    score = by_name["test", "accuracy"]
    assert score["value"] == run.metrics["test"]["accuracy"]
    assert score["data_hash"] == task.content_hash("test")
    assert score["selection"] == "dev: the best of 1 evaluations"
    assert (score["n"], score["step"]) == (6, run.step)
    assert prompt.examples[0]["text"] == task.examples("dev")[0].fields["text"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[-1]["dev"] == {k: v for k, v in run.history[-1].items() if k != "step"}
