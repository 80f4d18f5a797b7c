"""From settings to a task, answers and a backbone that fit together, and the facts to show first.

Everything that can be wrong with a run is found here, before anything is trained or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt.analysis.accounts import Account, n_bytes, planned
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.columns import did_you_mean, listed
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.recipes.run_data import run_task
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.watching import Fact
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Slots, Verbalizer
from softprompt.text.checks import WordReport, check_words
from softprompt.text.template import parse
from softprompt.tuning.run import Job, bind, job_template

FEW_DEV = 20
"""Below so many dev rows the choice of the best step is mostly chance."""

LOOKED_AT = 1_000
"""How many training examples are rendered beforehand to count those that lose tokens."""


@dataclass(frozen=True)
class Prepared:
    """A run about to begin.

    Args:
        settings: resolved.
        task: with its dev split and limits.
        backbone: loaded.
        template: the source.
        answers: given ones, or None for the task's own.
        applied: template and answers on the backbone, nothing learned yet.
        account: parameters.
        words: how each label word is tokenised.
        cut: of how many training examples looked at, how many lose tokens.
        notes: what was decided on the way (a dev split out of train, …).
        warnings: what a user should know before training.
    """

    settings: RunSettings
    task: Task
    backbone: Backbone
    template: str
    answers: Answers | None
    applied: Applied
    account: Account
    words: tuple[WordReport, ...]
    cut: tuple[int, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare(settings: RunSettings, backbone: Backbone | None = None) -> Prepared:
    """Load data and backbone, bind the template.

    Args:
        backbone: the one that the settings name, where it is loaded already.
    Raises:
        UsageError: anything that does not fit; says which.
    """
    if settings.precision == "int8" and settings.method.opens_weights:
        raise SettingsError(
            f"precision: {settings.method.name} trains the backbone's weights, which int8 holds in 8 "
            "bits; use float32, or a method that learns a prompt"
        )
    data = run_task(settings)
    task = data.task
    given = parse(settings.template) if settings.template is not None else None
    if given is not None:  # what is wrong with the words is found before the backbone is loaded
        run_answers(settings, task, given.slot_names)
    if backbone is None:
        backbone = load_backbone(
            settings.backbone,
            family=settings.family,
            precision=settings.precision,
            device=settings.device,
        )
    parsed = given or job_template(Job(task, settings.method), backbone.family)
    answers = run_answers(settings, task, parsed.slot_names)
    applied = bind(
        backbone,
        task,
        parsed,
        answers,
        settings.objective,
        n_rows=settings.method.n_rows(parsed.explicit_length),
        render=settings.render.resolved(),
    )
    train = task.examples("train")
    looked = train[:LOOKED_AT]
    if isinstance(applied.answers, FreeText):
        cut = sum(applied.source(example).cut > 0 for example in looked)
        words: tuple[WordReport, ...] = ()
    else:
        cut = sum(applied.render(example).cut > 0 for example in looked)
        words = tuple(check_words(applied.renderer, train[0].fields, train[0].candidates))
    warnings = [
        f"label word '{word.word}' of {word.label}: {warning}"
        for word in words
        for warning in word.warnings
    ]
    if cut:
        warnings.append(f"{cut} of {len(looked)} training examples do not fit and lose tokens")
    n_dev = len(task.examples("dev")) if "dev" in task.split_names else 0
    if n_dev == 0:
        warnings.append("no dev split: the last step is kept, and nothing tells whether it is good")
    elif n_dev < FEW_DEV:
        warnings.append(f"dev has {n_dev} rows only: which step is the best is mostly chance")
    if data.skipped.count:
        first = data.skipped.messages[0]
        warnings.append(f"{data.skipped.count} bad rows were passed over; the first: {first}")
    length = applied.renderer.total_rows
    return Prepared(
        settings=settings,
        task=task,
        backbone=backbone,
        template=str(parsed),
        answers=answers,
        applied=applied,
        account=planned(settings.method, length, backbone.width, backbone.n_parameters),
        words=words,
        cut=(cut, len(looked)),
        notes=data.notes,
        warnings=tuple(warnings),
    )


def run_answers(settings: RunSettings, task: Task, slots: Slots) -> Answers | None:
    """The answers that the settings name, or None for the task's own.

    Args:
        slots: those of the template.
    Raises:
        SettingsError: words for a label that the task does not have, or a label without words.
    """
    if settings.answers == "candidates":
        return OwnCandidates()
    if settings.answers == "text":
        return FreeText(settings.max_answer_tokens)
    if settings.words is None:
        if task.kind == "text" and settings.answers == "auto":
            first = task.examples("train")[0]
            return OwnCandidates() if first.candidates else FreeText(settings.max_answer_tokens)
        return None
    if task.kind == "number":
        return _poles(settings.words, task)
    for label in settings.words:
        if label not in task.labels:
            hint = did_you_mean(label, task.labels)
            raise SettingsError(
                f"words: '{label}' is none of the task's labels {listed(task.labels)}{hint}"
            )
    missing = [label for label in task.labels if label not in settings.words]
    if missing:
        raise SettingsError(f"words: none are given for {listed(missing)}")
    return Verbalizer.read({label: settings.words[label] for label in task.labels}, slots or 1)


def make_jobs(prepared: Prepared, folders: Mapping[int, Path]) -> list[Job]:
    """One job per seed."""
    s = prepared.settings
    return [
        Job(
            task=prepared.task,
            method=s.method,
            seed=seed,
            template=prepared.template,
            answers=prepared.answers,
            objective=s.objective,
            training=s.training,
            render=s.render.resolved(),
            folder=folders[seed],
        )
        for seed in s.seeds
    ]


def run_facts(prepared: Prepared) -> list[Fact]:
    """What to show before training."""
    b, task, account, s = prepared.backbone, prepared.task, prepared.account, prepared.settings
    family = b.family.replace("_", "-")
    limit = f", {b.limit} positions" if b.limit else ""
    rows = ", ".join(f"{split} {len(task.examples(split)):,}" for split in task.split_names)
    facts = [
        Fact("backbone", f"{b.name} ({family}, {b.n_parameters:,} parameters{limit})"),
        Fact("device", f"{b.device}, {b.precision}"),
        Fact("task", f"{task.name}: {rows}"),
        *(Fact("", note) for note in prepared.notes),
        Fact("template", prepared.template),
    ]
    facts += [
        Fact("answer", f"{w.label} ← {w.word}  {' '.join(w.pieces)}") for w in prepared.words[:20]
    ]
    if len(prepared.words) > 20:
        facts.append(Fact("", f"… {len(prepared.words) - 20} more words"))
    if isinstance(prepared.applied.answers, Poles):
        low, high = prepared.applied.answers.bounds
        facts.append(Fact("", f"a number from {low:g} to {high:g}"))
    objective = prepared.applied.objective
    facts += [
        Fact("method", f"{s.method.name}, objective {objective.normalise}"),
        Fact("learned", f"{account}, {n_bytes(account.n_bytes)}"),
        Fact("cut", f"{prepared.cut[0]} of the first {prepared.cut[1]:,} training examples"),
    ]
    return facts


def _poles(words: Mapping[str, Any], task: Task) -> Poles:
    flat = [word for word in words.values() if isinstance(word, str)]
    if len(flat) != 2 or task.bounds is None:
        raise SettingsError(
            f"task '{task.name}' predicts a number: expected bounds, and two words, "
            "{lower: …, upper: …}"
        )
    return Poles((flat[0], flat[1]), task.bounds)
