"""The file of a comparison: what it refuses, and which runs it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import COMPARE, CompareSettings, read_compare, resolved
from softprompt.recipes.comparison_plan import Cell, plan
from softprompt.settings import to_yaml

FILES = {"train": "reviews.csv", "fields": ["review"], "target": "mood"}


def values(**changes: Any) -> dict[str, Any]:
    return {
        "backbone": "softprompt/tiny-mlm",
        "tasks": ["softprompt/topics-en", {"task": FILES, "label": "mine", "k_shot": 4}],
        "methods": ["prompt_tuning", {"name": "prefix_tuning", "length": 10}],
        "seeds": [0, 1],
        "training": {"steps": 7, "optimiser": {"learning_rate": 0.2}},
        **changes,
    }


def read(here: Path, *assignments: str, **changes: Any) -> CompareSettings:
    (here / "compare.yaml").write_text(to_yaml(values(**changes)), encoding="utf-8")
    return read_compare(here / "compare.yaml", assignments)


def cells(here: Path, **changes: Any) -> dict[tuple[str, str], Cell]:
    return {(c.task, c.row.label): c for c in plan(read(here, **changes)).cells}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"methodes": ["prompt_tuning"]}, "unknown key 'methodes'; did you mean 'methods'"),
    ({"methods": ["prompt_tunning"]}, "no such method 'prompt_tunning'.*prompt_tuning"),
    (
        {"methods": [{"name": "prompt_tuning", "lenght": 3}]},
        "'prompt_tuning': unknown key 'lenght'.*length",
    ),
    ({"methods": ["prompt_tuning", "prompt_tuning"]}, "two rows are called 'prompt tuning'"),
    ({"methods": [{"name": "prompt_tuning", "length": -1}]}, "'prompt tuning .length=-1.'.*length"),
    ({"training": {"stepps": 3}}, "training: unknown key 'stepps'; did you mean 'steps'"),
    (
        {"tasks": [{"task": "sst2", "kshot": 4}]},
        "unknown key 'tasks.*kshot'; did you mean 'k_shot'",
    ),
    ({"tasks": ["a", {"task": "b", "label": "a"}]}, "tasks: two are called 'a'"),
    ({"backbones": ["b"]}, "give either backbone or backbones"),
    ({"seeds": [1, 1]}, "seeds: expected different ones"),
    ({"baselines": ["majority", "chance"]}, "baselines"),
    ({"reference": "prompt"}, "reference: no row 'prompt'"),
    ({"vary": {"method.lenght": [1]}}, "no method has the key 'lenght'"),
    ({"vary": {"method.length": 5}}, "'vary.method.length'.*list"),
    ({"vary": {"test_limit": [5]}}, "'test_limit' cannot vary"),
    ({"test_on": {"topics": ["sst2"]}}, "test_on: no task 'topics' in this comparison"),
    ({"test_on": ["sst2"]}, "test_on: expected a mapping"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said(here: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(read(here, **changes))


def test_every_cell_has_a_folder_of_its_own(here: Path) -> None:
    laid = plan(read(here, vary={"method.length": [2, 4]}))
    places = [run.place for cell in laid.cells for run in cell.runs]
    assert (
        len(set(places)) == len(places) == 2 * 5
    )  # two tasks; two methods × two lengths, zero-shot


def test_the_files_settings_lie_under_the_tasks_and_those_under_the_methods(here: Path) -> None:
    found = cells(
        here,
        methods=["prompt_tuning", {"name": "prefix_tuning", "training": {"steps": 9}}],
        tasks=[{"task": "softprompt/topics-en", "training": {"steps": 8, "batch_size": 2}}],
    )
    one = found["topics-en", "prompt tuning"].runs[0].settings
    other = found["topics-en", 'prefix tuning (training={"steps": 9})'].runs[0].settings
    assert one is not None
    assert other is not None
    assert (one.training.steps, one.training.batch_size) == (8, 2)
    assert (other.training.steps, other.training.batch_size) == (9, 2)
    assert one.training.optimiser.learning_rate == other.training.optimiser.learning_rate == 0.2


def test_paths_are_those_of_the_file(here: Path) -> None:
    settings = cells(here)["mine", "prompt tuning"].runs[0].settings
    assert settings is not None
    assert not isinstance(settings.task, str)
    assert settings.task.train == str(here / "reviews.csv")
    assert settings.k_shot == 4


def test_what_varies_makes_rows_of_the_methods_that_have_it(here: Path) -> None:
    found = plan(
        read(here, methods=["prompt_tuning", "full_tuning"], vary={"method.length": [1, 5]})
    )
    labels = [row.label for row in found.rows]
    assert labels == [
        "prompt tuning, length=1",
        "prompt tuning, length=5",
        "full tuning",
        "zero-shot",
    ]
    assert found.rows[0].varied == {"method.length": 1}


def test_a_method_may_vary_by_itself(here: Path) -> None:
    given = {"name": "prompt_tuning", "vary": {"init": ["labels", "uniform"]}}
    found = plan(read(here, methods=[given], baselines=[]))
    assert [row.label for row in found.rows] == [
        "prompt tuning, init=labels",
        "prompt tuning, init=uniform",
    ]


def test_a_rows_name_has_no_folders_of_this_machine(here: Path) -> None:
    given = {"name": "spot", "sources": ["runs/sst2/prompt", "runs/mnli", "rte.npy"]}
    found = plan(read(here, methods=[given, {**given, "vary": {"target": ["runs/me"]}}]))
    assert [row.label for row in found.rows[:2]] == [
        'SPoT (sources=["sst2", "mnli", "rte.npy"])',
        'SPoT (sources=["sst2", "mnli", "rte.npy"]), target=me',
    ]


def test_each_seed_may_draw_its_own_split(here: Path) -> None:
    cell = cells(here, split_seed_with_seed=True)["mine", "prompt tuning"]
    seeds = [
        (run.split, run.settings.seeds, run.settings.data_seed) for run in cell.runs if run.settings
    ]
    assert seeds == [(0, [0], 0), (1, [1], 1)]


def test_assignments_override_the_file(here: Path) -> None:
    settings = read(here, "training.steps=3", "seeds=[4]", "out=elsewhere")
    assert settings.training["steps"] == 3
    assert settings.training["optimiser"] == {"learning_rate": 0.2}
    assert settings.seeds == [4]
    assert settings.out == str(here / "elsewhere")


def test_the_resolved_file_means_the_same(here: Path) -> None:
    settings = read(here, out="somewhere", test_on={"mine": [FILES]})
    (here / "somewhere").mkdir()
    (here / "somewhere" / COMPARE).write_text(to_yaml(resolved(settings)), encoding="utf-8")
    assert read_compare(here / "somewhere") == settings


def test_a_mistake_of_all_cells_is_a_mistake_of_one_cell_is_a_row(here: Path) -> None:
    tasks = ["softprompt/topics-en", {"task": "softprompt/reviews-en", "training": {"steps": -1}}]
    found = cells(here, tasks=tasks)
    assert found["topics-en", "prompt tuning"].refused is None
    assert "steps" in (found["reviews-en", "prompt tuning"].refused or "")
