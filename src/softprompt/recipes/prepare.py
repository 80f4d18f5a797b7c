"""From settings to a task, answers and a backbone that fit together, for each variant of a sweep.

Everything that can be wrong with a run is found here, before anything is trained or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from softprompt.analysis.accounts import Account, planned
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.columns import did_you_mean, listed
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.inference.applied import Applied
from softprompt.methods.method import NO_STACKS
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.sweeps import Variant, variants
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Slots, Verbalizer
from softprompt.text.checks import WordReport, check_words
from softprompt.text.template import Template
from softprompt.text.tokens import Family
from softprompt.tuning.drawing import check_drawn, draw_from
from softprompt.tuning.run import Job, bind, job_template

FEW_DEV = 20
"""Below so many dev rows the choice of the best step is mostly chance."""

LOOKED_AT = 1_000
"""How many training examples are rendered beforehand to count those that lose tokens."""


@dataclass(frozen=True)
class Bound:
    """A variant of the settings on the run's data and backbone, nothing learned yet.

    Args:
        variant: its name, values and settings.
        template: the source.
        answers: given ones, or None for the task's own.
        applied: template and answers on the backbone.
        account: parameters.
        words: how each label word is tokenised.
        cut: of how many training examples looked at, how many lose tokens.
    """

    variant: Variant
    template: str
    answers: Answers | None
    applied: Applied
    account: Account
    words: tuple[WordReport, ...]
    cut: tuple[int, int]

    @property
    def settings(self) -> RunSettings:
        """The variant's settings."""
        return self.variant.settings


@dataclass(frozen=True)
class Prepared:
    """A run about to begin.

    Args:
        settings: resolved.
        task: with its dev split and limits.
        backbone: loaded.
        variants: those of the sweep, or the run itself.
        notes: what was decided on the way (a dev split out of train, …).
        of_data: what a user should know of words and rows before training.
        of_dev: the same of what dev chooses.
        shifted: splits of the task that are the test sets of others.
    """

    settings: RunSettings
    task: Task
    backbone: Backbone
    variants: tuple[Bound, ...]
    notes: tuple[str, ...]
    of_data: tuple[str, ...]
    of_dev: tuple[str, ...]
    shifted: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that a user should know before training."""
        return self.of_data + self.of_dev

    @property
    def first(self) -> Bound:
        """The run itself, or the first variant of a sweep."""
        return self.variants[0]


def prepare(
    settings: RunSettings, backbone: Backbone | None = None, data: RunData | None = None
) -> Prepared:
    """Load data and backbone, bind the template of each variant.

    Args:
        backbone: the one that the settings name, where it is loaded already.
        data: what `run_task` gave for these settings, where it was read already.
    Raises:
        UsageError: anything that does not fit; says which.
    """
    every = variants(settings)
    for variant in every:
        _check_precision(variant.settings)
    data = data or run_task(settings)
    task = data.task
    n_dev = len(task.examples("dev")) if "dev" in task.split_names else 0
    if settings.sweep and n_dev == 0:
        raise SettingsError(
            f"sweep: task '{task.name}' has no dev split, so there is nothing to choose by; give a "
            "dev file, or a dev_size above 0 to take rows out of train"
        )
    for variant in every:  # what is wrong with the words is found before the backbone is loaded
        if variant.settings.template is not None:
            with _named(variant):
                parsed = _template(variant.settings, task, "masked")
                run_answers(variant.settings, task, parsed.slot_names)
    if backbone is None:
        backbone = load_backbone(
            settings.backbone,
            family=settings.family,
            precision=settings.precision,
            device=settings.device,
        )
    looks = _Looks(task)
    bound = []
    for variant in every:
        with _named(variant):
            bound.append(_bound(variant, task, backbone, looks))
    of_data = [
        f"label word '{word.word}' of {word.label}: {warning}"
        for one in bound
        for word in one.words
        for warning in word.warnings
    ]
    cut, looked = max((one.cut for one in bound), key=lambda pair: pair[0])
    if cut:
        of_data.append(f"{cut} of {looked} training examples do not fit and lose tokens")
    if data.skipped.count:
        first = data.skipped.messages[0]
        of_data.append(f"{data.skipped.count} bad rows were passed over; the first: {first}")
    of_dev = []
    if n_dev == 0:
        of_dev.append("no dev split: the last step is kept, and nothing tells whether it is good")
    elif n_dev < FEW_DEV:
        chosen = "which step and which variant are" if settings.sweep else "which step is"
        of_dev.append(f"dev has {n_dev} rows only: {chosen} the best is mostly chance")
    return Prepared(
        settings=settings,
        task=task,
        backbone=backbone,
        variants=tuple(bound),
        notes=data.notes,
        of_data=tuple(dict.fromkeys(of_data)),
        of_dev=tuple(of_dev),
        shifted=data.shifted,
    )


def _check_precision(settings: RunSettings) -> None:
    if settings.precision == "int8" and settings.method.opens_weights:
        raise SettingsError(
            f"precision: {settings.method.name} trains the backbone's weights, which int8 holds in 8 "
            "bits; use float32, or a method that learns a prompt"
        )


@contextmanager
def _named(variant: Variant) -> Iterator[None]:
    """A refusal says of which variant it is."""
    try:
        yield
    except UsageError as error:
        if not variant.name:
            raise
        raise SettingsError(f"sweep, variant {variant.name}: {error}") from None


def _template(settings: RunSettings, task: Task, family: Family) -> Template:
    """The template of the settings, or the task's for the family."""
    return job_template(Job(task, settings.method, template=settings.template), family)


