"""The cells of a comparison: for each backbone, task and method row the runs that fill it.

Pure: from settings to settings. Every run of a cell is what `softprompt train` would run alone, with
the file's, the task's and the method's settings laid over each other in this order.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softprompt.data.columns import did_you_mean
from softprompt.errors import SettingsError
from softprompt.methods.registry import METHODS
from softprompt.recipes.compare_file import (
    BEST,
    BackboneEntry,
    Common,
    CommonData,
    CompareSettings,
    TaskEntry,
)
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.sweeps import nested, variants
from softprompt.recipes.task_schema import task_title

ZERO_SHOT = "zero-shot"
BASELINE_LABELS = {
    "majority": "majority class",
    "bag_of_words": "bag of words",
    "linear_probe": "linear probe",
    "zero_shot": ZERO_SHOT,
}
METHOD_KEYS = ("name", "label", "note", "vary", "sweep", *Common.model_fields)
"""What a method's entry may say beside the method's own keys."""

_VARIED = ("method", "training", "objective", "template", "words", "k_shot", "train_limit")
_MOST = 2_000


@dataclass(frozen=True)
class MethodRow:
    """A row of every table.

    Args:
        label: its name there.
        method: the method's name.
        values: what it lays over the file's and the task's settings, as a run file has it.
        varied: dotted key to value, of what varies.
        family: the label without what varies.
        note: said below the table.
        once: one seed is enough, nothing is left to chance.
    """

    label: str
    method: str
    values: Mapping[str, Any]
    varied: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    note: str | None = None
    once: bool = False


@dataclass(frozen=True)
class CellRun:
    """One run folder of a cell: all seeds on one split of the data, or one seed on its own split.

    Args:
        split: which split of the data; 0 where all seeds share one.
        place: its folder.
        settings: of the run, `out` included; None where they were refused.
    """

    split: int
    place: Path
    settings: RunSettings | None


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
    rows = _rows(settings)
    known = [*(row.label for row in rows), *(BASELINE_LABELS[one] for one in settings.baselines)]
    if settings.reference != BEST and settings.reference not in known:
        hint = did_you_mean(settings.reference, known) or f"; rows: {', '.join(known)}"
        raise SettingsError(f"reference: no row '{settings.reference}'{hint}")
    if (count := len(backbones) * len(tasks) * len(rows)) > _MOST:
        raise SettingsError(f"{count:,} cells, expected at most {_MOST:,}; compare fewer at a time")
    names = {
        "backbones": _slugs(list(backbones)),
        "tasks": _slugs(list(tasks)),
        "rows": _slugs([row.label for row in rows]),
    }
    cells = [
        _cell(settings, (b, backbones[b]), (t, tasks[t]), row, names)
        for b in backbones
        for t in tasks
        for row in rows
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
    where = (names["backbones"][backbone[0]], names["tasks"][task[0]], names["rows"][row.label])
    home = Path(settings.out or "comparison").joinpath("cells", *where)
    others = [*task[1].test_on, *settings.test_on.get(task[0], [])]
    values = _laid_over(_said(settings, CommonData), _said(task[1], CommonData))
    values |= {
        "backbone": backbone[1].name,
        "task": task[1].model_dump(mode="json")["task"],
        "precision": backbone[1].precision or settings.precision,
        "device": settings.device,
        "family": backbone[1].family,
        "test_on_dev": True,
        "test_on": [o if isinstance(o, str) else o.model_dump(mode="json") for o in others],
    }
    values = _laid_over(values, row.values)
    seeds = settings.seeds[:1] if row.once else settings.seeds
    runs: list[CellRun] = []
    refused = None
    for split in settings.seeds if settings.split_seed_with_seed else [None]:
        own = dict(values)
        place = home
        own["seeds"] = seeds
        if split is not None:
            place = home / f"split-{split}"
            own["seeds"] = [split]
            own["data_seed"] = values.get("data_seed", 0) + split
        own["out"] = str(place)
        try:
            checked: RunSettings | None = RunSettings.read(own, "run")
            assert checked is not None
            variants(checked)
        except SettingsError as error:
            checked, refused = None, str(error).replace("run: ", "")
        runs.append(CellRun(split or 0, place, checked))
    return Cell(backbone[0], task[0], row, tuple(runs), refused)


# --- rows -------------------------------------------------------------------------------------


def _rows(settings: CompareSettings) -> list[MethodRow]:
    rows = [row for given in settings.methods for row in _method_rows(given, settings.vary)]
    if "zero_shot" in settings.baselines:
        zero = {"method": {"name": "prompt_design"}}
        rows.append(MethodRow(ZERO_SHOT, "prompt_design", zero, family=ZERO_SHOT, once=True))
    taken = {BASELINE_LABELS[one] for one in settings.baselines if one != "zero_shot"}
    for row in rows:
        if row.label in taken:
            raise SettingsError(
                f"methods: two rows are called '{row.label}'; give each a label: of its own"
            )
        taken.add(row.label)
    return rows


def _method_rows(given: Mapping[str, Any], vary: Mapping[str, list[Any]]) -> Iterator[MethodRow]:
    name = str(given.get("name"))
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"; known: {', '.join(METHODS)}"
        raise SettingsError(f"methods: no such method '{name}'{hint}")
    own = METHODS[name].model_fields
    for key in given:
        if key not in own and key not in METHOD_KEYS:
            known = [*own, *METHOD_KEYS]
            hint = did_you_mean(str(key), known) or f"; known: {', '.join(sorted(known))}"
            raise SettingsError(f"methods, '{name}': unknown key '{key}'{hint}")
    settings = {key: value for key, value in given.items() if key in own}
    common = {key: given[key] for key in (*Common.model_fields, "sweep") if key in given}
    family = given.get("label") or _label(name, {**settings, **common})
    values = {**common, "method": {"name": name, **settings}}
    inner = _varied(given.get("vary") or {}, own, f"methods, '{family}': vary")
    outer = _varied(vary, own, "vary")
    every = {key: found for key, found in {**outer, **inner}.items() if found is not None}
    for picked in itertools.product(*every.values()):
        chosen = dict(zip(every, picked, strict=True))
        shown = ", ".join(f"{key.rsplit('.', 1)[-1]}={_shown(v)}" for key, v in chosen.items())
        yield MethodRow(
            label=f"{family}, {shown}" if shown else family,
            method=name,
            values=_laid_over(values, nested(chosen)),
            varied=chosen,
            family=family,
            note=given.get("note"),
        )


def _varied(given: Any, own: Mapping[str, Any], where: str) -> dict[str, list[Any] | None]:
    """What varies for a method; a method's key that it has not is left out (None)."""
    if not isinstance(given, Mapping):
        raise SettingsError(f"{where}: expected key: [values], such as length: [1, 5, 20]")
    found: dict[str, list[Any] | None] = {}
    for key, values in given.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{where}: '{key}': expected a list of values, got {values!r}")
        path = f"method.{key}" if str(key).split(".")[0] in own else str(key)
        head, _, rest = path.partition(".")
        if head not in _VARIED or path == "method.name":
            hint = did_you_mean(head, _VARIED) or f"; a row may vary {', '.join(_VARIED)}"
            raise SettingsError(f"{where}: '{key}' cannot vary{hint}")
        if head == "method" and rest not in own:
            if not any(rest in kind.model_fields for kind in METHODS.values()):
                raise SettingsError(f"{where}: no method has the key '{rest}'")
            found[path] = None
        else:
            found[path] = values
    return found


def _label(name: str, values: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}={_shown(value)}" for key, value in values.items())
    title = METHODS[name].title or name.replace("_", " ")
    return f"{title} ({shown})" if shown else title


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


# --- laying over, naming ------------------------------------------------------------------------


def _said(entry: Common, kind: type[Common]) -> dict[str, Any]:
    """What an entry says of a run, without what it leaves open."""
    given = entry.model_dump(mode="json", include=set(kind.model_fields))
    return {key: value for key, value in given.items() if value is not None and value != {}}


def _laid_over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over others, group by group; words and optimisers of another name replace."""
    found = dict(base)
    for key, value in values.items():
        below = found.get(key)
        found[key] = value
        if isinstance(below, Mapping) and isinstance(value, Mapping) and key != "words":
            name = below.get("name")
            if value.get("name", name) == name:
                found[key] = _laid_over(below, value)
    return found


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
