"""The rows of a comparison's tables: each method with what is said and varied of it, each product of a
recipe, and the template alone.

Pure: from a file's entries to rows. Knows what a run file may say, not backbones, tasks or folders.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softprompt.data.columns import did_you_mean
from softprompt.errors import SettingsError
from softprompt.methods.registry import METHODS
from softprompt.recipes.compare_file import Common, CompareSettings
from softprompt.recipes.recipes import KNOWN
from softprompt.recipes.sweeps import laid_over, nested

ZERO_SHOT = "zero-shot"
BASELINE_LABELS = {
    "majority": "majority class",
    "bag_of_words": "bag of words",
    "linear_probe": "linear probe",
    "zero_shot": ZERO_SHOT,
}
METHOD_KEYS = ("name", "label", "note", "tasks", "vary", "sweep", *Common.model_fields)
"""What a method's entry may say beside the method's own keys."""

_ROW_KEYS = ("label", "note", "tasks", "vary")
_NOT_OF_ROWS = (
    *("backbone", "task", "seeds", "out", "precision", "device", "family"),
    *("test_on", "test_on_dev"),
)
"""What a comparison says for all of its rows."""

_VARIED = (
    "method",
    "training",
    "objective",
    "template",
    "words",
    "k_shot",
    "train_limit",
    "demonstrations",
)


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
        product: of a recipe, which of its products; the rows of all of them share one run of it.
        home: what its folder is called after; else its label.
        tasks: labels of the tasks that it is a row of; none: of all.
    """

    label: str
    method: str
    values: Mapping[str, Any]
    varied: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    note: str | None = None
    once: bool = False
    product: str | None = None
    home: str = ""
    tasks: tuple[str, ...] = ()


def rows_of(settings: CompareSettings) -> list[MethodRow]:
    rows = [row for given in settings.methods for row in _method_rows(given, settings.vary)]
    if "zero_shot" in settings.baselines:
        zero = {"method": {"name": "prompt_design"}, "demonstrations": None}
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
    if "recipe" in given:
        yield from _recipe_rows(given, vary)
        return
    name = str(given.get("name"))
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"; known: {', '.join(METHODS)}"
        raise SettingsError(f"methods: no such method '{name}'{hint}")
    own = METHODS[name].model_fields
    for key in given:
        if key not in own and key not in METHOD_KEYS:
            known = [*own, *METHOD_KEYS]
            hint = did_you_mean(str(key), known) or f"; known: {', '.join(sorted(known))}"
            raise SettingsError(
                f"methods, '{given.get('label') or name}': unknown key '{key}'{hint}"
            )
    common = {
        key: given[key]
        for key in (*Common.model_fields, "sweep")
        if key in given and _of_run(given[key], key, own)
    }
    settings = {key: value for key, value in given.items() if key in own and key not in common}
    family = given.get("label") or _label(name, {**settings, **common})
    values = {**common, "method": {"name": name, **settings}}
    if settings.get("demonstrations"):  # a row shows its method's, or those that the file draws
        values["demonstrations"] = None
    inner = _varied(given.get("vary") or {}, own, f"methods, '{family}': vary")
    outer = _varied(vary, own, "vary")
    every = {key: found for key, found in {**outer, **inner}.items() if found is not None}
    for picked in itertools.product(*every.values()):
        chosen = dict(zip(every, picked, strict=True))
        shown = ", ".join(f"{key.rsplit('.', 1)[-1]}={_shown(v)}" for key, v in chosen.items())
        yield MethodRow(
            label=f"{family}, {shown}" if shown else family,
            method=name,
            values=laid_over(values, nested(chosen)),
            varied=chosen,
            family=family,
            note=given.get("note"),
            tasks=_tasks(given, family),
        )


def _tasks(given: Mapping[str, Any], family: str) -> tuple[str, ...]:
    if "tasks" not in given:
        return ()
    found = given["tasks"]
    if not (isinstance(found, list) and found and all(isinstance(one, str) for one in found)):
        raise SettingsError(f"methods, '{family}': tasks: expected a list of tasks' labels")
    return tuple(found)


