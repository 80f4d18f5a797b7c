"""The cells of a comparison: for each backbone, task and method row the runs that fill it.

Pure: from settings to settings. Every run of a cell is what `softprompt train` would run alone, with
the file's, the task's and the method's settings laid over each other in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt.data.columns import did_you_mean
from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import (
    BEST,
    BackboneEntry,
    Common,
    CommonData,
    CompareSettings,
    TaskEntry,
)
from softprompt.recipes.comparison_rows import BASELINE_LABELS, MethodRow, rows_of
from softprompt.recipes.recipes import KNOWN
from softprompt.recipes.run_file import read_settings
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.sweeps import laid_over, variants
from softprompt.recipes.task_schema import task_title

SEED = "seed"
"""What `variant` says where each run takes the variant that is called like its seed."""

_MOST = 2_000
_OF_TRAIN = ("train_limit", "train_balanced", "unlabelled", "unlabelled_limit")
_NO_ROWS = "it needs labelled rows, and train_limit: 0 leaves none"


@dataclass(frozen=True)
class CellRun:
    """One run folder of a cell: all seeds on one split of the data, or one seed on its own split.

    Args:
        split: which split of the data; 0 where all seeds share one.
        place: where what came of it is read: its folder, or inside it a recipe's product.
        settings: of the run, `out` included; None where they were refused.
    """

    split: int
    place: Path
    settings: RunSettings | None

    @property
    def folder(self) -> Path:
        """Where it is run."""
        return self.place if self.settings is None else Path(str(self.settings.out))


@dataclass(frozen=True)
class Cell:
    """A backbone, a task and a row, with the runs that fill it.

    Args:
        backbone, task: labels, as tables have them.
        row: the method.
        runs: one, or one for each seed's own split.
        refused: why it cannot run; known before anything is loaded.
    """

    backbone: str
    task: str
    row: MethodRow
    runs: tuple[CellRun, ...]
    refused: str | None = None


@dataclass(frozen=True)
class Plan:
    """All cells of a comparison.

    Args:
        cells: in the order they are run in: backbone by backbone, task by task.
        backbones, tasks: label to entry.
        rows: the methods' rows, zero-shot among them where it is asked for.
    """

    cells: tuple[Cell, ...]
    backbones: Mapping[str, BackboneEntry]
    tasks: Mapping[str, TaskEntry]
    rows: tuple[MethodRow, ...]


def plan(settings: CompareSettings) -> Plan:
    """Lay out a comparison.

    Raises:
        SettingsError: an unknown key or method, two entries of one label, a reference or a task of
            `test_on` that is none of them, or too many cells.
    """
    backbones = _by_label(settings.backbones, [one.name for one in settings.backbones], "backbones")
    tasks = _by_label(settings.tasks, [task_title(one.task) for one in settings.tasks], "tasks")
    for label in settings.test_on:
        if label not in tasks:
            hint = did_you_mean(label, tasks) or f"; expected one of {', '.join(tasks)}"
            raise SettingsError(f"test_on: no task '{label}' in this comparison{hint}")
    if not settings.split_seed_with_seed:
        for entry in (settings, *settings.tasks):
            if entry.variant == SEED:
                raise SettingsError(
                    "variant: seed: each seed has its own split; give split_seed_with_seed: true"
                )
    rows = rows_of(settings)
    for row in rows:
        for label in row.tasks:
            if label not in tasks:
                hint = did_you_mean(label, tasks) or f"; expected some of {', '.join(tasks)}"
                raise SettingsError(
                    f"methods, '{row.label}': tasks: no task '{label}' in this comparison{hint}"
                )
    if bare := [one for one in tasks if not any(not r.tasks or one in r.tasks for r in rows)]:
        raise SettingsError(f"tasks, '{bare[0]}': no method is compared on it")
    known = [*(row.label for row in rows), *(BASELINE_LABELS[one] for one in settings.baselines)]
    if settings.reference != BEST and settings.reference not in known:
        hint = did_you_mean(settings.reference, known) or f"; rows: {', '.join(known)}"
        raise SettingsError(f"reference: no row '{settings.reference}'{hint}")
    if (count := len(backbones) * len(tasks) * len(rows)) > _MOST:
        raise SettingsError(f"{count:,} cells, expected at most {_MOST:,}; compare fewer at a time")
    names = {
        "backbones": _slugs(list(backbones)),
        "tasks": _slugs(list(tasks)),
        "rows": _slugs(list(dict.fromkeys(row.home or row.label for row in rows))),
    }
    cells = [
        _cell(settings, (b, backbones[b]), (t, tasks[t]), row, names)
        for b in backbones
        for t in tasks
        for row in rows
        if not row.tasks or t in row.tasks
    ]
    for row in rows:  # what no task and no backbone takes is a mistake in the file
        own = [cell for cell in cells if cell.row is row]
        if all(cell.refused for cell in own) and not row.once:
            raise SettingsError(f"methods, '{row.label}': {own[0].refused}")
    return Plan(tuple(cells), backbones, tasks, tuple(rows))


def _cell(
    settings: CompareSettings,
    backbone: tuple[str, BackboneEntry],
    task: tuple[str, TaskEntry],
    row: MethodRow,
    names: Mapping[str, Mapping[str, str]],
) -> Cell:
    where = (
        names["backbones"][backbone[0]],
        names["tasks"][task[0]],
        names["rows"][row.home or row.label],
    )
    home = Path(settings.out or "comparison").joinpath("cells", *where)
    others = [*task[1].test_on, *settings.test_on.get(task[0], [])]
    values = laid_over(_said(settings, CommonData), _said(task[1], CommonData))
    values |= {
        "backbone": backbone[1].name,
        "task": task[1].model_dump(mode="json")["task"],
        "precision": backbone[1].precision or settings.precision,
        "device": settings.device,
        "family": backbone[1].family,
        "test_on_dev": True,
        "test_on": [o if isinstance(o, str) else o.model_dump(mode="json") for o in others],
    }
    values = laid_over(values, row.values)
    recipe = KNOWN.get(row.method)
    if recipe is not None:
        if "template" in recipe.not_of_rows:
            values.pop("template", None)  # it has patterns in its place
        if "split_seed_with_seed" in recipe.settings.model_fields:
            values["split_seed_with_seed"] = False  # the rows are the comparison's
        if "search" in values:
            values["search"] = [_of_task(one, task[0]) for one in values["search"]]
    if row.once and values.get("train_limit") == 0:  # it learns nothing in any case
        values = {k: v for k, v in values.items() if k not in _OF_TRAIN}
    seeds = settings.seeds[:1] if row.once else settings.seeds
    runs: list[CellRun] = []
    refused = None
    for split, own_seeds, place in _places(settings, seeds, home, row):
        own = {**values, "seeds": own_seeds, "out": str(place)}
        if settings.split_seed_with_seed:
            own["data_seed"] = values.get("data_seed", 0) + split
        if own.get("variant") == SEED:
            own["variant"] = str(split)
        try:
            checked: RunSettings | None = read_settings(own, "run")
            assert checked is not None
            variants(checked)
        except SettingsError as error:
            none_left = recipe is None and values.get("train_limit") == 0
            checked = None
            refused = _NO_ROWS if none_left else str(error).replace("run: ", "")
        if recipe is not None and row.product is not None:
            place = recipe.place(place, row.product)
        runs.append(CellRun(split, place, checked))
    return Cell(backbone[0], task[0], row, tuple(runs), refused)


def _of_task(step: Any, label: str) -> Any:
    """A search of a recipe with the task's label in its file names: `lists/{task}/16-{seed}.txt`."""
    if not isinstance(step, Mapping):
        return step
    return {
        key: value.replace("{task}", label) if isinstance(value, str) else value
        for key, value in step.items()
    }


