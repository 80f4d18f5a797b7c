"""The manual's page on LM-BFF: its file and commands run, and it names every key of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.compare_file import read_compare, shipped_comparisons
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.lm_bff.settings import LmBffSettings
from softprompt.recipes.run_data import run_task
from softprompt.recipes.schema import RunSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/lm-bff.md"
QUICK = ("seeds=[13]", "k_shot=2", "test_limit=4", "training.steps=1", "training.evaluate_every=1")


def test_the_file_and_the_commands_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (searched, manual), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    quick = text.replace("fits: 4}", "fits: 1}").replace("steps: 50", "steps: 1")
    for whole, fewer in (
        ("templates, ", "templates, beam: 2, templates: 2, "),
        ("words, ", "words, top: 3, "),
    ):
        quick = quick.replace(whole, fewer)
    (here / "searched.yaml").write_text(quick, encoding="utf-8")
    for typed in (searched, manual):
        assert main([*typed[1:], *QUICK]) == 0, capsys.readouterr().err
        assert "final fit" in capsys.readouterr().out
    found = {path.name for path in (here / "runs/searched").iterdir()}
    assert {"1-templates", "2-words", "fit", "best.yaml", "report.md"} <= found


def test_the_page_names_every_key_of_the_recipe() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for key in set(LmBffSettings.model_fields) - set(RunSettings.model_fields):
        assert f"`{key}`" in text, key
    assert "](lm-bff.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["lm_bff", "lm_bff-paper"])
def test_the_shipped_tables_have_the_tasks_and_lists_of_their_files(
    name: str, shared: Path
) -> None:
    data = shared / "data"
    if not (data / "lm_bff_published").is_dir():
        pytest.skip("no published candidates")
    assert name in shipped_comparisons()
    laid = plan(read_compare(Path(name), data=data))
    assert all(cell.refused is None for cell in laid.cells)
    tasks = {}
    for cell in laid.cells:
        for run in cell.runs:
            assert run.settings is not None
            assert run.settings.variant == str(run.split)
            tasks[cell.task] = run.settings
        for step in getattr(cell.runs[0].settings, "search", ()):
            if listed := getattr(step, "candidates", None):
                filled = listed.replace("{data}", str(data)).replace("{seed}", "13")
                assert Path(filled).is_file(), filled
    for task, settings in tasks.items():
        assert "test" in run_task(settings).task.split_names, task
