"""A sweep: the settings that vary, every combination of their values, and what each is called.

`sweep: {method.length: [5, 20]}` in a run file; a key is written with dots, as on a command line.
Knows settings and names, not data, backbones or folders. A run without a sweep has one variant.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from softprompt.data.columns import did_you_mean
from softprompt.errors import SettingsError
from softprompt.recipes.schema import RunSettings, key_table
from softprompt.tuning.jobs import CHANGES_NO_STEP, training_settings

MOST_VARIANTS = 1_000
"""More combinations than this are refused: the best of thousands on one dev set is chance, and a list that
was meant to be short is the likelier cause."""

LONGEST_NAME = 120
"""Characters of a variant's name; file systems take 255 bytes."""

SWEPT = ("method", "training", "objective", "template", "words", "demonstrations")
_ONE_BACKBONE = "the fits of a sweep share one loaded backbone"
_ONE_TASK = "the fits of a sweep share their data, or their scores could not be compared"
_ONE_READING = "every variant must read and answer alike, or their scores could not be compared"
_NO_EFFECT = "it changes no score"
APART: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("backbone", "precision", "device", "family"), _ONE_BACKBONE),
        **dict.fromkeys(("task", "data", "variant", "dev_size", "k_shot", "data_seed"), _ONE_TASK),
        **dict.fromkeys(("train_limit", "dev_limit", "test_limit"), _ONE_TASK),
        **dict.fromkeys(("train_balanced", "unlabelled", "unlabelled_limit"), _ONE_TASK),
        **dict.fromkeys(("test_on", "test_on_dev"), _ONE_TASK),
        **dict.fromkeys(("answers", "max_answer_tokens", "render"), _ONE_READING),
        "seeds": "every variant is trained with every seed; give seeds: [0, 1, 2] beside the sweep",
        "out": "a run has one folder, and each variant has its own inside",
        "sweep": "a sweep holds no sweep",
        **{f"training.{key}": _NO_EFFECT for key in CHANGES_NO_STEP},
        "method.name": "give whole methods: method: [prompt_tuning, prompt_design]",
    }
)
"""Keys that cannot be swept, and why; a group stands for all its keys."""

_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.+-]{0,31}(?<!\.)")


@dataclass(frozen=True)
class Variant:
    """One combination of a sweep's values; a run without a sweep is one, without a name.

    Args:
        name: also of its folder, such as `learning_rate=0.03,length=5`.
        values: swept key to the value here.
        settings: whole, without a sweep; `out` is the variant's own folder.
    """

    name: str
    values: Mapping[str, Any]
    settings: RunSettings