def _places(
    settings: CompareSettings, seeds: list[int], home: Path, row: MethodRow
) -> list[tuple[int, list[int], Path]]:
    """(split of the data, seeds, folder) of each run of a cell; a recipe is run seed by seed."""
    if settings.split_seed_with_seed:
        return [(seed, [seed], home / f"split-{seed}") for seed in settings.seeds]
    if row.product is not None:
        return [(0, [seed], home / f"seed-{seed}") for seed in seeds]
    return [(0, seeds, home)]


# --- laying over, naming ------------------------------------------------------------------------


def _said(entry: Common, kind: type[Common]) -> dict[str, Any]:
    """What an entry says of a run, without what it leaves open."""
    given = entry.model_dump(mode="json", include=set(kind.model_fields))
    return {key: value for key, value in given.items() if value is not None and value != {}}


def _by_label(entries: list[Any], names: list[str], key: str) -> dict[str, Any]:
    tails = [Path(name).name for name in names]
    short = [
        tail if tails.count(tail) == 1 else name for tail, name in zip(tails, names, strict=True)
    ]
    found: dict[str, Any] = {}
    for entry, name in zip(entries, short, strict=True):
        label = entry.label or name
        if label in found:
            raise SettingsError(f"{key}: two are called '{label}'; give each a label: of its own")
        found[label] = entry
    return found


def _slugs(labels: list[str]) -> dict[str, str]:
    """A folder name for each label: safe, and different also where case is not told apart."""
    found: dict[str, str] = {}
    for label in labels:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip("-.")[:80] or "row"
        slug, number = plain, 2
        while slug.casefold() in {one.casefold() for one in found.values()}:
            slug, number = f"{plain}-{number}", number + 1
        found[label] = slug
    return found
