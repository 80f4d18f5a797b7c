"""From a backbone, a task and a method to a prompt with its scores: `fit`, and `fit_many`.

Assembles what the loop steps; knows methods by their interface only.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.methods.method import Method, Scene
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Verbalizer
from softprompt.text.renderer import RenderSettings
from softprompt.text.template import Template, parse
from softprompt.tuning.alarms import Alarm
from softprompt.tuning.fit import Fit, FitData
from softprompt.tuning.loop import Loop, Report
from softprompt.tuning.settings import TrainingSettings


@dataclass(frozen=True)
class Job:
    """One fit to be made.

    Args:
        task: with a train split; a dev split selects the step that is kept.
        method: its settings.
        seed: of initialisation and data order.
        template: source; the task's own where none is given.
        answers: what stands in the answer slot; the task's label words where none is given.
        objective, training, render: settings; the method's own training defaults where none.
        folder: run folder for checkpoints and metrics, or None.
        test: which split to test on at the end, or None.
    """

    task: Task
    method: Method
    seed: int = 0
    template: str | None = None
    answers: Answers | None = None
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    training: TrainingSettings | None = None
    render: RenderSettings | None = None
    folder: Path | None = None
    test: str | None = "test"


@dataclass(frozen=True)
class Run:
    """What a fit leaves.

    Args:
        prompt: to save and use; of a method that opens weights it holds no rows.
        metrics: split to metric to value, `test` among them where the task has one.
        evaluations: split to the whole evaluation.
        step: which step was kept.
        history: every evaluation on dev.
        alarms: what looked wrong at the last evaluation.
        cut: how many training examples lost tokens.
        n_learned: how many parameters were learned.
    """

    prompt: Prompt
    metrics: Mapping[str, Mapping[str, float]]
    evaluations: Mapping[str, Evaluation]
    step: int
    history: Sequence[Mapping[str, float]]
    alarms: Sequence[Alarm]
    cut: int
    n_learned: int


def fit(
    backbone: Backbone,
    task: Task,
    method: Method,
    *,
    seed: int = 0,
    template: str | None = None,
    words: Mapping[str, Any] | None = None,
    answers: Answers | None = None,
    objective: ObjectiveSettings | None = None,
    training: TrainingSettings | Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    test: str | None = "test",
    report: Report = lambda fit, record: None,
) -> Run:
    """Learn a prompt for a task on a frozen backbone, evaluate it and hand it back.

    Args:
        backbone: stays bit-identical.
        task: with a train split.
        method: for example `PromptTuning(length=20)`.
        seed: of initialisation and data order; the same seed gives the same prompt.
        template: the task's own where none is given.
        words: label to word or words; the task's own where none are given.
        answers: instead of `words`.
        training: settings, or a mapping of those that differ from the method's defaults.
        folder: keep checkpoints and metrics there; a run that was interrupted goes on.
        test: the split to test on at the end; None for none.
        report: called after each step.
    Raises:
        UsageError: a task, template or setting that does not fit; says which.
        RunError: the loss is not a number.
    """
    parsed = parse(template or task.template or "")
    given = answers
    if given is None and words is not None:
        given = Verbalizer.read(words, max(1, len(parsed.answers)))
    settings = training
    if not isinstance(settings, TrainingSettings):
        settings = training_settings(method, settings or {})
    job = Job(
        task=task,
        method=method,
        seed=seed,
        template=template,
        answers=given,
        objective=objective or ObjectiveSettings(),
        training=settings,
        folder=Path(folder) if folder is not None else None,
        test=test,
    )
    return fit_many(backbone, [job], report)[0]


def fit_many(
    backbone: Backbone, jobs: Sequence[Job], report: Report = lambda fit, record: None
) -> list[Run]:
    """Several fits over one backbone, their rows in shared batches; each as if it were alone.

    Raises:
        SettingsError: several jobs, one of which opens the backbone's weights; or some with a
            folder and some without.
    """
    if len(jobs) > 1 and any(job.method.opens_weights for job in jobs):
        raise SettingsError("a method that opens the backbone's weights cannot share the backbone")
    folders = [job.folder for job in jobs if job.folder is not None]
    if folders and len(folders) != len(jobs):
        raise SettingsError("either every job has a folder, or none")
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(job.method.opened(backbone))
        fits = [make_fit(backbone, job) for job in jobs]
        Loop(backbone, fits, folders or None, report).run()
        return [_finish(backbone, job, fit) for job, fit in zip(jobs, fits, strict=True)]


def training_settings(method: Method, given: Mapping[str, Any]) -> TrainingSettings:
    """The method's training defaults with what was given laid over them."""
    defaults = dict(method.training_defaults())
    merged: dict[str, Any] = {**defaults, **given}
    own, theirs = defaults.get("optimiser"), given.get("optimiser")
    if isinstance(own, Mapping) and isinstance(theirs, Mapping):
        same = theirs.get("name", own.get("name")) == own.get("name")
        merged["optimiser"] = {**own, **theirs} if same else dict(theirs)
    return TrainingSettings.read(merged, "training")


