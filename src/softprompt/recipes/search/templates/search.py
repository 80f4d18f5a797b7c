"""Templates written by a T5, or read from a list: ranked without training on train, the best fitted, ranked on dev.

LM-BFF (Gao et al. 2020, arXiv 2012.15723), section 5.2. One output for the whole training set, the label
words in place; every template is then scored on train by the run's own backbone, which is cheap, and the
best are fitted as ordinary runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.metrics import hard
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.budget import TOKEN_BUDGET
from softprompt.recipes.pages import Block, Heading, Lines, Paragraph
from softprompt.recipes.prepare import run_answers
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_folder import write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import Search, begin
from softprompt.recipes.search.candidates import (
    CANDIDATES,
    Candidate,
    read_candidates,
    write_candidates,
)
from softprompt.recipes.search.finishing import Searched, finish
from softprompt.recipes.search.settings import TemplateSettings
from softprompt.recipes.search.templates.forms import Form, forms, is_spaced
from softprompt.recipes.search.templates.grown import Beam, check_generator, grow
from softprompt.recipes.search.templates.lists import read_templates
from softprompt.recipes.search.templates.ranking import listed_reasons, ranked, usable
from softprompt.recipes.watching import Fact, Watcher
from softprompt.text.answers import Answers, Poles, Verbalizer
from softprompt.text.plain import PLAIN
from softprompt.text.template import parse
from softprompt.tuning.jobs import answers_of

DROPPED, LISTED = "dropped.json", "listed.jsonl"
MANY_ROWS = 1_000
"""Training rows above which a search is slow enough to say so."""


@dataclass(frozen=True)
class _Plan:
    """What a search for templates needs beside the run, checked before anything is written."""

    forms: tuple[Form, ...]
    words: tuple[str, ...]
    spaced: bool
    given: tuple[Candidate, ...]
    generator: Backbone | None


def search_templates(
    run: RunSettings,
    settings: TemplateSettings,
    out: Path,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    generator: Backbone | None = None,
    data: RunData | None = None,
    keep: int = 1,
) -> Searched:
    """Find templates, rank them, fit the best.

    Args:
        out: the search's folder; an unfinished search there is gone on with.
        overwrite: begin anew where a search stands already.
        backbone, generator: those that are named, where they are loaded already.
        data: what `run` names, where it was read already.
        keep: how many of the best fits keep the weights that they tuned.
    Raises:
        UsageError: settings, data or models that do not fit; nothing was written.
        RunError: every fit failed, or the disk refuses.
    """
    data = data or run_task(run)
    plan = _plan(run, settings, data, out, overwrite, generator)
    if plan.given:
        backbone = backbone or load_backbone(
            run.backbone, family=run.family, precision=run.precision, device=run.device
        )
        usable(run, plan.given, data.task, backbone)
    search = begin(
        "templates",
        run,
        settings,
        out,
        watcher,
        overwrite=overwrite,
        backbone=backbone,
        data=data,
        keep=keep,
    )
    if search.folder.candidates.is_file():
        _check_same(search, settings, plan)
    else:
        with search.refusing():
            _find(search, settings, plan)
    candidates = read_candidates(search.folder.candidates)
    metric = search.task.metrics[0]
    blocks = _blocks(candidates, _dropped(search.folder.work / DROPPED), settings, metric)
    return finish(search, "Templates", blocks, f"train {metric}")


def example_words(answers: Answers | None, task: Task) -> tuple[str, ...]:
    """The label word of each training example; for a number that of the pole it is nearer to.

    Raises:
        SettingsError: a task whose answers are no label words.
    """
    examples = task.examples("train")
    if isinstance(answers, Verbalizer):
        first = {label: alternatives[0][0] for label, alternatives in answers.words.items()}
        return tuple(first[str(hard(one.target))] for one in examples)
    if isinstance(answers, Poles):
        middle = sum(answers.bounds) / 2  # STS-B: 2.5, as in the release
        low, high = answers.words
        return tuple(low if float(one.target) < middle else high for one in examples)  # type: ignore[arg-type]
    raise SettingsError(
        f"task '{task.name}' is not answered by label words; templates grow around the word of each "
        "example's label"
    )


# --- before anything is written -----------------------------------------------------------------


def _plan(
    run: RunSettings,
    settings: TemplateSettings,
    data: RunData,
    out: Path,
    overwrite: bool,
    generator: Backbone | None,
) -> _Plan:
    task = data.task
    answers = run_answers(run, task, 1) or answers_of(task, 1)
    words = example_words(answers, task)
    fields = _fields(run, settings, task)
    known = (out / CANDIDATES).is_file() and not overwrite
    given: Sequence[Candidate] = ()
    # The list is not needed once there are candidates; where it is there, it must be what it was.
    if settings.candidates is not None and not (known and not Path(settings.candidates).exists()):
        given = read_templates(Path(settings.candidates), fields)
    spaced = is_spaced(dict.fromkeys(words))
    listed = settings.candidates is not None
    shown = () if listed else forms(fields, spaced=spaced, raised=settings.raised)
    if generator is None and not listed and not known:
        generator = load_backbone(
            settings.generator, precision=settings.precision, device=run.device
        )
    if generator is not None:
        check_generator(generator)
    return _Plan(shown, words, spaced, tuple(given), generator)


def _fields(run: RunSettings, settings: TemplateSettings, task: Task) -> tuple[str, ...]:
    own = parse(run.template).fields if run.template not in (None, PLAIN) else ()
    fields = tuple(settings.fields) or own or task.fields
    for name in fields:
        if name not in task.fields:
            known = ", ".join(task.fields)
            raise SettingsError(f"fields: task '{task.name}' has {known}, found '{name}'")
    return fields


# --- finding and ranking --------------------------------------------------------------------------


def _find(search: Search, settings: TemplateSettings, plan: _Plan) -> None:
    """Write `candidates.jsonl`, best first."""
    dropped: dict[str, int] = {}
    if plan.given:
        found = [one.ordered(search.labels) for one in plan.given]
        search.told.note(f"{len(found)} templates in {settings.candidates}")
    else:
        found = _generated(search, settings, plan, dropped)
    fitting, unfit = usable(search.run, found, search.task, search.backbone)
    dropped |= unfit
    found = ranked(search, fitting)
    if dropped:
        search.told.note(f"dropped: {listed_reasons(dropped)}")
    write_text(search.folder.work / DROPPED, json.dumps(dropped, ensure_ascii=False) + "\n")
    if plan.given:
        write_candidates(search.folder.work / LISTED, plan.given)
    write_candidates(search.folder.candidates, found)


def _check_same(search: Search, settings: TemplateSettings, plan: _Plan) -> None:
    """Refuse a list that was changed since candidates were made of it; an older search does not know it.

    Raises:
        SettingsError: it was changed.
    """
    place = search.folder.work / LISTED
    if not plan.given or not place.is_file():
        return
    if [one.key for one in plan.given] != [one.key for one in read_candidates(place)]:
        raise SettingsError(
            f"--candidates: {settings.candidates} was changed since {search.folder.path} made its candidates "
            "of it. Put it back to go on, give --overwrite to begin anew, or another --out"
        )


def _generated(
    search: Search, settings: TemplateSettings, plan: _Plan, dropped: dict[str, int]
) -> list[Candidate]:
    generator, examples = plan.generator, search.task.examples("train")
    assert generator is not None
    search.told.facts(
        [
            Fact("generator", f"{generator.name} ({generator.n_parameters:,} parameters)"),
            Fact("forms", ", ".join(form.name for form in plan.forms)),
        ]
    )
    if len(examples) > MANY_ROWS:
        search.told.warning(
            f"train has {len(examples):,} rows, and every beam reads all of them at every token; k_shot or "
            "train_limit make it fewer"
        )
    budget = search.run.training.token_budget
    beam = Beam(
        settings.beam,
        settings.max_tokens,
        settings.combine,
        settings.limit,
        budget if isinstance(budget, int) else TOKEN_BUDGET,
    )
    found: list[Candidate] = []
    share = math.ceil(settings.templates / len(plan.forms))
    for form in plan.forms:
        place = search.folder.work / f"form-{form.name}.json"
        made, lost = grow(
            generator, form, examples, plan.words, beam, plan.spaced, place, search.told
        )
        for reason, count in lost.items():
            dropped[reason] = dropped.get(reason, 0) + count
        search.told.note(f"form {form.name}: {len(made)} templates, {min(share, len(made))} kept")
        found += [
            Candidate(one.template, None, {"form": one.form, "generator": one.score})
            for one in made[:share]
        ]
    return list({one.key: one for one in reversed(found)}.values())[::-1][: settings.templates]


# --- the report -----------------------------------------------------------------------------------


def _dropped(path: Path) -> Mapping[str, int]:
    """How many templates were dropped, by reason; of an older search it is not known."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _blocks(
    candidates: Sequence[Candidate],
    dropped: Mapping[str, int],
    settings: TemplateSettings,
    metric: str,
) -> list[Block]:
    name = f"train {metric}"
    scores = [one.scores[name] for one in candidates if name in one.scores]
    best = scores[0] if scores else math.nan
    tied = sum(score == best for score in scores)
    ways = {"log_p": "log-probabilities summed", "logits": "logits averaged"}
    source = (
        f"Read from `{settings.candidates}`."
        if settings.candidates is not None
        else f"Written by {settings.generator}: one beam of {settings.beam} over all training rows, "
        f"{ways[settings.combine]} over the rows, at most {settings.max_tokens} tokens."
    )
    lines = [f"{len(candidates)} templates"]
    grown_in = [one.scores["form"] for one in candidates if "form" in one.scores]
    lines += [f"form {form}: {grown_in.count(form)}" for form in dict.fromkeys(grown_in)]
    if dropped:
        lines.append(f"dropped: {listed_reasons(dropped)}")
    if scores:
        lines.append(
            f"{name} before any training: best {best:.3f}, {tied} tied there, worst {scores[-1]:.3f}"
        )
    return [
        Heading("Where they come from"),
        Paragraph(source),
        Paragraph(
            f"They stand in the order of {name} on the run's backbone before any training, equal ones by "
            "cross-entropy, then in the order in which they were found."
        ),
        Lines(lines),
    ]
