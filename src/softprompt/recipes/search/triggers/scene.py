"""A search for triggers begun: its template with places, its label words, the tokens that may be triggers.

Everything that can be wrong with a search is found here, before anything is swapped. Knows the parts beside
this file; takes no step.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.metrics import find_metric, hard
from softprompt.errors import SettingsError, TemplateError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import evaluate
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.addition import Addition
from softprompt.recipes.prepare import run_answers
from softprompt.recipes.run_folder import write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import Search
from softprompt.recipes.search.triggers.climb import Ids, Look, Metrics, drawn_start, ranked
from softprompt.recipes.search.triggers.losses import trigger_lesson, trigger_rows
from softprompt.recipes.search.triggers.settings import DEFAULT_TRIGGERS, TriggerSettings
from softprompt.recipes.search.triggers.text import Slots, as_text, trigger_slots
from softprompt.recipes.search.triggers.tokens import allowed_tokens, plain
from softprompt.recipes.search.triggers.words import (
    answer_states,
    best_words,
    fit_probe,
    shown,
    word_scores,
)
from softprompt.text.answers import Poles, Verbalizer
from softprompt.text.template import Template
from softprompt.tuning.jobs import Job, bind, job_template, labelled
from softprompt.tuning.lessons import DevQuestions, Lessons

COMPARED = 500
"""Rows of train, and of dev, that must be read alike with triggers as text."""

GLANCED = 2
"""The same while the search goes on, for each token that is tried."""

ATTEMPTS = 50
"""Draws of triggers to start from, until some can be written as text."""

PROBED = "words.json"


@dataclass(frozen=True)
class Scene:
    """A search with its template bound.

    Args:
        search: begun.
        settings: of the search.
        run: with the label words that are used.
        slots: the template with its places.
        applied: the same on the backbone.
        allowed: tokens that may become triggers.
        lessons: train.
        questions: dev.
        bare: metrics on dev of the template without triggers.
    """

    search: Search
    settings: TriggerSettings
    run: RunSettings
    slots: Slots
    applied: Applied
    allowed: tuple[int, ...]
    lessons: Lessons
    questions: DevQuestions
    bare: Metrics

    @property
    def backbone(self) -> Backbone:
        return self.search.backbone

    @property
    def metric(self) -> str:
        """The task's, by which triggers are ranked on dev."""
        return self.search.task.metrics[0]

    @property
    def higher(self) -> bool:
        return find_metric(self.metric)[0].higher_is_better

    def worn(self, ids: Ids) -> Applied:
        """The template with triggers in place."""
        return self.applied.with_addition(Addition(trigger_rows(self.backbone, ids)))

    def dev(self, ids: Ids) -> Metrics:
        """Their metrics on dev."""
        return _evaluated(self.search, self.worn(ids), self.questions)

    def pieces(self, ids: Ids) -> list[str]:
        """As the tokenizer writes them."""
        return self.backbone.tokenizer.pieces(ids)

    @property
    def masks(self) -> frozenset[int]:
        """The token that triggers start from under `start: mask`, and that must not be one in the end."""
        mask = self.backbone.tokenizer.mask if self.settings.start == "mask" else None
        return frozenset() if mask is None else frozenset({mask})

    def ranked(self, looks: Sequence[Look]) -> list[Look]:
        """Best first; those that still hold a mask only where there are no others."""
        whole = [look for look in looks if not self.masks & set(look.ids)]
        return ranked(whole or looks, self.metric, self.higher)

    def text(self, ids: Ids, most: int = COMPARED, rows: Collection[int] = ()) -> Template | None:
        """The template with triggers as text; None where it would be read otherwise.

        Args:
            most: rows of train, and of dev, that are compared.
            rows: triggers that stay rows.
        """
        task = self.search.task
        compared = [*task.examples("train")[:most], *task.examples("dev")[:most]]
        decode = self.backbone.tokenizer.decode
        return as_text(self.slots.template, ids, decode, self.bound, compared, rows)

    def reads_back(self, ids: Ids) -> bool:
        """Whether triggers can be written as text, as far as a few rows tell, around masks that are left."""
        return self.text(ids, GLANCED, self.masks) is not None

    def bound(self, template: Template, n_rows: int) -> Applied:
        """Another template, with so many rows in its soft slots."""
        return _bound(self.search, self.run, template, n_rows)


