"""All that can be named in a run file, read off the tables where it is defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softprompt.data.metrics import DEFAULTS

if TYPE_CHECKING:
    from softprompt.data.known_tasks import TaskEntry

Rows = Sequence[tuple[str, ...]]


def catalogue() -> Mapping[str, Callable[[], Rows]]:
    """Kind of name to what lists its names; each imports what it needs when it is called."""
    return {
        "tasks": _tasks,
        "backbones": _backbones,
        "methods": _methods,
        "recipes": _recipes,
        "comparisons": _comparisons,
        "initialisers": _initialisers,
        "filters": _filters,
        "metrics": _metrics,
        "optimisers": _optimisers,
        "schedules": _schedules,
        "settings": _settings,
    }


def _tasks() -> Rows:
    """Under its benchmark: name, language, whether its files are there, metrics, forms, variants."""
    import os

    from softprompt.data.known_tasks import TASKS
    from softprompt.data.registry import FOLDER_VARIABLE

    folder = os.environ.get(FOLDER_VARIABLE)
    rows: list[tuple[str, ...]] = []
    for benchmark in dict.fromkeys(entry.benchmark for entry in TASKS.values()):
        rows.append((benchmark, "", "", "", ""))
        rows += [
            (
                f"  {name}",
                entry.language or "",
                _where(entry, folder),
                ", ".join(entry.metrics or DEFAULTS[entry.kind]),
                _choices(entry),
            )
            for name, entry in TASKS.items()
            if entry.benchmark == benchmark
        ]
    return rows


def _where(entry: TaskEntry, folder: str | None) -> str:
    from softprompt.data.registry import first_file, missing_files

    if entry.shipped:
        return "ships"
    if not folder:
        return f"your files: {first_file(entry)}"
    root = Path(folder).expanduser()
    if not (missing := missing_files(entry, root)):
        return "files found"
    others = [name for name in entry.variants if not missing_files(entry, root, name)]
    return f"found: variant {'|'.join(others)}" if others else f"missing: {missing[0]}"


def _choices(entry: TaskEntry) -> str:
    shown = [f":{form}" for form in entry.forms]
    if entry.variants:
        shown.append(f"variant {'|'.join(entry.variants)}")
    return "  ".join(shown)


def _backbones() -> Rows:
    from softprompt.backbones.shipped import describe, shipped_models

    found = [describe(name) for name in shipped_models()]
    return [
        (
            one.name,
            one.family.replace("_", "-"),
            f"{one.parameters:,} parameters",
            f"{one.n_bytes / 1e6:.1f} MB",
            f"= {one.short}" if one.short not in (None, one.name) else "",
        )
        for one in found
    ]


def _methods() -> Rows:
    from softprompt.methods.registry import METHODS

    return [(name, _first_line(kind.__doc__)) for name, kind in METHODS.items()]


def _recipes() -> Rows:
    from softprompt.recipes.known_recipes import RECIPES

    return [(name, _first_line(kind.__doc__)) for name, kind in RECIPES.items()]


def _comparisons() -> Rows:
    """Those that ship: name, what their files say first."""
    from softprompt.recipes.compare_file import shipped_comparisons

    return [
        (name, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "))
        for name, path in shipped_comparisons().items()
    ]


def _initialisers() -> Rows:
    from softprompt.methods.initialisation import INITIALISERS

    return [(name, start.does) for name, start in INITIALISERS.items()]


def _filters() -> Rows:
    from softprompt.text.filters import FILTERS

    return [(name, rule.does) for name, rule in FILTERS.items()]


def _metrics() -> Rows:
    from softprompt.data.metrics import METRICS

    return [(name, f"for {', '.join(metric.kinds)}") for name, metric in METRICS.items()]


def _optimisers() -> Rows:
    from softprompt.tuning.optimisers import OPTIMISERS

    return [(name,) for name in OPTIMISERS]


def _schedules() -> Rows:
    from softprompt.tuning.schedules import SCHEDULES

    return [(name, _first_line(rule.__doc__)) for name, rule in SCHEDULES.items()]


def _settings() -> Rows:
    from softprompt.recipes.known_recipes import recipe_keys
    from softprompt.recipes.schema import key_table

    return key_table() + recipe_keys()


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