def make_fit(backbone: Backbone, job: Job) -> Fit:
    """Bind a job to a backbone: template, answers, learner, data."""
    task, method = job.task, job.method
    template = job_template(job)
    applied = bind(
        backbone,
        task,
        template,
        job.answers,
        job.objective,
        n_rows=method.n_rows(template.explicit_length),
        render=job.render,
    )
    train = labelled(task, "train")
    dev = labelled(task, "dev") if "dev" in task.split_names else []
    scene = Scene(
        backbone=backbone,
        renderer=applied.renderer,
        labels=label_words(applied.answers),
        texts=_texts(train, 2_000),
    )
    generator = torch.Generator().manual_seed(job.seed)
    return Fit(
        name=f"{method.name} on {task.name}, seed {job.seed}",
        seed=job.seed,
        applied=applied,
        learner=method.learner(scene, generator),
        data=FitData(train, dev, task.metrics, task.labels),
        settings=job.training or training_settings(method, {}),
        backbone=backbone,
    )


def job_template(job: Job) -> Template:
    """The job's template, or its task's.

    Raises:
        SettingsError: neither has one.
    """
    source = job.template or job.task.template
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
    render: RenderSettings | None = None,
) -> Applied:
    """A task's template and answers on a backbone.

    Raises:
        TemplateError: a field that the task lacks, or a template that does not suit the family.
    """
    unknown = [name for name in template.fields if name not in task.fields]
    if unknown:
        raise SettingsError(
            f"template field '{unknown[0]}': task '{task.name}' has the fields "
            f"{', '.join(task.fields)}"
        )
    chosen = answers or default_answers(task, len(template.answers))
    resolved = resolve_objective(objective, backbone.family, isinstance(chosen, FreeText))
    return apply(backbone, template, chosen, resolved, n_rows=n_rows, settings=render)


def default_answers(task: Task, slots: int) -> Answers:
    """The task's label words; its labels themselves where it names no words; free text or poles.

    Raises:
        SettingsError: a number task without two words.
    """
    if task.kind == "label":
        words = task.words or {label: (label,) for label in task.labels}
        return Verbalizer.read(words, max(1, slots))
    if task.kind == "number":
        if task.words is None or len(task.words) != 2 or task.bounds is None:
            raise SettingsError(
                f"task '{task.name}' predicts a number: give bounds and answers of kind poles"
            )
        lower, upper = (words[0] for words in task.words.values())
        return Poles((lower, upper), task.bounds)
    first = next(iter(task.examples("train")), None) if "train" in task.split_names else None
    if first is not None and first.candidates:
        return OwnCandidates()
    return FreeText()


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


def _finish(backbone: Backbone, job: Job, fit: Fit) -> Run:
    """Put the chosen parameters in place and score them."""
    fit.put(fit.chosen())
    evaluations: dict[str, Evaluation] = {}
    for split, name in (("dev", "dev"), ("test", job.test)):
        if name is None or name not in job.task.split_names:
            continue
        evaluations[split] = evaluate(
            backbone,
            fit.applied,
            labelled(job.task, name),
            job.task.metrics,
            job.task.labels,
            token_budget=fit.settings.token_budget,
        )
    metrics = {split: {**e.metrics, **e.beside} for split, e in evaluations.items()}
    return Run(
        prompt=_prompt(backbone, job, fit, evaluations),
        metrics=metrics,
        evaluations=evaluations,
        step=fit.chosen_step,
        history=fit.history,
        alarms=fit.alarms,
        cut=fit.cut,
        n_learned=sum(p.numel() for p in fit.parameters.values()),
    )


def _prompt(
    backbone: Backbone, job: Job, fit: Fit, evaluations: Mapping[str, Evaluation]
) -> Prompt:
    task, applied = job.task, fit.applied
    tried = len(fit.history)
    selection = "none"
    if fit.settings.keep == "best" and tried:
        selection = f"dev: the best of {tried} evaluations"
    scores = [
        {
            "split": split,
            "metric": metric,
            "value": value,
            "n": evaluation.n,
            "data_hash": task.content_hash(job.test or "test" if split == "test" else split),
            "seed": job.seed,
            "selection": selection,
            "step": fit.chosen_step,
        }
        for split, evaluation in evaluations.items()
        for metric, value in {**evaluation.metrics, **evaluation.beside}.items()
    ]
    render = applied.renderer.settings
    return Prompt(
        addition=applied.addition,
        method=job.method.name,
        template=str(applied.renderer.template),
        answers=applied.answers.to_json(),
        objective=asdict(applied.objective),
        task={
            "name": task.name,
            "fields": list(task.fields),
            "kind": task.kind,
            "labels": list(task.labels),
            "language": task.language,
            "source": task.source,
            "train_hash": task.content_hash("train"),
            "train_rows": len(fit.data.train),
        },
        backbone=backbone.identity,
        scores=scores,
        settings={
            "n_rows": applied.renderer.n_rows,
            "render": asdict(render),
            "method": job.method.model_dump(mode="json"),
            "training": fit.settings.model_dump(mode="json"),
            "seed": job.seed,
        },
        versions=versions(),
        examples=_shown(fit, evaluations),
        backbone_parameters=backbone.n_parameters,
    )


def _shown(fit: Fit, evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """A few dev examples with their predictions, for the card."""
    if "dev" not in evaluations:
        return []
    pairs = zip(fit.data.dev, evaluations["dev"].predictions, strict=True)
    return [
        {
            "text": " ‖ ".join(str(v) for v in example.fields.values())[:300],
            "target": example.target if isinstance(example.target, str) else None,
            "prediction": str(prediction.answer),
        }
        for example, prediction in list(pairs)[:4]
    ]


def versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    names = ("softprompt", "torch", "transformers", "tokenizers")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _texts(examples: Sequence[Example], most: int) -> list[str]:
    texts: list[str] = []
    for example in examples[:most]:
        for value in example.fields.values():
            texts += [value] if isinstance(value, str) else list(value)
    return texts


