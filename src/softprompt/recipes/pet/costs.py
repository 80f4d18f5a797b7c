"""What a product of a recipe costs: a distilled one as any run, an ensemble as all of its models together.

The seconds are those of the whole recipe. Knows folders as `run.py` leaves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.recipes.measuring import Costs, measured, side_by_side
from softprompt.recipes.outcomes import read_outcome
from softprompt.recipes.pet.members import member_run, members_of, stays
from softprompt.recipes.pet.patterns import clozes_of
from softprompt.recipes.pet.settings import ENSEMBLE, PetSettings, product_place
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_file import read_run
from softprompt.recipes.run_folder import REPORT, RunFolder


def product_costs(
    settings: PetSettings,
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
        SettingsError: the recipe has not this product; says why.
    """
    place = product_place(home, product)
    outcome = read_outcome(place)
    if outcome is None or not RunFolder(place).finished:
        lines = (home / REPORT).read_text(encoding="utf-8").splitlines()
        said = [line.removeprefix("- ") for line in lines if "nothing is distilled" in line]
        raise SettingsError("; ".join(said) or f"no product '{product}' in {home}")
    # Rows to render: what was learned from counts nothing here.
    split = "test" if "test" in task.split_names else "dev"
    shown = task.with_splits(train=task.examples(split)[:1])
    data = RunData(shown, (), task.skipped)
    if product != ENSEMBLE:
        run = read_run(place)
        if run.backbone != settings.backbone:
            backbone = load_backbone(run.backbone, precision=run.precision, device=run.device)
        prepared = prepare(run, backbone, data)
        return measured(prepared, prepared.first, place, outcome.n_learned, spent)
    members = members_of(settings, clozes_of(settings, task, backbone), settings.seeds[0], home)
    each = []
    for member in members:
        prepared = prepare(member_run(settings, member), backbone, data)
        each.append(measured(prepared, prepared.first, member.place, 0, spent))
    kept = settings.keep_members or stays(settings.method)
    return side_by_side(each, outcome.n_learned, kept=kept, trained=outcome.n_learned > 0)