def _bound(variant: Variant, task: Task, backbone: Backbone, looks: _Looks) -> Bound:
    settings = variant.settings
    parsed = _template(settings, task, backbone.family)
    answers = run_answers(settings, task, parsed.slot_names)
    applied = bind(
        backbone,
        task,
        parsed,
        answers,
        settings.objective,
        n_rows=settings.method.n_rows(parsed.explicit_length),
        n_attended=settings.method.n_attended(),
        classes=settings.method.reads_classes,
        render=settings.render.resolved(),
    )
    if settings.demonstrations is not None:
        check_drawn(applied, settings.method)
    length = applied.renderer.total_rows
    words, cut = looks.at(applied)
    return Bound(
        variant=variant,
        template=str(parsed),
        answers=answers,
        applied=applied,
        account=planned(
            settings.method,
            length,
            backbone.width,
            backbone.n_parameters,
            backbone.attentions.shapes if settings.method.n_attended() else NO_STACKS,
            settings.method.n_opened(backbone),
            settings.method.n_readout(len(task.labels), backbone.head.width),
        ),
        words=words,
        cut=cut,
    )


class _Looks:
    """Examples rendered beforehand, once for all variants that render them alike."""

    def __init__(self, task: Task):
        self._train = task.examples("train")
        self._known: dict[str, tuple[tuple[WordReport, ...], tuple[int, int]]] = {}

    def at(self, applied: Applied) -> tuple[tuple[WordReport, ...], tuple[int, int]]:
        """How words are tokenised, and how many of the examples looked at lose tokens."""
        renderer = applied.renderer
        parts = (str(renderer.template), applied.answers.to_json(), applied.objective)
        key = f"{renderer.total_rows} {parts}"
        if key not in self._known:
            self._known[key] = self._look(applied)
        return self._known[key]

    def _look(self, applied: Applied) -> tuple[tuple[WordReport, ...], tuple[int, int]]:
        looked, first = self._train[:LOOKED_AT], self._train[0]
        if isinstance(applied.answers, FreeText):
            cut = sum(applied.source(example).cut > 0 for example in looked)
            return (), (cut, len(looked))
        cut = sum(applied.render(example).cut > 0 for example in looked)
        words = check_words(applied.renderer, first.fields, first.candidates)
        return tuple(words), (cut, len(looked))


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
            rows = (row for split in task.split_names for row in task.examples(split)[:1])
            own = next((row.candidates for row in rows), None)  # train may hold none
            return OwnCandidates() if own else FreeText(settings.max_answer_tokens)
        return None
    if task.kind == "number":
        return Poles.read(settings.words, task.bounds, task.words or ())
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


def with_demonstrations(prepared: Prepared) -> Applied:
    """The run's template and answers, or those of the first variant, as questions meet them: with the
    demonstrations that are drawn, if any.

    Raises:
        SettingsError: their encoder is not there, or there is no room for a single one.
    """
    first = prepared.first
    if (drawn := first.settings.demonstrations) is None:
        return first.applied
    train = prepared.task.examples("train")
    return draw_from(drawn, first.applied, train, first.settings.seeds[0])


def make_jobs(prepared: Prepared, places: Mapping[tuple[str, int], Path]) -> list[Job]:
    """One job for each seed of each variant.

    Args:
        places: the folder of each fit, by the variant's name and the seed.
    """
    return [
        Job(
            task=prepared.task,
            method=one.settings.method,
            seed=seed,
            template=one.template,
            answers=one.answers,
            objective=one.settings.objective,
            training=one.settings.training,
            render=one.settings.render.resolved(),
            demonstrations=one.settings.demonstrations,
            folder=places[one.variant.name, seed],
            also=prepared.shifted,
            name=f"{one.variant.name or f'{one.settings.method.name} on {prepared.task.name}'}, "
            f"seed {seed}",
        )
        for one in prepared.variants
        for seed in one.settings.seeds
    ]
