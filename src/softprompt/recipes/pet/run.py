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
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.pool import Pool, read_pool, write_pool
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.recipes.pet.course import Course
from softprompt.recipes.pet.members import Member, member_run, untrained
from softprompt.recipes.pet.patterns import clozes_of
from softprompt.recipes.pet.products import backbone_of, product_run
from softprompt.recipes.pet.report import recipe_report
from softprompt.recipes.pet.results import RecipeRun
from softprompt.recipes.pet.settings import ENSEMBLE, PRODUCTS, Cloze, PetSettings
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import DATA, DONE, REPORT, RunFolder, remove, write_text
from softprompt.recipes.watching import Fact, Silent, Watcher
from softprompt.tuning.run import versions

POOL = "pool"
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
    folder.check(overwrite)
    data = data or run_task(settings)
    task = data.task
    splits = _scored(task)
    _check(settings, task, splits)
    if backbone is None:
        told.note(f"loading {settings.backbone}")
        backbone = load_backbone(
            settings.backbone,
            family=settings.family,
            precision=settings.precision,
            device=settings.device,
        )
    clozes = clozes_of(settings, task, backbone)
    _check_models(settings, clozes, task, backbone)
    _claim(folder, settings, task, overwrite)
    pool = _pool(folder.path, settings, data)
    notes = [*data.notes, *(pool.notes() if pool is not None else ["no unlabelled rows"])]
    if pool is not None and not len(pool):
        if settings.recipe == "ipet":
            _clear(folder.path)
            raise SettingsError(f"recipe: ipet needs unlabelled rows: {'; '.join(pool.notes())}")
        pool = None
    told.facts(_facts(settings, task, backbone, clozes, notes))
    several = len(settings.seeds) > 1
    found = []
    for seed in settings.seeds:
        place = folder.seed(seed, several)
        course = Course(settings, seed, place, backbone, task, pool, clozes, told)
        found.append(course.run(splits))
    made_of = RecipeRun(folder.path, settings, task, pool, found)
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
    rest = [name for name in task.split_names if name not in ("train", "dev", "unlabelled")]
    return tuple(rest) if "test" in rest else ("dev", *rest)


def _check(settings: PetSettings, task: Task, splits: Sequence[str]) -> None:
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
    if settings.recipe == "ipet":
        if not task.labels:
            raise SettingsError(
                f"recipe: ipet labels rows by the task's labels; in '{task.name}' each example has "
                "answers of its own: use pet"
            )
        if "unlabelled" not in task.split_names:
            raise SettingsError(
                f"recipe: ipet needs unlabelled rows, and '{task.name}' has none; give unlabelled: train, "
                "or unlabelled: {files: …, fields: …}"
            )


def _check_models(
    settings: PetSettings, clozes: Sequence[Cloze], task: Task, backbone: Backbone
) -> None:
    """Find now what a pattern or a product would be refused for later."""
    if settings.recipe == "ipet" and len(clozes) * settings.repetitions < 2:
        raise SettingsError(
            "recipe: ipet needs at least two models, which label for each other; give more patterns, or "
            "repetitions: 2"
        )
    shown = task.with_splits(train=task.examples("train") or task.examples(_scored(task)[0])[:1])
    for number, cloze in enumerate(clozes):
        member = Member(number, 0, cloze, settings.seeds[0], Path("model"))
        try:
            untrained(member_run(settings, member), shown, backbone)
        except UsageError as error:
            raise SettingsError(f"pattern {number + 1}, '{cloze.template}': {error}") from None
    for product in settings.distil:
        run = product_run(settings, product, clozes, settings.seeds[0], Path("product"))
        if task.labels:
            try:
                prepare(run, backbone_of(product, run, backbone), RunData(shown, (), task.skipped))
            except UsageError as error:
                raise SettingsError(f"distil, {product.title}: {error}") from None


def _claim(folder: RunFolder, settings: PetSettings, task: Task, overwrite: bool) -> None:
    data = {s: task.content_hash(s) for s in task.split_names if s != "unlabelled"}
    if overwrite:
        _clear(folder.path)
    folder.take(settings.resolved(), data)


def _clear(home: Path) -> None:
    """Remove what a recipe left, and the folder if nothing else is in it."""
    ours = (home / name for name in _OURS)
    remove(*ours, *home.glob("generation-*"), *home.glob("seed-*"))
    with contextlib.suppress(OSError):
        home.rmdir()


def _pool(home: Path, settings: PetSettings, data: RunData) -> Pool | None:
    """The unlabelled rows without those that repeat labelled or evaluation rows; made once."""
    if data.unlabelled is None:
        return None
    known = read_pool(home / POOL)
    if known is not None:
        return known
    task = data.task
    return write_pool(
        home / POOL,
        data.unlabelled.rows(),
        against={name: task.examples(name) for name in task.split_names if name != "unlabelled"},
        limit=settings.unlabelled_limit,
        seed=settings.data_seed,
        transductive=settings.transductive,
    )


def _facts(
    settings: PetSettings,
    task: Task,
    backbone: Backbone,
    clozes: Sequence[Cloze],
    notes: Sequence[str],
) -> list[Fact]:
    family = backbone.family.replace("_", "-")
    rows = ", ".join(
        f"{s} {len(task.examples(s)):,}" for s in task.split_names if s != "unlabelled"
    )
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
