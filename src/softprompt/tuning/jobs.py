"""One fit to be made: a task, a method and their settings, bound to a backbone.

Knows methods by their interface only, and nothing of steps, batches or folders.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.drawn import DemonstrationSettings
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.methods.method import Method, Scene
from softprompt.text.answers import (
    Answers,
    Classes,
    FreeText,
    OwnCandidates,
    Poles,
    Slots,
    Verbalizer,
)
from softprompt.text.plain import PLAIN, plain_template
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import Template, parse
from softprompt.text.tokens import Family
from softprompt.tuning.alarms import DEMONSTRATIONS_LEFT_OUT, Alarm
from softprompt.tuning.drawing import check_drawn, draw_from
from softprompt.tuning.fit import Fit, FitData
from softprompt.tuning.settings import TrainingSettings
from softprompt.tuning.showing import show, with_demonstrations

COUNTED_EXAMPLES = 2_000
"""How many training examples an initialiser counts pieces on."""

CHANGES_NO_STEP = ("token_budget", "checkpoint_every", "tensorboard", "keep_weights")
"""Training settings that a run may be resumed without; `token_budget` changes rounding at most."""


@dataclass(frozen=True)
class Job:
    """One fit to be made.

    Args:
        task: with a train split; a dev split selects the step that is kept; `training.auxiliary` needs a
            split "unlabelled".
        method: its settings.
        seed: of initialisation, data order and dropout.
        template: source, or "plain" (`text/plain.py`); the task's own for the backbone's family where
            none is given.
        words: label to word or words; the task's own, else the labels themselves.
        answers: what stands in the answer slot, instead of `words`.
        objective, training, render: settings; the method's own training defaults where none.
        demonstrations: solved examples of train beside each question, drawn anew at each look; None: none.
        folder: run folder for checkpoints and metrics, or None.
        test: which split to test on at the end, or None.
        also: further splits to test on, such as the test sets of other tasks.
        name: for messages; else method, task and seed.
    """

    task: Task
    method: Method
    seed: int = 0
    template: str | None = None
    words: Mapping[str, Any] | None = None
    answers: Answers | None = None
    objective: ObjectiveSettings = field(default_factory=lambda: ObjectiveSettings())
    training: TrainingSettings | None = None
    render: RenderSettings | None = None
    demonstrations: DemonstrationSettings | None = None
    folder: Path | None = None
    test: str | None = "test"
    also: tuple[str, ...] = ()
    name: str | None = None

    @property
    def settings(self) -> TrainingSettings:
        """The training settings, the method's own defaults where none are given."""
        return self.training or training_settings(self.method, {})


def training_settings(method: Method, given: Mapping[str, Any]) -> TrainingSettings:
    """The method's training defaults with what was given laid over them.

    Raises:
        SettingsError: an unknown key, or a value of a wrong type.
    """
    defaults = dict(method.training_defaults())
    merged: dict[str, Any] = {**defaults, **given}
    own, theirs = defaults.get("optimiser"), given.get("optimiser")
    if isinstance(own, Mapping) and isinstance(theirs, Mapping):
        same = theirs.get("name", own.get("name")) == own.get("name")
        merged["optimiser"] = {**own, **theirs} if same else dict(theirs)
    return TrainingSettings.read(merged, "training")


