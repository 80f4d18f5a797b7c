"""The members of LM-BFF's ensemble: those that there are, however many are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.errors import RunError
from softprompt.recipes.lm_bff.costs import product_costs
from softprompt.recipes.lm_bff.report import recipe_report, score_grid
from softprompt.recipes.lm_bff.results import ENSEMBLE
from softprompt.recipes.lm_bff.run import run_lm_bff
from softprompt.recipes.search.triggers.scene import Scene
from tests.recipes.test_lm_bff import Told, recipe

PLAIN: dict[str, Any] = {
    "seeds": [1],
    "sweep": {},
    "method": {"name": "prompt_tuning", "length": 2},
    "search": [{"find": "templates", "candidates": "templates.txt", "fits": 5}],
    "ensemble": 5,
}
"""Five fits are asked for, and the list has three templates."""


def test_an_ensemble_of_fewer_fits_than_were_asked_for_says_so(here: Path, bert: Path):
    settings, told = recipe(here, bert, **PLAIN), Told()
    (one,) = run_lm_bff(settings, told).seeds
    said = "ensemble: the last search left 3 fits of the 5 asked for; these predict together"
    assert [warning for warning in told.warnings if said in warning]
    report = (here / "run/report.md").read_text("utf-8")
    assert "Ensemble: the 3 best fits of the last search" in report
    assert "5 were asked for; the last search left no more" in report
    assert "| 3 fits" in report
    assert one.members == 3

    (here / "run/done.json").unlink()
    (again,) = run_lm_bff(settings).seeds
    assert again.members == 3
    assert again.ensemble == one.ensemble


def test_a_fit_that_failed_is_no_member(here: Path, bert: Path):
    settings = recipe(here, bert, **PLAIN | {"ensemble": 3})
    (one,) = run_lm_bff(settings).seeds
    failing = one.found[-1].ranked[0]
    record = json.loads((failing / "fit.json").read_text("utf-8"))
    record |= {"failure": "the loss is nan", "metrics": {}}
    (failing / "fit.json").write_text(json.dumps(record), encoding="utf-8")
    for path in ("1-templates/done.json", "ensemble/done.json", "ensemble/fit.json", "done.json"):
        (here / "run" / path).unlink()
    (again,) = run_lm_bff(settings).seeds
    assert failing not in again.found[-1].ranked
    assert (again.members, again.found[-1].n_fits) == (2, 3)
    assert "Ensemble: the 2 best fits" in (here / "run/report.md").read_text("utf-8")


def test_without_any_fits_there_is_no_ensemble_and_the_rest_stands(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    """The best triggers are kept as rows, so that none were fitted; the best text is used for the fit."""
    text, asked = Scene.text, list[Any]()

    def best_is_no_text(scene: Scene, ids: Any, most: int = 8) -> Any:
        asked.append(ids)
        return None if len(asked) == 1 else text(scene, ids, most)

    monkeypatch.setattr(Scene, "text", best_is_no_text)
    step = {"find": "triggers", "tokens": "any", "iterations": 12, "evaluate_every": 1}
    given = {**PLAIN, "search": [{**step, "fits": 2, "batch_size": 4}], "ensemble": 2}
    settings = recipe(here, bert, **given, template="{review}{soft:2} It was {mask}.")
    told = Told()
    run = run_lm_bff(settings, told)
    (one,) = run.seeds
    assert list(one.products) == ["fit"]
    assert not (here / "run/ensemble").exists()
    assert [warning for warning in told.warnings if "there is no ensemble" in warning]
    said = "No ensemble for seed 1: the last search left no fits."
    assert said in (here / "run/report.md").read_text("utf-8")
    with pytest.raises(RunError, match="no ensemble"):
        product_costs(settings, ENSEMBLE, load_backbone(str(bert)), run.task, one.place, {})


def test_seeds_with_and_without_an_ensemble_stand_in_one_report(here: Path, bert: Path):
    settings = recipe(here, bert, **PLAIN | {"ensemble": 3, "seeds": [1, 2]})
    run = run_lm_bff(settings)
    first, second = run.seeds
    mixed = replace(run, seeds=[replace(first, ensemble=None, members=0), second])
    assert "ensemble (1 of 2 seeds)" in [row[0] for row in score_grid(mixed).rows]
    report = recipe_report(mixed, "tiny", [])
    assert "Ensemble: the 3 best fits" in report
    assert "No ensemble for seed 1" in report
