"""What a product of a recipe of searches costs: the final fit as any run, an ensemble as all of its members.

The seconds are those of the whole recipe, searches included. Knows folders as `run.py` leaves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.task import Task
from softprompt.errors import RunError
from softprompt.recipes.lm_bff.course import read_fit, read_search
from softprompt.recipes.lm_bff.results import ENSEMBLE, product_place
from softprompt.recipes.lm_bff.settings import LmBffSettings
from softprompt.recipes.measuring import Costs, measured, side_by_side
from softprompt.recipes.outcomes import read_outcome
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_file import read_run
from softprompt.recipes.run_folder import PROMPT, RunFolder


def product_costs(
    settings: LmBffSettings,
    product: str,
    backbone: Backbone,
    task: Task,
    home: Path,
    spent: Mapping[str, Any],
) -> Costs:
    """Count the costs of a finished recipe's product.

    Args:
        product: its name.
        home: folder of a seed.
        spent: `seconds`, `peak_bytes` and `memory` of the recipe's sessions.
    Raises:
        RunError: the last search left no fits for an ensemble.
    """
    place, data = product_place(home, product), RunData(task, (), task.skipped)
    if product != ENSEMBLE:
        fitted = read_fit(place, settings.seeds[0])
        prepared = prepare(read_run(place), backbone, data)
        bound = next(one for one in prepared.variants if one.variant.name == fitted.variant)
        first = RunFolder(place).fit(fitted.variant, settings.seeds[0], several=False)
        return measured(prepared, bound, first, fitted.outcome.n_learned, spent)
    outcome = read_outcome(place)
    if outcome is None:
        raise RunError(
            f"{home}: no ensemble: the last search left no fits that could predict together"
        )
    last = f"{len(settings.search)}-{settings.search[-1].find}"
    members = read_search(settings.search[-1].find, home / last).ranked[: settings.ensemble]
    each = []
    for member in members:
        prepared = prepare(read_run(member), backbone, data)
        each.append(measured(prepared, prepared.first, member, 0, spent))
    kept = all((member / PROMPT).is_dir() for member in members)
    return side_by_side(each, outcome.n_learned, kept=kept)