def check_method(run: RunSettings) -> None:
    """Triggers stand where rows would be learned; what may come afterwards is what needs no rows."""
    method = run.method
    if isinstance(method, PromptTuning | PromptDesign):
        return
    if method.opens_weights and not method.reads_classes and not method.n_attended():
        return
    raise SettingsError(
        f"method: {method.name} learns something of its own beside the template, and triggers are tokens of "
        "it; use prompt_tuning (its rows are the places of the triggers), prompt_design, or a method that "
        "tunes weights with the triggers that were found"
    )


def make_scene(search: Search, settings: TriggerSettings) -> Scene:
    run, task, backbone = search.run, search.task, search.backbone
    template = job_template(Job(task, run.method, template=run.template), backbone.family)
    if run.method.shows() is not None:
        raise SettingsError(
            "method.demonstrations: triggers are searched without solved examples; leave it out"
        )
    own = run.method.length if isinstance(run.method, PromptTuning) else None
    length = own or DEFAULT_TRIGGERS
    if own and template.explicit_length not in (None, own):
        run.method.n_rows(template.explicit_length)  # says what is wrong
    encode = backbone.tokenizer.encode
    slots = trigger_slots(template, length, lambda text: encode(text, continues=False).ids)
    bare = _bound(search, run, slots.template, 0)
    applied = _bound(search, run, slots.template, len(slots.starts))
    if applied.renderer.total_rows != len(slots.starts):
        raise TemplateError(f"'{slots.template}' has no place for triggers")
    if settings.label_words == "probe":
        run = _with_probed_words(search, settings, run, slots, applied)
        bare = _bound(search, run, slots.template, 0)
        applied = _bound(search, run, slots.template, len(slots.starts))
    rows = backbone.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator, union-attr]
    excluded = [*settings.exclude, *_answer_words(applied, labelled(task, "train"))]
    _check_starts(slots, backbone, excluded)
    allowed = allowed_tokens(
        backbone.tokenizer, min(int(rows), backbone.vocabulary), settings.tokens, excluded
    )
    bare_questions = DevQuestions(task.examples("dev"), bare)
    return Scene(
        search=search,
        settings=settings,
        run=run,
        slots=slots,
        applied=applied,
        allowed=tuple(allowed),
        lessons=Lessons(labelled(task, "train"), applied, make=trigger_lesson),
        questions=DevQuestions(labelled(task, "dev"), applied),
        bare=_evaluated(search, bare, bare_questions),
    )


def _bound(search: Search, run: RunSettings, template: Template, n_rows: int) -> Applied:
    answers = run_answers(run, search.task, template.slot_names)
    render = run.render.resolved()
    return bind(
        search.backbone, search.task, template, answers, run.objective, n_rows=n_rows, render=render
    )


def _evaluated(search: Search, applied: Applied, questions: DevQuestions) -> Metrics:
    task = search.task
    return evaluate(
        search.backbone,
        applied,
        questions.examples,
        task.metrics,
        task.labels,
        asked=questions.ask(),
        token_budget=search.run.training.token_budget,
        both_ways=False,
        parts=task.part_scores,
    ).metrics


def _answer_words(applied: Applied, train: Sequence[Example]) -> list[str]:
    """Words that must not become triggers: those of the labels, or the answers of train."""
    answers = applied.answers
    if isinstance(answers, Verbalizer):
        return [word for rows in answers.words.values() for row in rows for word in row]
    if isinstance(answers, Poles):
        return list(answers.words)
    golds = [hard(example.target) for example in train]
    return [word for gold in golds for word in (gold if isinstance(gold, tuple) else (str(gold),))]


def _check_starts(slots: Slots, backbone: Backbone, excluded: Collection[str]) -> None:
    """Refuse a template whose own words to start from are words that must not become triggers."""
    barred = {plain(word) for word in excluded}
    for token in slots.starts:
        if token is not None and plain(word := backbone.tokenizer.decode((token,))) in barred:
            raise SettingsError(
                f"template: triggers start from '{plain(word)}', which is excluded or a label word and must "
                f"not be a trigger; take it out of {{soft:'…'}}, or out of --exclude"
            )


