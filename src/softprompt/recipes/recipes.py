"""The recipes, and how each is carried out, shown, and read as rows of a comparison.

A recipe is an entry here and a class of settings in `known_recipes.py`. Knows functions, nothing of what
is inside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softprompt.recipes.known_recipes import RECIPES
from softprompt.recipes.lm_bff.costs import product_costs as lm_bff_costs
from softprompt.recipes.lm_bff.report import score_grid as lm_bff_grid
from softprompt.recipes.lm_bff.results import ENSEMBLE as TOGETHER
from softprompt.recipes.lm_bff.results import FIT
from softprompt.recipes.lm_bff.results import product_place as lm_bff_place
from softprompt.recipes.lm_bff.run import run_lm_bff
from softprompt.recipes.measuring import Costs
from softprompt.recipes.pages import Grid
from softprompt.recipes.pet.costs import product_costs as pet_costs
from softprompt.recipes.pet.products import products_of
from softprompt.recipes.pet.report import score_grid as pet_grid
from softprompt.recipes.pet.run import run_recipe
from softprompt.recipes.pet.settings import product_place as pet_place
from softprompt.recipes.schema import RunSettings


@dataclass(frozen=True)
class Carried:
    """A recipe that was carried out.

    Args:
        prompts: folders to predict with.
        grid: its scores.
    """

    prompts: Sequence[Path]
    grid: Grid


@dataclass(frozen=True)
class Recipe:
    """What may be done with a recipe.

    Args:
        name: what `recipe:` says.
        title: in tables.
        run: from settings, a watcher, and `overwrite`, `backbone`, `data` by name.
        products: from a comparison's entry and how it is called: product to what stands behind the row's
            label; empty: the label alone.
        place: where a product lies in the folder of a seed.
        costs: of a product; settings, product, backbone, task, folder, what its sessions spent.
        not_of_rows: keys that a comparison says for all of its rows, or the recipe has no use for.
        keeps_time: whether it writes down its sessions itself.
    """

    name: str
    title: str
    run: Callable[..., Carried]
    products: Callable[[Mapping[str, Any], str], Mapping[str, str]]
    place: Callable[[Path, str], Path]
    costs: Callable[..., Costs]
    not_of_rows: tuple[str, ...] = ()
    keeps_time: bool = False

    @property
    def settings(self) -> type[RunSettings]:
        """The class of its settings."""
        return RECIPES[self.name]


def recipe_of(settings: RunSettings) -> Recipe | None:
    """The recipe that settings are of; None of an ordinary run."""
    return KNOWN.get(getattr(settings, "recipe", ""))


def _run_pet(*given: Any, **named: Any) -> Carried:
    made = run_recipe(*given, **named)
    return Carried(made.prompts, pet_grid(made))


def _run_lm_bff(*given: Any, **named: Any) -> Carried:
    made = run_lm_bff(*given, **named)
    return Carried(made.prompts, lm_bff_grid(made))


def _lm_bff_products(given: Mapping[str, Any], label: str) -> dict[str, str]:
    return {FIT: "", TOGETHER: TOGETHER} if given.get("ensemble") else {FIT: ""}


_PET = Recipe(
    name="pet",
    title="PET",
    run=_run_pet,
    products=products_of,
    place=pet_place,
    costs=pet_costs,
    not_of_rows=("template", "sweep"),
)
_LM_BFF = Recipe(
    name="lm_bff",
    title="LM-BFF",
    run=_run_lm_bff,
    products=_lm_bff_products,
    place=lm_bff_place,
    costs=lm_bff_costs,
    not_of_rows=("split_seed_with_seed",),
    keeps_time=True,
)
_ALL = (
    _PET,
    replace(_PET, name="ipet", title="iPET"),
    _LM_BFF,
    replace(_LM_BFF, name="autoprompt", title="AutoPrompt"),
)
KNOWN: Mapping[str, Recipe] = {one.name: one for one in _ALL}
"""Recipes by name."""
