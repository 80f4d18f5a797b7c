"""A comparison beside a paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.published import FIGURES, beside, main
from softprompt.recipes.compare_file import read_compare
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.comparison_rows import BASELINE_LABELS
from softprompt.settings import read_yaml


def line(row: str, **changes: Any) -> dict[str, str]:
    values = {"backbone": "b", "task": "SST-2", "row": row, "metric": "accuracy", "set": "test"}
    values |= {"low": "0.55", "high": "0.65", "above_majority": "True", "selection": "dev"}
    return {**values, **changes}


def scored(row: str, name: str, *values: float) -> list[dict[str, str]]:
    own = {"task": "SST-2", "row": row, "metric": "accuracy", "set": name}
    return [{**own, "value": str(value)} for value in values]


def test_a_row_stands_beside_what_the_paper_reports() -> None:
    lines = [line("prompt"), line("words", above_majority="False", selection="none"), line("other")]
    results = [
        *scored("prompt", "test", 0.5, 0.7),
        *scored("prompt", "dev", 0.7, 0.9),
        *scored("words", "test", 0.6),
    ]
    searches = [
        {"backbone": "b", "task": "SST-2", "row": "words", "tied": tied, "fits": "10"}
        for tied in "31"
    ]
    table = beside(lines, results, {"SST-2": {"prompt": 92.7}}, searches).splitlines()
    assert table[0] == "| SST-2 | published | accuracy | 95 % interval | dev − test | tied on dev |"
    assert table[2] == "| prompt | 92.7 | 60.0 ± 10.0 | 55 to 65 | +20.0 | – |"
    assert table[3] == "| words | – | (60.0) | 55 to 65 | – | 3 of 10, 1 of 10 |"
    assert table[4] == "| other | – | – | 55 to 65 | – | – |"


@pytest.mark.parametrize("name", ["lm_bff", "wording"])
def test_every_published_figure_belongs_to_a_row_that_ships(name: str, tmp_path: Path) -> None:
    settings = read_compare(Path(name), [f"out={tmp_path}"], tmp_path)
    cells = plan(settings).cells
    rows = {(cell.task, cell.row.label) for cell in cells}
    tasks = {cell.task for cell in cells}
    rows |= {(task, BASELINE_LABELS[one]) for task in tasks for one in settings.baselines}
    figures = read_yaml(FIGURES / f"{name}.yaml")
    assert {(task, row) for task, own in figures.items() for row in own} <= rows


def test_a_folder_without_a_comparison_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "lm_bff"]) == 2
    assert "expected a finished comparison" in capsys.readouterr().err