def make_fit(backbone: Backbone, job: Job) -> Fit:
    """Bind a job to a backbone: template, answers, learner, data.

    Raises:
        UsageError: a task, template or setting that does not fit; says which.
    """
    task, method = job.task, job.method
    template = job_template(job, backbone.family)
    if method.shows() is not None:
        template = with_demonstrations(template)
    objective = job.objective
    if method.calibrates:
        objective = objective.model_copy(update={"calibration": "contextual"})
    applied = bind(
        backbone,
        task,
        template,
        job.answers or answers_of(task, template.slot_names, job.words),
        objective,
        n_rows=method.n_rows(template.explicit_length),
        n_attended=method.n_attended(),
        classes=method.reads_classes,
        render=job.render,
    )
    train = labelled(task, "train")
    dev = labelled(task, "dev") if "dev" in task.split_names else []
    showing, room = method.shows(), None
    if showing is not None:
        applied, room = show(showing, applied, train, job.seed)
    if job.demonstrations is not None:
        check_drawn(applied, method)
        applied = draw_from(job.demonstrations, applied, train, job.seed)
    scene = Scene(
        backbone=backbone,
        renderer=applied.renderer,
        labels=label_words(applied.answers),
        texts=_texts(train[:COUNTED_EXAMPLES]),
    )
    fit = Fit(
        name=job.name or f"{method.name} on {task.name}, seed {job.seed}",
        seed=job.seed,
        applied=applied,
        learner=method.learner(scene, torch.Generator().manual_seed(job.seed)),
        data=FitData(
            train, dev, task.metrics, task.labels, task.part_scores, _unlabelled(task, job.settings)
        ),
        settings=job.settings,
        backbone=backbone,
    )
    if room is not None:
        warnings.warn(room, UserWarning, stacklevel=2)
        fit.alarms.append(Alarm(DEMONSTRATIONS_LEFT_OUT, room))
    return fit


def origin(backbone: Backbone, job: Job, applied: Applied) -> dict[str, Any]:
    """Everything that a fit's steps follow from, as JSON: what a resumed run must have in common."""
    task, render = job.task, applied.renderer.settings
    settings, splits = job.settings, ["train", "dev"]
    left_out = set(CHANGES_NO_STEP)
    if settings.auxiliary.on:
        splits.append("unlabelled")
    else:
        left_out.add("auxiliary")
    found = {
        "seed": job.seed,
        "method": {"name": job.method.name, **job.method.model_dump(mode="json")},
        "training": settings.model_dump(mode="json", exclude=left_out),
        "template": str(applied.renderer.template),
        "answers": applied.answers.to_json(),
        "objective": asdict(applied.objective),
        "render": asdict(render),
        "data": {s: task.content_hash(s) for s in splits if s in task.split_names},
        "backbone": {"weights": backbone.identity.weights, "dtype": backbone.precision},
    }
    if job.demonstrations is not None:
        found["demonstrations"] = job.demonstrations.model_dump(mode="json")
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def job_template(job: Job, family: Family) -> Template:
    """The job's template, or its task's for a family of backbones; `plain` is made of the fields.

    Raises:
        SettingsError: neither has one.
        TemplateError: it cannot be read.
    """
    if job.template == PLAIN:
        return plain_template(job.task.fields, family)
    source = job.template or job.task.template_for(family)
    if not source and job.task.templates:
        families = " or ".join(name.replace("_", "-") for name in job.task.templates)
        raise SettingsError(
            f"task '{job.task.name}' is answered by writing, which a {family} backbone cannot; use "
            f"one that is {families}"
        )
    if not source:
        raise SettingsError(
            f"task '{job.task.name}' has no template of its own: give one, for example "
            f"template: '{{{job.task.fields[0]}}} It was {{mask}}.'"
        )
    return parse(source)


def bind(
    backbone: Backbone,
    task: Task,
    template: Template,
    answers: Answers | None,
    objective: ObjectiveSettings,
    *,
    n_rows: int = 0,
    n_attended: int = 0,
    classes: bool = False,
    render: RenderSettings | None = None,
) -> Applied:
    """A task's template and answers on a backbone.

    Args:
        answers: the task's own where none are given.
        n_rows: learned rows of each bare `{soft}`, or in front.
        n_attended: learned keys and values of each layer.
        classes: whether learned class vectors answer, in the order of the task's labels.
    Raises:
        SettingsError: a field or a label that the task lacks; class vectors for a task without labels.
        TemplateError: a template that does not suit the family.
    """
    unknown = [name for name in template.fields if name not in task.fields]
    if unknown:
        raise SettingsError(
            f"template field '{unknown[0]}': task '{task.name}' has the fields "
            f"{', '.join(task.fields)}"
        )
    answers = answers or answers_of(task, template.slot_names)
    if isinstance(answers, Verbalizer) and set(answers.words) != set(task.labels):
        raise SettingsError(
            f"words are given for {', '.join(answers.words)}; task '{task.name}' has the labels "
            f"{', '.join(task.labels) or 'none'}"
        )
    if classes:
        answers = _classes(answers, task)
    free = isinstance(answers, FreeText)
    resolved = resolve_objective(objective, backbone.family, free, isinstance(answers, Classes))
    return apply(
        backbone,
        template,
        answers,
        resolved,
        n_rows=n_rows,
        n_attended=n_attended,
        settings=render,
    )


