"""LM-BFF as rows of a comparison: the baselines' splits, a row for the fit and one for the ensemble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings, read_compare
from softprompt.recipes.comparing import Comparison, compare
from softprompt.recipes.comparison_folder import leave
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.comparison_results import Result
from softprompt.settings import to_yaml
from tests.small_runs import write_reviews

SHORT = {"steps": 2, "batch_size": 4, "evaluate_every": 2, "checkpoint_every": 1}
TASK = {"train": "reviews.csv", "test": "held.csv", "fields": ["review"], "target": "mood"}
LISTED: dict[str, Any] = {
    "recipe": "lm_bff",
    "label": "auto templates",
    "search": [{"find": "templates", "candidates": "lists/{task}-{seed}.txt", "fits": 2}],
    "ensemble": 2,
    "training": SHORT,
}
MANUAL: dict[str, Any] = {
    "recipe": "lm_bff",
    "label": "manual",
    "search": [],
    "sweep": {"training.batch_size": [2, 4]},
    "training": SHORT,
}


def settings(folder: Path, model: Path, **changes: Any) -> CompareSettings:
    write_reviews(folder / "reviews.csv")
    write_reviews(folder / "held.csv", times=1)
    (folder / "lists").mkdir(exist_ok=True)
    for seed, lines in (
        (1, "{review} {mask}.\nA {mask} one: {review}\n"),
        (2, "{review} {mask}!\n{mask}: {review}\n"),
    ):
        (folder / "lists" / f"mood-{seed}.txt").write_text(lines, encoding="utf-8")
    values = {
        "backbone": str(model),
        "tasks": [{"task": TASK, "label": "mood"}],
        "words": {"positive": "great", "negative": "terrible"},
        "template": "{review} It was {mask}.",
        "methods": [
            LISTED,
            MANUAL,
            {"name": "full_tuning", "label": "tuned", "training": SHORT},
        ],
        "baselines": ["majority"],
        "k_shot": 4,
        "seeds": [1, 2],
        "split_seed_with_seed": True,
        "resamples": 100,
        "out": "compared",
        **changes,
    }
    path = folder / "compare.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    return read_compare(path)


def found(comparison: Comparison, label: str) -> Result:
    return next(one for one in comparison.tables[0].results if one.label == label)


def test_a_recipes_rows_see_the_split_that_every_row_sees(here: Path, bert: Path):
    comparison = compare(settings(here, bert))
    leave(comparison)
    labels = [one.label for one in comparison.tables[0].results]
    assert labels == [
        *("auto templates", "auto templates (ensemble)", "manual", "tuned", "majority class"),
    ]
    hashes = [
        json.loads(path.read_text("utf-8"))
        for path in sorted((here / "compared/cells").glob("*/*/*/split-1/data.json"))
    ]
    assert len(hashes) == 3
    assert all(one == hashes[0] for one in hashes)
    for label in labels[:4]:
        row = found(comparison, label)
        assert row.failed is None
        assert [(one.split, one.seed) for one in row.tested] == [(1, 1), (2, 2)]
        assert row.costs is not None
        assert row.costs.seconds
    assert found(comparison, "manual").chosen.startswith("the best of 2 variants")
    report = (here / "compared/report.md").read_text("utf-8")
    assert "auto templates (ensemble)" in report
    alone = here / "compared/cells"
    assert len(list(alone.glob("*/*/auto-templates/split-*/done.json"))) == 2
    again = compare(settings(here, bert))
    assert found(again, "manual").values("test", "accuracy") == found(comparison, "manual").values(
        "test", "accuracy"
    )


def test_each_run_takes_the_variant_of_its_seed_and_the_list_of_its_task(here: Path, bert: Path):
    own = {"task": "lm_bff/sst2", "label": "SST-2", "variant": "seed"}
    given = {"tasks": [own], "k_shot": None, "seeds": [13, 87]}
    lists = {**LISTED, "search": [{"find": "templates", "candidates": "{data}/{task}/{seed}.txt"}]}
    laid = plan(settings(here, bert, **given, methods=[lists, MANUAL]))
    for cell in laid.cells:
        assert cell.refused is None
        assert [one.settings.variant for one in cell.runs if one.settings] == ["13", "87"]
    first = laid.cells[0].runs[0].settings
    assert first is not None
    assert first.resolved()["search"][0]["candidates"] == "{data}/SST-2/{seed}.txt"
    assert first.resolved()["split_seed_with_seed"] is False


def test_a_variant_of_the_seed_needs_splits_of_the_seeds(here: Path, bert: Path):
    with pytest.raises(SettingsError, match="give split_seed_with_seed: true"):
        plan(settings(here, bert, variant="seed", split_seed_with_seed=False))


def test_a_row_says_what_is_wrong_with_its_search(here: Path, bert: Path):
    with pytest.raises(SettingsError, match=r"expected templates, words, triggers"):
        plan(settings(here, bert, methods=[{"recipe": "lm_bff", "search": ["x"]}]))
    with pytest.raises(SettingsError, match="unknown key 'split_seed_with_seed'"):
        plan(settings(here, bert, methods=[{"recipe": "lm_bff", "split_seed_with_seed": True}]))
