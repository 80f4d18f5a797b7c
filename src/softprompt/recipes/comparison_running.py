"""One run of a comparison's cell, in its folder: trained where it is not yet, and its costs counted.

Knows a method's run from a recipe's, of which several rows read one; nothing of tables.
"""

from __future__ import annotations

import json
from contextlib import nullcontext

from softprompt.backbones.backbone import Backbone
from softprompt.recipes.comparison_plan import Cell, CellRun
from softprompt.recipes.comparison_results import read_run_folder
from softprompt.recipes.measuring import COSTS, Costs, measured, session, sessions, write_costs
from softprompt.recipes.prepare import prepare
from softprompt.recipes.recipes import Recipe, recipe_of
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import RunFolder
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import train
from softprompt.recipes.watching import Watcher


def carry_out(cell: Cell, run: CellRun, backbone: Backbone, data: RunData, told: Watcher) -> None:
    """Run what is not finished, and write `costs.json` beside what came of it.

    Raises:
        UsageError: backbone, task or method refuse; a recipe that has not the row's product.
        RunError: the run failed.
    """
    settings = run.settings
    assert settings is not None
    recipe = recipe_of(settings)
    if recipe is not None:
        costs = _recipe(recipe, settings, str(cell.row.product), run, backbone, data, told)
    else:
        costs = _method(settings, run, backbone, data, told)
    write_costs(run.place / COSTS, costs)


def stands(run: CellRun) -> bool:
    """Whether something stands in a run's folder that is gone on with; what a recipe has made lies deeper
    than a run's."""
    folder = RunFolder(run.folder)
    recipe = run.settings is not None and recipe_of(run.settings) is not None
    return folder.finished or folder.begun or (recipe and (folder.path / CONFIG).is_file())


def _method(
    settings: RunSettings, run: CellRun, backbone: Backbone, data: RunData, told: Watcher
) -> Costs:
    prepared = prepare(settings, backbone, data)
    if not RunFolder(run.place).finished:
        with session(run.place, backbone.device):
            train(settings, told, prepared=prepared)
    made = read_run_folder(run, data.task.metrics[0])
    bound = next(one for one in prepared.variants if one.variant.name == made.variant)
    first = RunFolder(run.place).fit(made.variant, settings.seeds[0], len(settings.seeds) > 1)
    learned = int(json.loads((first / "fit.json").read_text("utf-8"))["n_learned"])
    return measured(prepared, bound, first, learned, sessions(run.place))


def _recipe(
    recipe: Recipe,
    settings: RunSettings,
    product: str,
    run: CellRun,
    backbone: Backbone,
    data: RunData,
    told: Watcher,
) -> Costs:
    """Carry out a recipe, unless another row of it has."""
    if not RunFolder(run.folder).finished:
        timed = nullcontext() if recipe.keeps_time else session(run.folder, backbone.device)
        with timed:
            recipe.run(settings, told, backbone=backbone, data=data)
    spent = sessions(run.folder)
    return recipe.costs(settings, product, backbone, data.task, run.folder, spent)