def _of_run(value: Any, key: str, own: Mapping[str, Any]) -> bool:
    """Whether a key of a row is the run's: both have `demonstrations`, in a run it is a group."""
    return key not in own or value is None or isinstance(value, Mapping)


def _varied(given: Any, own: Mapping[str, Any], where: str) -> dict[str, list[Any] | None]:
    """What varies for a method; a method's key that it has not is left out (None)."""
    if not isinstance(given, Mapping):
        raise SettingsError(f"{where}: expected key: [values], such as length: [1, 5, 20]")
    found: dict[str, list[Any] | None] = {}
    for key, values in given.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{where}: '{key}': expected a list of values, got {values!r}")
        runs = str(key).startswith("demonstrations.")  # a method's own are a number
        path = f"method.{key}" if str(key).split(".")[0] in own and not runs else str(key)
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
    value = _without_folders(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _without_folders(value: Any) -> Any:
    """A value with the last part of each path in it: where the files lie is no name of a row.

    Of a prompt folder inside a run it is the run's.
    """
    if isinstance(value, Mapping):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path = Path(value)
    return path.parent.name if path.name == "prompt" and path.parent.name else path.name


# --- rows of a recipe -------------------------------------------------------------------------


def _recipe_rows(given: Mapping[str, Any], vary: Mapping[str, list[Any]]) -> Iterator[MethodRow]:
    """A row for the ensemble and for each product; all of them read one run."""
    name = str(given["recipe"])
    if name not in KNOWN:
        hint = did_you_mean(name, KNOWN) or f"; known: {', '.join(KNOWN)}"
        raise SettingsError(f"methods: no such recipe '{name}'{hint}")
    recipe = KNOWN[name]
    apart = (*_NOT_OF_ROWS, *recipe.not_of_rows)
    own = [key for key in recipe.settings.model_fields if key not in apart]
    for key in given:
        if key not in own and key not in _ROW_KEYS:
            hint = did_you_mean(str(key), [*own, *_ROW_KEYS])
            hint = hint or f"; known: {', '.join(sorted({*own, *_ROW_KEYS}))}"
            raise SettingsError(
                f"methods, '{given.get('label') or name}': unknown key '{key}'{hint}"
            )
    family = given.get("label") or recipe.title
    products = recipe.products(given, family)
    values = {key: value for key, value in given.items() if key in own}
    inner = _varied_of_recipe(given.get("vary") or {}, own, f"methods, '{family}': vary")
    outer = {
        key: found
        for key, found in _varied(vary, {}, "vary").items()
        if found is not None and key.split(".")[0] in own
    }
    every = {**outer, **inner}
    for picked in itertools.product(*every.values()):
        chosen = dict(zip(every, picked, strict=True))
        shown = "".join(f", {key.rsplit('.', 1)[-1]}={_shown(v)}" for key, v in chosen.items())
        for product, title in products.items():
            named = f"{family} ({title})" if title else family
            yield MethodRow(
                label=f"{named}{shown}",
                method=name,
                values=laid_over(values, nested(chosen)),
                varied=chosen,
                family=named,
                note=given.get("note"),
                product=product,
                home=f"{family}{shown}",
                tasks=_tasks(given, family),
            )


def _varied_of_recipe(given: Any, own: Sequence[str], where: str) -> dict[str, list[Any]]:
    if not isinstance(given, Mapping):
        raise SettingsError(f"{where}: expected key: [values], such as repetitions: [1, 3]")
    for key, values in given.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{where}: '{key}': expected a list of values, got {values!r}")
        head = str(key).split(".")[0]
        if head not in own:
            hint = did_you_mean(head, own) or f"; a row may vary {', '.join(own)}"
            raise SettingsError(f"{where}: '{key}' cannot vary{hint}")
    return {str(key): list(values) for key, values in given.items()}
