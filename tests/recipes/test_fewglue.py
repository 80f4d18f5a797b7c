"""FewGLUE's eight tasks through PET, a few rows and two steps each, as the comparisons that ship ask them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.cli.main import main
from softprompt.data.registry import TASKS
from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings, read_compare, shipped_comparisons
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.pet.run import run_recipe
from softprompt.recipes.pet.settings import PetSettings
from softprompt.recipes.run_file import read_run

NAMES = ("fewglue", "fewglue-paper")
FOLDERS = {
    **{"boolq": "BoolQ", "cb": "CB", "copa:pet": "COPA", "multirc": "MultiRC", "rte": "RTE"},
    **{"record:pet": "ReCoRD", "wic": "WiC", "wsc:pet": "WSC"},
}
SHORT = {"steps": 2, "batch_size": 2}
ROWS = {"MultiRC": 1, "ReCoRD": 2}
"""Lines that are kept of each file; of the others four."""


def asked(name: str) -> CompareSettings:
    return read_compare(Path(name))


@pytest.fixture(scope="module")
def few(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first lines of the official files."""
    root = tmp_path_factory.mktemp("few")
    for folder in FOLDERS.values():
        (root / "superglue" / folder).mkdir(parents=True)
        own = shared / "data" / "superglue" / folder
        if not own.is_dir():
            pytest.skip(f"no {own}")
        for path in own.glob("*.jsonl"):
            with path.open(encoding="utf-8") as lines:
                kept = [line for line, _ in zip(lines, range(ROWS.get(folder, 4)), strict=False)]
            (root / "superglue" / folder / path.name).write_text("".join(kept), encoding="utf-8")
    return root


@pytest.mark.parametrize("name", NAMES)
def test_the_comparisons_are_read_and_planned(name: str):
    settings = asked(name)
    laid = plan(settings)
    assert list(laid.tasks) == [*("BoolQ", "CB", "COPA", "MultiRC", "ReCoRD", "RTE", "WiC", "WSC")]
    assert [row.label for row in laid.rows] == [
        *("PET (ensemble)", "PET (head)", "supervised", "zero-shot")
    ]
    assert [cell.refused for cell in laid.cells if cell.refused] == []
    first = shipped_comparisons()[name].read_text("utf-8").splitlines()[0]
    assert ('profile "desk"' in first) == (name == "fewglue")
    assert ('profile "paper"' in first) == (name == "fewglue-paper")
    for cell in laid.cells:
        for run in cell.runs:
            assert run.settings is not None
            assert run.settings.variant == "fewglue"
            assert run.settings.dev_size == 0
            assert str(run.settings.task) in {f"super_glue/{one}" for one in FOLDERS}


@pytest.mark.parametrize("task", FOLDERS)
def test_every_task_is_trained_predicted_and_reported(task: str, few: Path, tmp_path: Path):
    entry = next(one for one in asked("fewglue").tasks if one.task == f"super_glue/{task}")
    values: dict[str, Any] = {
        "recipe": "pet",
        "backbone": "softprompt/tiny-mlm",
        "task": entry.task,
        "variant": "fewglue",
        "data": str(few),
        "objective": entry.objective,
        "n_patterns": 2 if task == "wsc:pet" else 1,
        "training": SHORT,
        "test_limit": 8 if task == "multirc" else 3,  # whole questions
        "render": {"limit": 160},
        "distil": [{"name": "head", "training": SHORT}],
        "out": str(tmp_path / "run"),
    }
    made = run_recipe(PetSettings.read(values, "test"))
    (seed,) = made.seeds
    labelled = task in ("multirc", "wic")  # and unlabelled rows are there
    assert list(seed.products) == ["ensemble", *(["head"] if labelled else [])]
    metrics = TASKS[f"super_glue/{task.partition(':')[0]}"].metrics or ("accuracy",)
    for outcome in seed.products.values():
        assert set(outcome.metrics["test"]) - {"loss"} == {
            *(("wsc",) if "wsc" in task else metrics)
        }
        assert outcome.n["test"] == 3 or FOLDERS[task] in ROWS
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "## Patterns" in report
    if task == "wsc:pet":  # two models, which vote
        assert (seed.generations[0].members[0].texts("test")).is_file()
        assert not list((tmp_path / "run").rglob("*.npy"))


def test_the_auxiliary_loss_reads_texts_into_which_spans_are_written(few: Path, tmp_path: Path):
    values = {
        "recipe": "pet",
        "backbone": "softprompt/tiny-mlm",
        "task": "super_glue/wsc:pet",
        "variant": "fewglue",
        "data": str(few),
        "n_patterns": 1,
        "training": {**SHORT, "auxiliary": {"weight": 0.01, "per_example": 1}},
        "test_limit": 2,
        "render": {"limit": 160},
        "out": str(tmp_path / "run"),
    }
    run_recipe(PetSettings.read(values, "test"))
    (records,) = (tmp_path / "run").rglob("metrics.jsonl")
    assert "auxiliary_loss" in records.read_text(encoding="utf-8")


def test_the_comparison_runs_from_its_name(
    few: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    """WSC alone: its rows are refused where they must be, and its ensemble stands."""
    tasks = "tasks=[{task: super_glue/wsc:pet, label: WSC, objective: {fill: max_first}}]"
    quick = ["training={steps: 1, batch_size: 2, keep: last}", "seeds=[0]", "resamples=100"]
    given = ["compare", "fewglue", "--data", str(few), tasks, *quick, "test_limit=3", "out=made"]
    assert main(given) == 0, capsys.readouterr().err
    report = (here / "made" / "report.md").read_text(encoding="utf-8")
    for row in ("PET (ensemble)", "PET (head)", "supervised", "zero-shot"):
        assert row in report
    assert "examples have answers of their own" in report


def test_a_recipe_on_numbers_is_refused(here: Path):
    (here / "pairs.csv").write_text("a,score\nx,1\ny,2\n", encoding="utf-8")
    task = "{train: pairs.csv, test: pairs.csv, fields: [a], target: score, kind: number, bounds: [0, 5]}"
    (here / "pet.yaml").write_text(
        f"recipe: pet\nbackbone: softprompt/tiny-mlm\ntask: {task}\nwords: {{0: no, 1: yes}}\n"
        "patterns: ['{a} {mask}']\nout: run\n",
        encoding="utf-8",
    )
    settings = read_run(here / "pet.yaml")
    assert isinstance(settings, PetSettings)
    with pytest.raises(SettingsError, match="has a number"):
        run_recipe(settings)