def answers_of(task: Task, slots: Slots, words: Mapping[str, Any] | None = None) -> Answers:
    """What may stand in a task's answer slots.

    Args:
        slots: those of the template.
        words: label to word or words, instead of the task's own; the labels themselves where there
            are none. They answer in the task's order of labels. For a number, see `Poles.read`.
    Raises:
        SettingsError: a number without two words, or words for a task of free text.
        TemplateError: words that do not fill the slots.
    """
    given = words or task.words
    if task.kind == "label":
        given = given or {label: label for label in task.labels}
        order = dict.fromkeys([*(label for label in task.labels if label in given), *given])
        return Verbalizer.read({label: given[label] for label in order}, slots or 1)
    if task.kind == "number":
        return Poles.read(given, task.bounds, task.words or ())
    if words is not None:
        raise SettingsError(f"words: task '{task.name}' has no labels to give words for")
    split = next((s for s in ("train", *task.split_names) if s in task.split_names), None)
    first = next(iter(task.examples(split)), None) if split is not None else None
    return OwnCandidates() if first is not None and first.candidates else FreeText()


def _classes(answers: Answers, task: Task) -> Classes:
    """Class vectors in place of label words."""
    if task.kind != "label" or not isinstance(answers, Verbalizer):
        found = {"poles": "a number", "candidates": "candidates of its own in each example"}
        raise SettingsError(
            f"class vectors stand for the labels of a task, one for each; task '{task.name}' has "
            f"{found.get(answers.kind, 'free text')} to answer with. Use a method whose words answer, "
            "for example prompt_tuning"
        )
    return Classes({label: answers.words[label] for label in task.labels})


def label_words(answers: Answers) -> list[str]:
    """One text for each label, for an initialiser that starts from them."""
    if isinstance(answers, Verbalizer):
        return [" ".join(rows[0]) for rows in answers.words.values()]
    return list(answers.words) if isinstance(answers, Poles) else []


def labelled(task: Task, split: str) -> list[Example]:
    """A split whose every example has a target.

    Raises:
        SettingsError: one that has none.
    """
    examples = task.examples(split)
    bare = next((example.id for example in examples if example.target is None), None)
    if bare is not None:
        raise SettingsError(f"task '{task.name}', split '{split}': example {bare} has no target")
    return examples


def _unlabelled(task: Task, settings: TrainingSettings) -> list[Example]:
    """The rows of the language-model loss; none where it is off.

    Raises:
        SettingsError: the task has none.
    """
    if not settings.auxiliary.on:
        return []
    rows = task.examples("unlabelled") if "unlabelled" in task.split_names else []
    if not rows:
        raise SettingsError(
            f"training.auxiliary.weight: {settings.auxiliary.weight} needs unlabelled rows, and task "
            f"'{task.name}' has no split 'unlabelled'; give it one (in a run file the key `unlabelled`, in "
            "Python `unlabelled=` or `task.with_splits(unlabelled=rows)`), or leave the weight 0"
        )
    return rows


def _texts(examples: Sequence[Example]) -> list[str]:
    texts: list[str] = []
    for example in examples:
        for value in example.fields.values():
            texts += [value] if isinstance(value, str) else list(value)
    return texts
