"""The recipes by name, each with the class of its settings; `recipes.py` has how they are carried out.

Knows values, not what becomes of them.
"""

from __future__ import annotations

from softprompt.recipes.lm_bff.settings import STEPS, AutopromptSettings, LmBffSettings
from softprompt.recipes.pet.settings import IpetSettings, PetSettings, Product
from softprompt.recipes.schema import RunSettings, key_table

RECIPES: dict[str, type[RunSettings]] = {
    "pet": PetSettings,
    "ipet": IpetSettings,
    "lm_bff": LmBffSettings,
    "autoprompt": AutopromptSettings,
}
"""What `recipe:` may say."""

_SHOWN = {"distil": "a classification head", "search": "the recipe's own"}


def recipe_keys() -> list[tuple[str, str, str]]:
    """Every key that a recipe adds to a run file: its dotted name, its default, one line of help."""
    shared = {key for key, _, _ in key_table(RunSettings)}
    found: dict[str, tuple[str, str, str]] = {}
    for name, kind in RECIPES.items():
        for key, default, line in key_table(kind):
            if key not in shared and key not in found:
                found[key] = f"{key} ({name})", _SHOWN.get(key, default), line
    rows = list(found.values())
    rows += [(f"distil.{key}", default, line) for key, default, line in key_table(Product)]
    for name, step in STEPS.items():
        rows += [(f"search.{key} ({name})", d, line) for key, d, line in key_table(step)]
    return rows
