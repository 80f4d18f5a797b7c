"""From a backbone, a task and a method to a prompt with its scores: `fit`, and `fit_many`.

Assembles what the loop steps and what a run leaves; knows methods by their interface only.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.mixture import rows_behind
from softprompt.data.task import Task
from softprompt.errors import RunError, SettingsError
from softprompt.inference.drawn import DemonstrationSettings
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.method import Method
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import Answers
from softprompt.tuning.alarms import Alarm
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import (
    Job,
    bind,
    job_template,
    labelled,
    make_fit,
    origin,
    training_settings,
)
from softprompt.tuning.loop import Loop, Report
from softprompt.tuning.settings import TrainingSettings

__all__ = ["Job", "Run", "bind", "fit", "fit_many", "job_template", "training_settings", "versions"]


@dataclass(frozen=True)
class Run:
    """What a fit leaves.

    Args:
        prompt: to save and use; of a method that opens weights it holds them if
            `training.keep_weights`, and is a record of the run otherwise.
        metrics: split to metric to value, `test` among them where the task has one.
        evaluations: split to the whole evaluation.
        step: which step was kept.
        history: every evaluation on dev.
        alarms: what looked wrong at the last evaluation.
        cut: how many training examples lost tokens, of those drawn in the first epoch.
        n_learned: how many parameters were learned.
        failure: why the fit stopped before its end; then there are no metrics, and the prompt is
            the best of the evaluations until then.
    """

    prompt: Prompt
    metrics: Mapping[str, Mapping[str, float]]
    evaluations: Mapping[str, Evaluation]
    step: int
    history: Sequence[Mapping[str, float]]
    alarms: Sequence[Alarm]
    cut: int
    n_learned: int
    failure: str | None = None


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
    demonstrations: DemonstrationSettings | Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    test: str | None = "test",
    report: Report = lambda fit, record: None,
) -> Run:
    """Learn a prompt for a task on a frozen backbone, evaluate it and hand it back.

    Args:
        backbone: bit-identical afterwards.
        task: with a train split; a dev split selects the step that is kept.
        method: for example `PromptTuning(length=20)`.
        seed: of initialisation, data order and dropout; the same seed gives the same prompt.
        template: its source; "plain" for the fields alone; the task's own for the backbone's family
            where none is given.
        words: label to word or words; the task's own where none are given.
        answers: instead of `words`.
        objective: how candidates are scored and trained, and how a prediction is made.
        training: settings, or a mapping of those that differ from the method's defaults.
        demonstrations: solved examples of train beside each question, drawn anew at each look (LM-BFF);
            settings, or a mapping of those that differ from the defaults.
        folder: keep checkpoints and metrics there; a run that was interrupted goes on.
        test: the split to test on at the end; None for none.
        report: called after each step, when it is safe in the folder.
    Raises:
        UsageError: a task, template or setting that does not fit; says which.
        RunError: a loss that is not a number (with the step), or a checkpoint of another run.
    """
    if not isinstance(training, TrainingSettings):
        training = training_settings(method, training or {})
    if isinstance(demonstrations, Mapping):
        demonstrations = DemonstrationSettings.read(demonstrations, "demonstrations")
    job = Job(
        task=task,
        method=method,
        seed=seed,
        template=template,
        words=words,
        answers=answers,
        objective=objective or ObjectiveSettings(),
        training=training,
        demonstrations=demonstrations,
        folder=Path(folder) if folder is not None else None,
        test=test,
    )
    return fit_many(backbone, [job], report)[0]


def fit_many(
    backbone: Backbone,
    jobs: Sequence[Job],
    report: Report = lambda fit, record: None,
    *,
    keep_failures: bool = False,
) -> list[Run]:
    """Several fits over one backbone, their rows in shared batches; each as if it were alone.

    Their checkpoint stands in the first job's folder. A fit that fails does not stop the others.

    Args:
        backbone: bit-identical afterwards.
        jobs: what to fit; with folders, each has its own.
        report: called after each step, for each fit, when the step is safe in the folders.
        keep_failures: return the run of a fit whose loss was not a number, with its `failure`;
            otherwise it is raised once the others have reached their end.
    Raises:
        SettingsError: several jobs, one of which opens the backbone's weights; some with a folder
            and some without, or two with the same.
        UsageError: a task, template or setting that does not fit; says which.
        RunError: a loss that is not a number (with the step); a checkpoint that cannot be read,
            cannot be written, or is of another run.
    """
    folders = _folders(jobs)
    if len(jobs) > 1 and any(job.method.opens_weights for job in jobs):
        raise SettingsError("a method that opens the backbone's weights cannot share the backbone")
    with ExitStack() as opening:
        for job in jobs:
            opening.enter_context(job.method.opened(backbone))
        fits = [make_fit(backbone, job) for job in jobs]
        for number, made in enumerate(fits):
            made.render_with(fits[:number])
        pairs = list(zip(jobs, fits, strict=True))
        origins = [origin(backbone, job, fit.applied) for job, fit in pairs] if folders else []
        Loop(backbone, fits, folders, origins, report).run()
        failures = [fit.failure for fit in fits if fit.failure is not None]
        if failures and not keep_failures:
            raise RunError("\n".join(failures))
        return [_finish(backbone, job, fit) for job, fit in pairs]


def _folders(jobs: Sequence[Job]) -> list[Path] | None:
    folders = [job.folder for job in jobs if job.folder is not None]
    if folders and len(folders) != len(jobs):
        raise SettingsError("either every job has a folder, or none")
    if len(set(folders)) != len(folders):
        raise SettingsError("every job needs a folder of its own")
    return folders or None


def _finish(backbone: Backbone, job: Job, fit: Fit) -> Run:
    """Put the chosen parameters in place and score them."""
    fit.choose()
    evaluations: dict[str, Evaluation] = {}
    if fit.failure is None and fit.data.dev:
        evaluations["dev"] = fit.evaluate_dev(both_ways=True)
    tests = {"test": job.test, **{split: split for split in job.also}}
    for name, split in tests.items():
        if fit.failure is None and split is not None and split in job.task.split_names:
            evaluations[name] = evaluate(
                backbone,
                fit.applied,
                labelled(job.task, split),
                job.task.metrics,
                job.task.labels,
                token_budget=fit.settings.token_budget,
                parts=job.task.part_scores,
            )
    return Run(
        prompt=_prompt(backbone, job, fit, evaluations),
        metrics={split: {**e.metrics, **e.beside} for split, e in evaluations.items()},
        evaluations=evaluations,
        step=fit.chosen_step,
        history=fit.history,
        alarms=fit.alarms,
        cut=fit.cut,
        n_learned=sum(p.numel() for p in fit.parameters.values()),
        failure=fit.failure,
    )


def _prompt(
    backbone: Backbone, job: Job, fit: Fit, evaluations: Mapping[str, Evaluation]
) -> Prompt:
    task, applied = job.task, fit.applied
    return Prompt(
        addition=applied.addition,
        method=job.method.name,
        template=str(applied.renderer.template),
        answers=applied.answers.to_json(),
        objective=asdict(applied.objective),
        task={
            **task.facts,
            "train_hash": task.content_hash("train"),
            "train_rows": len(fit.data.train),
            **_unlabelled(task, fit),
            **({} if applied.shots is None else {"demonstrations": applied.shots.to_json()}),
        },
        backbone=backbone.identity,
        scores=_scores(job, fit, evaluations),
        settings={
            "n_rows": applied.renderer.n_rows,
            "render": asdict(applied.renderer.settings),
            "method": job.method.model_dump(mode="json"),
            "training": fit.settings.model_dump(mode="json"),
            "seed": job.seed,
            "precision": backbone.precision,
            "opened_weights": job.method.opens_weights,
        },
        versions=versions(),
        examples=_shown(fit, evaluations),
        backbone_parameters=backbone.n_parameters,
        weights=job.method.weights(backbone, fit.parameters) if fit.settings.keep_weights else None,
    )


def _unlabelled(task: Task, fit: Fit) -> dict[str, Any]:
    """Which rows the language-model loss had, where there was one."""
    if not fit.settings.auxiliary.on:
        return {}
    return {
        "unlabelled_hash": task.content_hash("unlabelled"),
        "unlabelled_rows": len(fit.data.unlabelled),
    }


def _scores(job: Job, fit: Fit, evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    tried = len(fit.history)
    chosen = fit.settings.keep == "best" and tried > 0
    return [
        {
            "split": split,
            "metric": metric,
            "value": value,
            "n": rows_behind(job.task, _split(job, split), metric),
            "data_hash": job.task.content_hash(_split(job, split)),
            "seed": job.seed,
            "selection": f"dev: the best of {tried} evaluations" if chosen else "none",
            "step": fit.chosen_step,
        }
        for split, evaluation in evaluations.items()
        for metric, value in {**evaluation.metrics, **evaluation.beside}.items()
    ]


def _split(job: Job, name: str) -> str:
    """The task's split that an evaluation is of."""
    return job.test or name if name == "test" else name


def _shown(fit: Fit, evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """A few dev examples with their predictions, for the card."""
    if "dev" not in evaluations:
        return []
    pairs = list(zip(fit.data.dev, evaluations["dev"].predictions, strict=True))[:4]
    return [
        {
            "text": " ‖ ".join(str(value) for value in example.fields.values())[:300],
            "target": example.target if isinstance(example.target, str) else None,
            "prediction": None if prediction.answer is None else str(prediction.answer),
        }
        for example, prediction in pairs
    ]


def versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    found = {"python": platform.python_version()}
    for name in ("softprompt", "torch", "transformers", "tokenizers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
