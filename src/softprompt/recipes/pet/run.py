"""PET and iPET from settings to a folder: models, generations, ensemble, products, report.

Composes the parts beside this file; prints nothing. A recipe's folder holds ordinary run folders:

    config.yaml, data.json, pool/           what it was given
    generation-0/pattern-1-1/ …             the models, one for each pattern and repetition
    ensemble/, products/NAME/               what they became
    report.md, done.json                    last

Several seeds have a folder `seed-N/` each. Interrupted at any moment, the same call goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.pool import Pool
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.inference.applied import Applied
from softprompt.recipes.pet.course import Course
from softprompt.recipes.pet.members import Member, member_run, untrained
from softprompt.recipes.pet.patterns import clozes_of
from softprompt.recipes.pet.products import backbone_of, named, product_run
from softprompt.recipes.pet.report import recipe_report
from softprompt.recipes.pet.results import RecipeRun
from softprompt.recipes.pet.settings import ENSEMBLE, PRODUCTS, Cloze, PetSettings
from softprompt.recipes.pet.unlabelled import MADE_BESIDE, POOL, pool_beside
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import DATA, DONE, REPORT, RunFolder, remove, write_text
from softprompt.recipes.unlabelled_rows import UNLABELLED
from softprompt.recipes.watching import Fact, Silent, Watcher
from softprompt.text.answers import FreeText
from softprompt.text.plain import PLAIN
from softprompt.tuning.run import versions

_OURS = (POOL, PRODUCTS, ENSEMBLE, REPORT, DONE, CONFIG, DATA)


def run_recipe(
    settings: PetSettings,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    data: RunData | None = None,
) -> RecipeRun:
    """Carry out `recipe: pet` or `recipe: ipet`.

    Args:
        settings: with `out`, the folder; an unfinished recipe there is gone on with.
        watcher: is told facts, steps and warnings.
        overwrite: begin anew where a recipe stands already.
        backbone, data: what the settings name, where it was loaded or read already.
    Raises:
        UsageError: settings, data or backbone that do not fit.
        RunError: a loss that is not a number, or the disk refuses.
    """
    told = watcher or Silent()
    folder = RunFolder(Path(settings.out or "run"))
    remove(folder.path / MADE_BESIDE)  # of a start that was killed
    folder.check(overwrite)
    data = data or run_task(settings)
    # What is read without labels comes from the pool alone, which has no row that is scored.
    task = data.task.without_split(UNLABELLED)
    splits = _scored(task)
    data = replace(data, task=task)
    _check(settings, data, splits)
    if backbone is None:
        told.note(f"loading {settings.backbone}")
        backbone = load_backbone(
            settings.backbone,
            family=settings.family,
            precision=settings.precision,
            device=settings.device,
        )
    clozes = clozes_of(settings, task, backbone)
    others, warnings = _check_models(settings, clozes, task, backbone)
    pool = _claim(folder, settings, data, overwrite)
    notes = [*data.notes, *(pool.notes() if pool is not None else ["no unlabelled rows"])]
    if pool is not None and not len(pool):
        pool = None
    told.facts(_facts(settings, task, backbone, clozes, notes))
    for warning in warnings:
        told.warning(warning)
    several = len(settings.seeds) > 1
    found = []
    for seed in settings.seeds:
        place = folder.seed(seed, several)
        course = Course(settings, seed, place, backbone, others, task, pool, clozes, told)
        found.append(course.run(splits))
    made_of = RecipeRun(folder.path, settings, task, pool, found, warnings)
    write_text(folder.path / REPORT, recipe_report(made_of, backbone.name, notes))
    scores = {
        f"seed {one.seed}": {name: dict(o.metrics) for name, o in one.products.items()}
        for one in found
    }
    record = {"scores": scores, "versions": versions()}
    write_text(folder.path / DONE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return made_of


# --- before anything is trained -----------------------------------------------------------------


def _scored(task: Task) -> tuple[str, ...]:
    """The splits that are scored at the end: all but what is learned from; dev where there is no test."""
    rest = [name for name in task.split_names if name not in ("train", "dev")]
    return tuple(rest) if "test" in rest else ("dev", *rest)


def _check(settings: PetSettings, data: RunData, splits: Sequence[str]) -> None:
    task = data.task
    if task.kind == "number":
        raise SettingsError(
            f"recipe: {settings.recipe} needs labels, candidates of each example's own, or texts; task "
            f"'{task.name}' has a number"
        )
    missing = [name for name in splits if name not in task.split_names]
    if missing:
        raise SettingsError(
            f"recipe: task '{task.name}' has neither a test nor a dev split, so nothing can be scored"
        )
    if settings.recipe == "ipet" and not task.labels:
        raise SettingsError(
            f"recipe: ipet labels rows by the task's labels; in '{task.name}' each example has "
            "answers of its own: use pet"
        )
    need = _need(settings)
    if data.unlabelled is None and need:
        raise SettingsError(
            f"{need} needs unlabelled rows, and '{task.name}' has none; give unlabelled: train, or "
            "unlabelled: {files: …, fields: …}"
        )


def _need(settings: PetSettings) -> str | None:
    """What of the settings cannot be done without unlabelled rows.

    Raises:
        SettingsError: a product's settings, found before a backbone is loaded.
    """
    place, plain = Path("product"), [Cloze(template=PLAIN)]
    products = [product_run(settings, one, plain, 0, place) for one in settings.distil]
    if settings.recipe == "ipet":
        return "recipe: ipet"
    if settings.training.auxiliary.on:
        return "training.auxiliary.weight"
    if any(run.training.auxiliary.on for run in products):
        return "distil: training.auxiliary.weight"
    return None


def _check_models(
    settings: PetSettings, clozes: Sequence[Cloze], task: Task, backbone: Backbone
) -> tuple[dict[str, Backbone], list[str]]:
    """Find now what a pattern or a product would be refused for later.

    Returns:
        The other backbones that products are learned on, by name; what to know of words and rows.
    """
    if settings.recipe == "ipet" and len(clozes) * settings.repetitions < 2:
        raise SettingsError(
            "recipe: ipet needs at least two models, which label for each other; give more patterns, or "
            "repetitions: 2"
        )
    shown = task.with_splits(train=task.examples("train") or task.examples(_scored(task)[0])[:1])
    data = RunData(shown, (), task.skipped)
    warned: dict[str, list[str]] = {}
    for number, cloze in enumerate(clozes):
        run = member_run(settings, Member(number, 0, cloze, settings.seeds[0], Path("model")))
        try:
            bare = untrained(run, shown, backbone)
            prepared = prepare(run, backbone, data)
        except UsageError as error:
            raise SettingsError(f"pattern {number + 1}, '{cloze.template}': {error}") from None
        _check_ranked(bare)
        for warning in prepared.of_data:
            warned.setdefault(warning, []).append(str(number + 1))
    others: dict[str, Backbone] = {}
    for product in settings.distil if task.labels else ():
        with named(product):
            own = backbone_of(product, settings, backbone, others)
            run = product_run(settings, product, clozes, settings.seeds[0], Path("product"), own)
            prepared = prepare(run, own, data)
        if not prepared.first.account.learned:
            raise SettingsError(
                f"distil, {product.title}: method '{run.method.name}' learns nothing, so nothing of the "
                "ensemble would be in it; give another method"
            )
    of_all = len(clozes)
    warnings = [
        warning if len(numbers) == of_all else f"{warning} (pattern {', '.join(numbers)})"
        for warning, numbers in warned.items()
    ]
    return others, warnings


def _check_ranked(bare: Applied) -> None:
    if bare.objective.prediction == "greedy" and not isinstance(bare.answers, FreeText):
        raise SettingsError(
            "objective.prediction: greedy writes an answer, and an ensemble averages the scores of all of "
            "them; use rank, or leave it out"
        )


def _claim(folder: RunFolder, settings: PetSettings, data: RunData, overwrite: bool) -> Pool | None:
    """Take the folder, and its unlabelled rows; where either is refused all stays as it was."""
    task, home = data.task, folder.path
    hashes = {split: task.content_hash(split) for split in task.split_names}
    goes_on = not overwrite and (home / CONFIG).is_file()
    if goes_on:
        folder.check_same(settings.resolved(), hashes)
    with pool_beside(home, settings, data, goes_on) as pool:
        if pool is not None and not len(pool) and (need := _need(settings)):
            raise SettingsError(f"{need} needs unlabelled rows: {'; '.join(pool.notes())}")
        if overwrite:
            _clear(home)
        folder.take(settings.resolved(), hashes)
    return pool


def _clear(home: Path) -> None:
    """Remove what a recipe left, and the folder if nothing else is in it."""
    ours = (home / name for name in _OURS)
    remove(*ours, *home.glob("generation-*"), *home.glob("seed-*"))
    with contextlib.suppress(OSError):
        home.rmdir()


def _facts(
    settings: PetSettings,
    task: Task,
    backbone: Backbone,
    clozes: Sequence[Cloze],
    notes: Sequence[str],
) -> list[Fact]:
    family = backbone.family.replace("_", "-")
    rows = ", ".join(f"{s} {len(task.examples(s)):,}" for s in task.split_names)
    n = len(clozes) * settings.repetitions
    return [
        Fact(
            "recipe",
            f"{settings.recipe}: {len(clozes)} patterns × {settings.repetitions} = {n} models",
        ),
        Fact("backbone", f"{backbone.name} ({family}, {backbone.n_parameters:,} parameters)"),
        Fact("device", f"{backbone.device}, {backbone.precision}"),
        Fact("task", f"{task.name}: {rows}"),
        *(Fact("", note) for note in notes),
        *(Fact("pattern" if not place else "", one.template) for place, one in enumerate(clozes)),
        Fact("method", settings.method.name),
    ]
