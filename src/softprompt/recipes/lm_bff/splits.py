"""Which rows a seed trains and chooses on, and the plain runs that a recipe is made of.

LM-BFF's protocol: one seed draws the split and seeds the training (arXiv 2012.15723, section 4.1). Knows
settings, not data or folders' contents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt.data.registry import FOLDER_VARIABLE, find_entry, is_known
from softprompt.errors import SettingsError
from softprompt.recipes.lm_bff.settings import K_SHOT, LmBffSettings, Step
from softprompt.recipes.schema import RunSettings


def split_values(settings: LmBffSettings, seed: int) -> dict[str, Any]:
    """The keys of a run by which it reads a seed's own rows; empty where all seeds share theirs.

    Raises:
        SettingsError: the task comes in splits of its own, and none is the seed's.
    """
    if not settings.split_seed_with_seed:
        return {}
    own = {"data_seed": settings.data_seed + seed}
    task = settings.task
    known = list(find_entry(task).variants) if isinstance(task, str) and is_known(task) else []
    if known and all(name.isdecimal() for name in known):
        if settings.variant is not None:
            raise SettingsError(
                f"variant: each seed takes the split of '{task}' that is called like it; leave it out, or "
                "give split_seed_with_seed: false"
            )
        if str(seed) not in known:
            raise SettingsError(
                f"seeds: '{task}' comes in the splits {', '.join(known)}, found seed {seed}; give some of "
                "these, or split_seed_with_seed: false and a variant"
            )
        return {**own, "variant": str(seed)}
    return {**own, "k_shot": settings.k_shot or K_SHOT}


def plain_values(settings: LmBffSettings, seed: int) -> dict[str, Any]:
    """What a recipe's settings say of an ordinary run, for one seed."""
    values = {k: v for k, v in settings.resolved().items() if k in RunSettings.model_fields}
    return {**values, **split_values(settings, seed), "seeds": [seed]}


def data_run(settings: LmBffSettings, seed: int) -> RunSettings:
    """A run that reads a seed's rows."""
    values = plain_values(settings, seed)
    values.pop("sweep", None)
    return RunSettings.read(values, "recipe")


def fit_run(
    settings: LmBffSettings,
    seed: int,
    template: str | None,
    words: Mapping[str, Any] | None,
    place: Path,
) -> RunSettings:
    """The run that is made of what was found, its sweep in it."""
    values = plain_values(settings, seed)
    values |= {"template": template, "words": None if words is None else dict(words)}
    return RunSettings.read({**values, "out": str(place)}, "recipe")


def search_run(
    settings: LmBffSettings,
    seed: int,
    template: str | None,
    words: Mapping[str, Any] | None,
    place: Path,
) -> RunSettings:
    """A run whose template or words are searched: one choice of settings, no demonstrations, no other tasks."""
    values = fit_run(settings, seed, template, words, place).resolved()
    for key in ("sweep", "demonstrations", "test_on"):
        values.pop(key, None)
    values["training"] = settings.searched_training().model_dump(mode="json")
    return RunSettings.read(values, "recipe")


def step_of(settings: LmBffSettings, step: Step, seed: int) -> Step:
    """A search with the names of its files filled in: {seed}, {variant}, {data}."""
    variant = split_values(settings, seed).get("variant") or settings.variant or seed
    folder = settings.data or os.environ.get(FOLDER_VARIABLE)
    found: dict[str, str] = {}
    for key in ("candidates", "words"):
        given = getattr(step, key, None)
        if given is None:
            continue
        if "{data}" in given and not folder:
            raise SettingsError(
                f"search: {given}: no data folder; give data=…, or set {FOLDER_VARIABLE}"
            )
        filled = given.replace("{seed}", str(seed)).replace("{variant}", str(variant))
        found[key] = filled.replace("{data}", str(folder))
    return step.model_copy(update=found)
