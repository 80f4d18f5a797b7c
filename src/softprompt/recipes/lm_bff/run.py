"""LM-BFF and AutoPrompt from settings to a folder: searches, final fits, ensembles, report, for each seed.

Composes the parts beside this file; prints nothing. A recipe's folder holds ordinary folders:

    config.yaml, data.json                  what it was given
    1-templates/, 2-words/ …                the searches, in their order
    fit/                                    the run that is made of what they found, its sweep inside
    ensemble/                               what the best fits of the last search say together
    best.yaml                               the final run, for `softprompt train`
    report.md, done.json                    last

Several seeds have a folder `seed-N/` each. Interrupted at any moment, the same call goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.recipes.lm_bff.course import Course, fit_rows, search_rows
from softprompt.recipes.lm_bff.report import recipe_report
from softprompt.recipes.lm_bff.results import ENSEMBLE, FIT, LmBffRun, SeedOutcome
from softprompt.recipes.lm_bff.settings import LmBffSettings, TemplatesStep, WordsStep
from softprompt.recipes.lm_bff.splits import data_run, fit_run, step_of
from softprompt.recipes.measuring import SESSIONS, session, sessions
from softprompt.recipes.pet.pace import Pace
from softprompt.recipes.prepare import prepare, with_demonstrations
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import DATA, DONE, REPORT, RunFolder, remove, write_text
from softprompt.recipes.search.begin import labels_of
from softprompt.recipes.search.candidates import CANDIDATES
from softprompt.recipes.search.folder import BEST
from softprompt.recipes.search.templates.lists import read_templates
from softprompt.recipes.search.words.classes import classes_of
from softprompt.recipes.search.words.listing import read_word_list
from softprompt.recipes.watching import Fact, Silent, Watcher
from softprompt.tuning.run import versions

_OURS = (FIT, ENSEMBLE, BEST, REPORT, DONE, DATA, SESSIONS, CONFIG)


def run_lm_bff(
    settings: LmBffSettings,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    data: RunData | None = None,
) -> LmBffRun:
    """Carry out `recipe: lm_bff` or `recipe: autoprompt`.

    Args:
        settings: with `out`, the folder; an unfinished recipe there is gone on with.
        watcher: is told facts, stages, steps and warnings.
        overwrite: begin anew where a recipe stands already.
        backbone, data: what the settings name, where it was loaded or read already; `data` of the one seed.
    Raises:
        UsageError: settings, data or backbone that do not fit.
        RunError: every fit of a search failed, or the disk refuses.
    """
    told = watcher or Silent()
    folder = RunFolder(Path(settings.out or "run"))
    folder.check(overwrite)
    first = data or run_task(data_run(settings, settings.seeds[0]))
    read = {settings.seeds[0]: first}
    hashes: dict[str, str] = {}
    several = len(settings.seeds) > 1
    for seed in settings.seeds:
        own = read.get(seed) or run_task(data_run(settings, seed))
        place = None if overwrite else folder.seed(seed, several)
        _check(settings, own.task, seed, place)
        hashes |= _hashes(own.task, f"seed {seed}, " if several else "")
    if backbone is None:
        told.note(f"loading {settings.backbone}")
        backbone = load_backbone(
            settings.backbone,
            family=settings.family,
            precision=settings.precision,
            device=settings.device,
        )
    if all(step.find != "triggers" for step in settings.search):  # their places become text
        home = Path("fit")
        words = settings.words or _ends_to_find(settings, first.task)
        own_run = fit_run(settings, settings.seeds[0], settings.template, words, home)
        prepared = prepare(own_run, backbone, first)
        with warnings.catch_warnings(action="ignore"):  # the fit gives its own
            with_demonstrations(prepared)
    _claim(folder, settings, hashes, overwrite)
    told.facts(_facts(settings, first, backbone))
    began, before = time.monotonic(), float(sessions(folder.path).get("seconds", 0.0))
    try:
        with session(folder.path, backbone.device):
            found = _seeds(folder, settings, read, backbone, told)
            gone = before + time.monotonic() - began
            made = LmBffRun(folder.path, settings, first.task, found, gone)
            write_text(folder.path / REPORT, recipe_report(made, backbone.name, first.notes))
    except UsageError:
        _release(folder)
        raise
    _finish(made)
    return made


def _seeds(
    folder: RunFolder,
    settings: LmBffSettings,
    read: dict[int, RunData],
    backbone: Backbone,
    told: Watcher,
) -> list[SeedOutcome]:
    several = len(settings.seeds) > 1
    places = {seed: folder.seed(seed, several) for seed in settings.seeds}
    pace = Pace(sum(_planned(settings, place) for place in places.values()))
    found = []
    for seed, place in places.items():
        data = read.get(seed) or run_task(data_run(settings, seed))
        found.append(Course(settings, seed, place, backbone, data, told, pace).run())
    return found


def _planned(settings: LmBffSettings, place: Path) -> float:
    """Rows of all that is still to be done for a seed."""
    rows = 0.0 if RunFolder(place / FIT).finished else fit_rows(settings)
    for number, step in enumerate(settings.search, start=1):
        if not (place / f"{number}-{step.find}" / DONE).is_file():
            rows += search_rows(settings, step)
    return rows


# --- before anything is trained -----------------------------------------------------------------


def _check(settings: LmBffSettings, task: Task, seed: int, place: Path | None) -> None:
    """Refuse what cannot be searched on a seed's rows.

    Args:
        place: the seed's folder; a search that has its candidates there needs no list any more.
    """
    if task.kind == "text":
        raise SettingsError(
            f"recipe: {settings.recipe} needs labels or a number; the answers of task '{task.name}' are texts"
        )
    if not ("dev" in task.split_names and task.examples("dev")):
        raise SettingsError(
            f"recipe: task '{task.name}' has no dev split, and everything is chosen on dev; give k_shot, a "
            "dev file, or a dev_size above 0"
        )
    for number, step in enumerate(settings.search, start=1):
        if place is not None and (place / f"{number}-{step.find}" / CANDIDATES).is_file():
            continue
        own = step_of(settings, step, seed)
        if isinstance(own, TemplatesStep) and own.candidates is not None:
            read_templates(Path(own.candidates), tuple(own.fields) or task.fields)
        if isinstance(own, WordsStep) and own.words is not None:
            read_word_list(Path(own.words), classes_of(task))


def _ends_to_find(settings: LmBffSettings, task: Task) -> dict[str, str] | None:
    """Stand-ins for the words of a number's ends, where it has none and they are searched."""
    searched = any(step.find == "words" for step in settings.search)
    wanted = task.kind == "number" and task.words is None and searched
    return {end: end for end in labels_of(task)} if wanted else None


