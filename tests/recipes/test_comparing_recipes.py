"""A recipe as rows of a comparison: one run, a row for each of its products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings, read_compare
from softprompt.recipes.comparing import Comparison, compare
from softprompt.recipes.comparison_folder import leave
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.comparison_results import Result
from softprompt.recipes.pet import members
from softprompt.settings import to_yaml
from tests.small_runs import BAD, GOOD, write_reviews

TASK = {"train": "reviews.csv", "test": "held.csv", "fields": ["review"], "target": "mood"}
SHORT = {"steps": 2, "batch_size": 4, "checkpoint_every": 1}
PET: dict[str, Any] = {
    "recipe": "pet",
    "patterns": ["{review} It was {mask}.", "{mask}: {review}"],
    "training": SHORT,
    "distil": [
        {"training": SHORT},
        {
            "name": "soft prompt",
            "method": {"name": "prompt_tuning", "length": 2},
            "training": SHORT,
        },
    ],
}


def settings(folder: Path, model: Path, **changes: Any) -> CompareSettings:
    write_reviews(folder / "reviews.csv")
    rows = [(f"{text} here", "positive") for text in GOOD] + [(f"{t} too", "negative") for t in BAD]
    held = "".join(f'"{text}",{mood}\n' for text, mood in rows)
    (folder / "held.csv").write_text(f"review,mood\n{held}", encoding="utf-8")
    values = {
        "backbone": str(model),
        "tasks": [{"task": TASK, "label": "reviews"}],
        "words": {"positive": "great", "negative": "terrible"},
        "template": "{review} It was {mask}.",
        "train_limit": 6,
        "train_balanced": True,
        "dev_size": 0,
        "unlabelled": "train",
        "methods": [PET, {"name": "full_tuning", "label": "supervised", "training": SHORT}],
        "baselines": ["majority", "bag_of_words", "zero_shot"],
        "seeds": [0, 1],
        "resamples": 100,
        "out": "compared",
        **changes,
    }
    path = folder / "compare.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    return read_compare(path)


def found(comparison: Comparison, label: str) -> Result:
    return next(one for one in comparison.tables[0].results if one.label == label)


def test_every_product_is_a_row_and_the_models_are_trained_once(here: Path, bert: Path):
    comparison = compare(settings(here, bert))
    labels = [one.label for one in comparison.tables[0].results]
    assert labels[:3] == ["PET (ensemble)", "PET (classification head)", "PET (soft prompt)"]
    assert (
        len(list((here / "compared" / "cells").rglob("member.json"))) == 2 * 2
    )  # seeds × patterns
    for label in labels[:3]:
        row = found(comparison, label)
        assert [one.seed for one in row.tested] == [0, 1]
        assert row.costs is not None
        assert row.costs.learned == row.costs.learned_formula
        assert row.costs.seconds
    ensemble, head = found(comparison, labels[0]).costs, found(comparison, labels[1]).costs
    assert ensemble is not None
    assert head is not None
    assert ensemble.operations == pytest.approx(2 * (head.operations or 0), rel=0.3)
    leave(comparison)
    assert "PET (soft prompt)" in (here / "compared" / "report.md").read_text("utf-8")


def test_a_finished_comparison_reads_its_recipes(here: Path, bert: Path):
    once = compare(settings(here, bert))
    again = compare(settings(here, bert))
    values = [found(one, "PET (ensemble)").values("test", "accuracy") for one in (once, again)]
    assert values[0] == values[1]


def test_each_seed_can_draw_its_own_split(here: Path, bert: Path):
    made = compare(settings(here, bert, split_seed_with_seed=True))
    assert [one.split for one in found(made, "PET (ensemble)").tested] == [0, 1]


def test_no_labelled_rows_leave_the_recipe_and_the_template_alone(here: Path, bert: Path):
    tasks = [{"task": TASK, "label": "none", "train_limit": 0}, {"task": TASK, "label": "six"}]
    comparison = compare(settings(here, bert, tasks=tasks, seeds=[0]))
    assert comparison.tables[0].task == "none"
    assert found(comparison, "PET (ensemble)").tested
    assert found(comparison, "zero-shot").tested
    assert "needs labelled rows" in (found(comparison, "supervised").refused or "")
    assert "no labelled rows" in (found(comparison, "bag of words").refused or "")
    assert "no labelled rows" in (found(comparison, "majority class").refused or "")
    leave(comparison)


def test_without_unlabelled_rows_products_say_why_there_are_none(here: Path, bert: Path):
    comparison = compare(settings(here, bert, unlabelled=None, seeds=[0]))
    assert found(comparison, "PET (ensemble)").tested
    assert "no unlabelled rows" in (found(comparison, "PET (soft prompt)").refused or "")


def test_what_varies_is_a_run_of_its_own(here: Path, bert: Path):
    varied = {**PET, "distil": [], "vary": {"repetitions": [1, 2]}}
    rows = plan(settings(here, bert, methods=[varied])).rows
    labels = [row.label for row in rows]
    assert labels[:2] == ["PET (ensemble), repetitions=1", "PET (ensemble), repetitions=2"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"recipe": "pett"}, "did you mean 'pet'"),
        ({"recipe": "pet", "pattern": []}, "did you mean 'patterns'"),
        ({"recipe": "pet", "distil": [{"method": "prompt_tunin"}]}, "did you mean 'prompt_tuning'"),
        ({"recipe": "pet", "vary": {"backbone": ["a"]}}, "cannot vary"),
    ],
)
def test_an_entry_with_a_mistake_is_refused(
    here: Path, bert: Path, entry: dict[str, Any], message: str
):
    with pytest.raises(SettingsError, match=message):
        plan(settings(here, bert, methods=[entry]))


def test_a_recipe_that_was_stopped_is_not_gone_on_with_by_other_settings(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(members, "_score", stop)
        with pytest.raises(KeyboardInterrupt):
            compare(settings(here, bert, seeds=[0]))
    longer = {**PET, "training": {**SHORT, "steps": 3}}
    methods = [longer, {"name": "full_tuning", "label": "supervised", "training": SHORT}]
    with pytest.raises(SettingsError, match=r"holds an unfinished run .*training\.steps"):
        compare(settings(here, bert, seeds=[0], methods=methods))
    assert not list((here / "compared").rglob("supervised*/**/done.json"))
    assert found(compare(settings(here, bert, seeds=[0])), "PET (ensemble)").tested
