"""One backbone on one test set: every way of using it, each a function from a scene to records.

All see the same rows, cut at the same length. Knows scenes, not files or tables.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import softprompt as sp
from benchmarks.cells import Values
from benchmarks.recipes import RECIPES, TESTS, Amount, Recipe, words
from softprompt.analysis.baselines import bag_of_words, majority
from softprompt.analysis.probe import linear_probe
from softprompt.backbones.backbone import Backbone
from softprompt.data.task import Task
from softprompt.errors import UsageError
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.method import Method
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse
from softprompt.tuning.jobs import Job, answers_of, bind, training_settings
from softprompt.tuning.run import Run, fit_many
from softprompt.tuning.settings import TrainingSettings


@dataclass(frozen=True)
class Scene:
    """A backbone before a test set.

    Args:
        backbone: frozen.
        task: its rows already cut to `amount`.
        template: without learned rows.
        words: label words in place of the task's own, if any.
        recipe: settings of the backbone's family.
        amount: how much is seen.
    """

    backbone: Backbone
    task: Task
    template: str
    words: Mapping[str, str] | None
    recipe: Recipe
    amount: Amount

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that a score follows from, the method and the seed aside."""
        splits = ("train", "dev", "test")
        return {
            "weights": self.backbone.identity.weights,
            "template": self.template,
            "words": dict(self.words or {}),
            "data": {split: self.task.content_hash(split) for split in splits},
            "amount": self.amount.to_json(),
            "objective": dict(self.recipe.objective),
        }

    def with_backbone(self, backbone: Backbone) -> Scene:
        return replace(self, backbone=backbone)

    def with_objective(self, **objective: Any) -> Scene:
        """The same with other objective settings laid over the recipe's."""
        merged = {**self.recipe.objective, **objective}
        return replace(self, recipe=replace(self.recipe, objective=merged))


def scene(backbone: Backbone, name: str, data: str | None, amount: Amount) -> Scene:
    """A backbone before a named test set, with the tables' settings.

    Args:
        data: folder of the data sets that do not ship.
    Raises:
        UsageError: no such test set, or no folder.
    """
    if name not in TESTS:
        raise UsageError(f"no test set '{name}'; known: {', '.join(TESTS)}")
    task, family = amount.cut(sp.load_task(name, folder=data)), backbone.family
    return Scene(
        backbone=backbone,
        task=task,
        template=task.template_for(family) or "",
        words=words(name, family),
        recipe=RECIPES[family],
        amount=amount,
    )


def open_backbone(name: str, precision: str = "float32") -> Backbone:
    """A backbone by folder, by its shipped name, or by the shipped name without `softprompt/`.

    In f32 on every device: full tuning needs it, and a score should not depend on the machine.
    """
    whole = name if Path(name).is_dir() or "/" in name else f"softprompt/{name}"
    return sp.load_backbone(whole, precision=precision)


# --- what is measured ------------------------------------------------------------------------------


def majority_class(scene: Scene) -> Values:
    """Always the most frequent label."""
    return _baseline(majority(scene.task))


def words_alone(scene: Scene) -> Values:
    """A bag of words on the same training rows."""
    return _baseline(bag_of_words(scene.task))


def probe(scene: Scene) -> Values:
    """Logistic regression on frozen pooled features of the same rows, cut at the same length."""
    return _baseline(linear_probe(scene.backbone, scene.task, limit=scene.amount.limit))


def zero_shot(scene: Scene) -> Values:
    """The template and its words, nothing learned."""
    task, template = scene.task, parse(scene.template)
    applied = bind(
        scene.backbone,
        task,
        template,
        answers_of(task, len(template.answers), scene.words),
        ObjectiveSettings(**scene.recipe.objective),
        render=RenderSettings(limit=scene.amount.limit),
    )
    found = evaluate(scene.backbone, applied, task.examples("test"), task.metrics, task.labels)
    return {**_numbers(found), "n": found.n}


def prompt_tuning(scene: Scene, seeds: Sequence[int]) -> list[Values]:
    """P learned rows for each seed; all seeds share their batches, and so their time."""
    began = time.monotonic()
    method = sp.PromptTuning(length=scene.amount.rows)
    runs = fit_many(scene.backbone, [_job(scene, method, seed) for seed in seeds])
    seconds = round((time.monotonic() - began) / len(runs), 2)
    return [{**_record(run), "seconds": seconds} for run in runs]


def full_tuning(scene: Scene, seeds: Sequence[int]) -> Iterator[Values]:
    """All weights of the backbone, one seed after the other."""
    for seed in seeds:
        yield _record(fit_many(scene.backbone, [_job(scene, sp.FullTuning(), seed)])[0])


def training(scene: Scene, method: Method) -> TrainingSettings:
    """The training settings of a method that learns."""
    amount = scene.amount
    optimiser = scene.recipe.full if method.opens_weights else scene.recipe.prompt
    course = {
        "steps": amount.steps,
        "batch_size": amount.batch_size,
        "evaluate_every": amount.evaluate_every,
    }
    return training_settings(method, {**course, "optimiser": dict(optimiser)})


def _job(scene: Scene, method: Method, seed: int) -> Job:
    rows = 0 if method.opens_weights else scene.amount.rows
    return Job(
        scene.task,
        method,
        seed,
        template=scene.template,
        words=scene.words,
        objective=ObjectiveSettings(**scene.recipe.objective),
        training=training(scene, method),
        render=RenderSettings(limit=scene.amount.limit + rows),
    )


def _record(run: Run) -> Values:
    return {
        **run.metrics["test"],
        "dev": run.metrics["dev"]["accuracy"],
        "step": run.step,
        "n": run.evaluations["test"].n,
    }


def _numbers(found: Evaluation) -> Mapping[str, float]:
    return {**found.metrics, **found.beside}


def _baseline(found: Any) -> Values:
    return {"accuracy": found.accuracy, "n": found.n["test"], **found.settings}


# --- the same shape without pretraining ------------------------------------------------------------


@contextmanager
def random_twin(backbone: Backbone, seed: int = 0) -> Iterator[Backbone]:
    """A backbone of the same architecture and tokenizer whose weights were never trained.

    It is saved and loaded like any other, in a folder that is gone afterwards.
    """
    make: Any = type(backbone.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(copy.deepcopy(backbone.config))
    with TemporaryDirectory(prefix="softprompt-random-") as folder:
        model.float().save_pretrained(folder)
        backbone.tokenizer.wrapped.save_pretrained(folder)
        yield sp.load_backbone(folder, precision="float32")