def _hashes(task: Task, above: str) -> dict[str, str]:
    names = [name for name in task.split_names if name != "unlabelled"]
    return {f"{above}{name}": task.content_hash(name) for name in names}


def _claim(
    folder: RunFolder, settings: LmBffSettings, data: dict[str, str], overwrite: bool
) -> None:
    if overwrite:
        _clear(folder.path)
    folder.take(settings.resolved(), data)


def _clear(home: Path) -> None:
    """Remove what a recipe left, and nothing else."""
    searches = [path for path in home.glob("*-*") if path.name.split("-")[0].isdecimal()]
    remove(*home.glob("seed-*"), *searches, *(home / name for name in _OURS))


def _release(folder: RunFolder) -> None:
    """After a refusal before anything was searched or fitted: leave nothing behind."""
    home = folder.path
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    if left <= {CONFIG, DATA, SESSIONS}:
        _clear(home)
        with contextlib.suppress(OSError):
            home.rmdir()


def _facts(settings: LmBffSettings, data: RunData, backbone: Backbone) -> list[Fact]:
    task, family = data.task, backbone.family.replace("_", "-")
    rows = ", ".join(f"{s} {len(task.examples(s)):,}" for s in task.split_names)
    steps = [f"{step.find} ({step.fits} fits)" for step in settings.search]
    seeds = ", ".join(map(str, settings.seeds))
    return [
        Fact("recipe", f"{settings.recipe}: {', then '.join(steps) or 'nothing is searched'}"),
        Fact("backbone", f"{backbone.name} ({family}, {backbone.n_parameters:,} parameters)"),
        Fact("device", f"{backbone.device}, {backbone.precision}"),
        Fact("task", f"{task.name}: {rows}"),
        *(Fact("", note) for note in data.notes),
        Fact("method", settings.method.name),
        Fact(
            "seeds", seeds + (", each with its own rows" if settings.split_seed_with_seed else "")
        ),
    ]


# --- the end --------------------------------------------------------------------------------------


def _finish(made: LmBffRun) -> None:
    scores = {
        f"seed {one.seed}": {name: dict(o.metrics) for name, o in one.products.items()}
        for one in made.seeds
    }
    best = {
        f"seed {one.seed}": {"template": one.template, "words": one.words} for one in made.seeds
    }
    record = {"scores": scores, "best": best, "versions": versions()}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_text(made.folder / DONE, text)