def variants(settings: RunSettings) -> tuple[Variant, ...]:
    """Every combination, in the order in which the keys and their values are given.

    Raises:
        SettingsError: a key that is unknown or cannot be swept, a value that its key refuses, two
            variants that are the same, or too many.
    """
    sweep = settings.sweep
    if not sweep:
        return (Variant("", {}, settings),)
    for key in sweep:
        _check_key(key)
    count = math.prod(map(len, sweep.values()))
    if count > MOST_VARIANTS:
        sizes = " × ".join(str(len(values)) for values in sweep.values())
        raise SettingsError(
            f"sweep: {sizes} = {count:,} variants, expected at most {MOST_VARIANTS:,}; sweep fewer "
            "keys at a time"
        )
    base = _base(settings)
    found: list[Variant] = []
    seen: dict[str, str] = {}
    for name, values in zip(_names(sweep), _combinations(sweep), strict=True):
        own = _read(type(settings), base, values)
        same = json.dumps(own.resolved(), sort_keys=True)
        if same in seen:
            raise SettingsError(
                f"sweep: {seen[same]} and {name} are the same settings; give each value once"
            )
        seen[same] = name
        out = str(Path(settings.out) / name) if settings.out else None
        found.append(Variant(name, values, own.model_copy(update={"out": out})))
    return tuple(found)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{method.length: 5}` as a run file has it: `{method: {length: 5}}`."""
    return _laid({}, values)


def laid_over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over others, group by group; words and optimisers of another name replace."""
    found = dict(base)
    for key, value in values.items():
        below = found.get(key)
        found[key] = value
        if isinstance(below, Mapping) and isinstance(value, Mapping) and key != "words":
            name = below.get("name")
            if value.get("name", name) == name:
                found[key] = laid_over(below, value)
    return found


def _base(settings: RunSettings) -> dict[str, Any]:
    """What the swept values are laid over.

    Where methods vary, training settings that are the run's method's own defaults give way to each
    method's: full tuning does not learn at a soft prompt's rate.
    """
    values = settings.resolved()
    for key in ("sweep", "out"):
        values.pop(key, None)
    if "method" in settings.sweep:
        defaults = training_settings(settings.method, {}).model_dump(mode="json")
        values["training"] = _unlike(values["training"], defaults)
    return values


def _unlike(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if value != others[key]:
            inner = isinstance(value, Mapping)
            found[key] = _unlike(value, others[key]) if inner else value
    return found


def _check_key(key: str) -> None:
    for place in ("", *itertools.accumulate(key.split("."), lambda above, one: f"{above}.{one}")):
        if place in APART:
            raise SettingsError(f"sweep.{key}: cannot be swept: {APART[place]}")
    if key.split(".")[0] not in SWEPT:
        names = {row[0].split(" ")[0] for row in key_table()}
        known = sorted(name for name in names if name.split(".")[0] in SWEPT)
        hint = did_you_mean(key, known) or f"; expected a key of {', '.join(SWEPT)}"
        raise SettingsError(f"sweep: unknown key '{key}'{hint}")


def _combinations(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _read(
    kind: type[RunSettings], base: Mapping[str, Any], values: Mapping[str, Any]
) -> RunSettings:
    """A variant's settings.

    Raises:
        SettingsError: names the value that is refused by itself, or all of them.
    """
    try:
        return kind.read(_laid(base, values), "sweep")
    except SettingsError as error:
        problem = error
    for key, value in values.items():
        try:
            kind.read(_laid(base, {key: value}), "sweep")
        except SettingsError as error:
            raise SettingsError(f"sweep.{key}, value {_shown(value)}: {_bare(error)}") from None
    together = ", ".join(f"{key}={_shown(value)}" for key, value in values.items())
    raise SettingsError(f"sweep, {together}: {_bare(problem)}") from None


def _bare(error: SettingsError) -> str:
    return "\n".join(line.removeprefix("sweep: ") for line in str(error).splitlines())


def _laid(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted keys laid over nested ones, whole groups before what is inside them."""
    result = dict(base)
    for key in sorted(values, key=lambda name: name.count(".")):
        *above, last = key.split(".")
        node = result
        for part in above:
            inner = node.get(part)
            # `method.length` beside `method: [prompt_tuning, …]`: a bare name is a group of one.
            if part == "method" and isinstance(inner, str):
                inner = {"name": inner}
            if not isinstance(inner, Mapping | None):
                raise SettingsError(f"sweep: '{part}' is not a group of settings")
            node[part] = dict(inner or {})
            node = node[part]
        node[last] = values[key]
    return result


# --- names ------------------------------------------------------------------------------------


def _names(sweep: Mapping[str, Sequence[Any]]) -> list[str]:
    """A name for every combination: different ones, safe as file names, readable where it is short."""
    parts = [
        [f"{key}={value}" for value in _value_names(values)]
        for key, values in zip(_key_names(list(sweep)), sweep.values(), strict=True)
    ]
    names = [",".join(combination) for combination in itertools.product(*parts)]
    if max(map(len, names)) > LONGEST_NAME:
        return [f"variant={number}" for number in range(1, len(names) + 1)]
    return names


def _key_names(keys: Sequence[str]) -> list[str]:
    """The keys' last parts; whole keys where two would be alike, then with a number."""
    tails = [key.rsplit(".", 1)[-1] for key in keys]
    shown = [key if tails.count(tail) > 1 else tail for key, tail in zip(keys, tails, strict=True)]
    safe = ["".join(c if c.isalnum() or c in "_.-" else "-" for c in name) for name in shown]
    return [
        f"{name}-{number}" if safe.count(name) > 1 else name
        for number, name in enumerate(safe, start=1)
    ]


def _value_names(values: Sequence[Any]) -> list[str]:
    """The values themselves where all are short and plain, else their numbers in the list."""
    shown = [value if isinstance(value, str) else _shown(value) for value in values]
    plain = all(_SAFE.fullmatch(name) for name in shown)
    # Some file systems hold A and a for the same.
    if plain and len({name.casefold() for name in shown}) == len(shown):
        return shown
    return [str(number) for number in range(1, len(values) + 1)]


def _shown(value: Any) -> str:
    """A value as one would type it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