def starts(scene: Scene, seed: int) -> tuple[Ids, bool]:
    """Where the triggers of a seed start: the template's words, else as `start` says; and whether every swap
    must leave triggers that can be written as text, which those at the start then can be, too.

    Raises:
        SettingsError: no mask token to start from.
    """
    given, settings = scene.slots.starts, scene.settings
    mask = scene.backbone.tokenizer.mask
    if settings.start == "mask":
        if mask is None:
            raise SettingsError(
                f"--start: '{scene.backbone.name}' has no mask token to start from; use random"
            )
        start = tuple(mask if own is None else own for own in given)
        return start, settings.tokens != "any" and scene.reads_back(start)

    def drawn(attempt: int) -> Ids:
        other = drawn_start(scene.allowed, len(given), seed, attempt)
        return tuple(o if own is None else own for own, o in zip(given, other, strict=True))

    if settings.tokens != "any":
        for attempt in range(ATTEMPTS):
            if scene.reads_back(drawn(attempt)):
                return drawn(attempt), True
        scene.search.told.warning(
            "no triggers to start from were found that can be written as text in this template; what is "
            "found may have to be kept as rows"
        )
    return drawn(0), False


# --- label words --------------------------------------------------------------------------------


def _with_probed_words(
    search: Search, settings: TriggerSettings, run: RunSettings, slots: Slots, applied: Applied
) -> RunSettings:
    """The run with the words of a probe; found once, then read from the folder.

    Raises:
        SettingsError: a task without labels, or several answer slots.
    """
    task = search.task
    if task.kind != "label" or len(applied.renderer.template.answers) > 1:
        raise SettingsError(
            f"--label-words: a probe tells the labels of a task apart at one answer slot; task '{task.name}' "
            "has no labels, or its template several slots. Use own"
        )
    place = search.folder.work / PROBED
    if not place.is_file():
        words, accuracy = _probed(search, settings, run, slots)
        record = {"words": words, "accuracy": accuracy}
        write_text(place, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    record = json.loads(place.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = record["words"]
    search.told.note(
        f"label words of a probe (dev accuracy {record['accuracy']:.3f}): {shown(found)}"
    )
    return RunSettings.read({**run.resolved(), "words": found}, "run")


def _probed(
    search: Search, settings: TriggerSettings, run: RunSettings, slots: Slots
) -> tuple[dict[str, list[str]], float]:
    task, backbone, tokenizer = search.task, search.backbone, search.backbone.tokenizer
    reading = bind(
        backbone,
        task,
        slots.template,
        run_answers(run, task, slots.template.slot_names),
        ObjectiveSettings(),
        n_rows=len(slots.starts),
        classes=True,
        render=run.render.resolved(),
    )
    begun = [tokenizer.decode((token,)) for token in slots.starts if token is not None]
    excluded = [*settings.exclude, *begun]
    ordinary = allowed_tokens(tokenizer, backbone.vocabulary, "words", excluded)
    mask = tokenizer.mask
    drawn = drawn_start(ordinary, len(slots.starts), run.seeds[0])
    start = [
        given if given is not None else mask if mask is not None else other
        for given, other in zip(slots.starts, drawn, strict=True)
    ]
    rows = trigger_rows(backbone, start)
    train, dev = labelled(task, "train"), labelled(task, "dev")
    states = [answer_states(backbone, reading, rows, part) for part in (train, dev)]
    golds = [[str(hard(example.target)) for example in part] for part in (train, dev)]
    probe = fit_probe(states[0], golds[0], states[1], golds[1], task.labels)
    output = backbone.head.rows(ordinary)[0]
    words = [tokenizer.decode((number,)).strip() for number in ordinary]

    def fits(several: Sequence[str]) -> list[tuple[int, ...]]:
        given = {label: [[word] for word in several] for label in task.labels}
        trial = RunSettings.read({**run.resolved(), "words": given}, "run")
        made = _bound(search, trial, slots.template, len(slots.starts))
        return made.candidate_ids(train[0])[: len(several)]

    scores = word_scores(probe.weights, output)
    m = settings.words_per_label
    return best_words(scores, ordinary, words, task.labels, m, fits), probe.accuracy
