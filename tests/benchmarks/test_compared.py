"""The one table of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compared import elsewhere, main, measured_by, pivot
from softprompt.recipes.compare_file import read_compare
from softprompt.recipes.comparison_plan import plan
from tests.conftest import ROOT

COLUMNS = "task,row,set,mean,sd,low,high,above_majority,learned,bytes,flops_per_example,seconds_per_fit,refused"


def line(row: str, task: str, mean: str = "0.75", **changes: Any) -> dict[str, str]:
    values = dict.fromkeys(COLUMNS.split(","), "")
    values |= {"task": task, "row": row, "set": "test", "mean": mean, "sd": "0.01"}
    return {**values, "above_majority": "True", "learned": "512.0", "bytes": "2048", **changes}


def test_rows_stand_over_tasks_and_what_is_not_told_from_majority_is_in_brackets() -> None:
    given = [
        line("prompt", "a"),
        line("prompt", "b", "0.5", above_majority="False"),
        line("majority class", "a", "0.5", sd="", above_majority="", learned="0", bytes=""),
        line("prompt", "a", "0.9", set="dev"),
        line("prefix", "a", "", refused="no room"),
    ]
    table = pivot(given).splitlines()
    assert table[0] == "|  | a | b | learned | stored, KB | GFLOPs an example | seconds a fit |"
    assert table[2] == "| prompt | 75.0 ± 1.0 | (50.0 ± 1.0) | 512 | 2.0 | – | – |"
    assert table[3].startswith("| majority class | 50.0 | – | 0 | – |")
    assert table[4].startswith("| prefix | refused | – |")


def test_intervals_stand_in_place_of_deviations_when_asked_for() -> None:
    given = [line("prompt", "a", low="0.7004", high="0.8")]
    assert "| prompt | 75.0 [70, 80] |" in pivot(given, intervals=True)


def test_sets_that_nothing_was_trained_on_are_shown_when_asked_for() -> None:
    given = [line("prompt", "a", metric="accuracy")]
    seeds = [
        {"task": "a", "row": "prompt", "metric": "accuracy", "set": name, "value": value}
        for name, value in (("test", "0.75"), ("on b", "0.5"), ("on b", "0.7"))
    ]
    more = elsewhere(given, seeds)
    assert [one["set"] for one in more] == ["on b"]
    assert "| 75.0 ± 1.0 | 60.0 ± 14.1 |" in pivot([*given, *more])


def test_of_several_tasks_each_other_set_says_what_was_trained_on() -> None:
    given = [line("prompt", "a"), line("prompt", "b")]
    more = [line("prompt", "a", "0.6", set="on b"), line("prompt", "b", "0.5", set="on a")]
    assert pivot([*given, *more]).startswith("|  | a | a, on b | b | b, on a | learned |")


def test_another_metric_is_shown_and_free_text_has_no_majority_to_be_told_from() -> None:
    given = [line("prompt", "a", "0.0", metric="exact_match", above_majority="", low="0", high="0")]
    seeds = [
        {"task": "a", "row": "prompt", "metric": metric, "set": name, "value": value}
        for metric, name, value in (
            ("exact_match", "test", "0.0"),
            ("token_f1", "test", "0.25"),
            ("token_f1", "on b", "0.125"),
        )
    ]
    assert measured_by(given, seeds, None) == given
    assert measured_by(given, seeds, "accuracy") == given
    assert "| 0.0 ± 1.0 |" in pivot(given)
    lines = measured_by(given, seeds, "token_f1")
    table = pivot([*lines, *elsewhere(lines, seeds)], intervals=True, corner="token_f1")
    assert table.startswith("| token_f1 | a | on b | learned |")
    assert "| prompt | 25.0 | 12.5 | 512 |" in table


def test_the_figures_are_kept_beside_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, results = tmp_path / "methods", tmp_path / "results"
    run.mkdir()
    assert main([str(run), "--results", str(results)]) == 2
    assert "no results.csv" in capsys.readouterr().err
    (run / "results.csv").write_text("task\n")
    values = line("prompt", "a")
    (run / "table.csv").write_text(COLUMNS + "\n" + ",".join(values.values()) + "\n")
    assert main([str(run), "--results", str(results)]) == 0
    assert sorted(path.name for path in (results / "methods").iterdir()) == [
        "results.csv",
        "table.csv",
        "table.md",
    ]
    assert "75.0 ± 1.0" in (results / "methods" / "table.md").read_text()


def test_each_metric_asked_for_has_a_table(tmp_path: Path) -> None:
    run = tmp_path / "pairs"
    run.mkdir()
    rows = "".join(f"a,prompt,test,{m},{v}\n" for m, v in (("f1", "0.75"), ("accuracy", "0.5")))
    (run / "results.csv").write_text(f"task,row,set,metric,value\n{rows}")
    values = line("prompt", "a", metric="f1")
    (run / "table.csv").write_text(",".join(values) + "\n" + ",".join(values.values()) + "\n")
    given = ["--results", str(tmp_path / "results"), "--metrics", "f1", "accuracy"]
    assert main([str(run), *given]) == 0
    first, second = (tmp_path / "results" / "pairs" / "table.md").read_text().split("\n\n")
    assert first.startswith("| f1 | a |")
    assert "| prompt | 75.0 ± 1.0 |" in first
    assert second.startswith("| accuracy | a |")
    assert "| prompt | 50.0 |" in second


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/comparisons").glob("*.yaml")), ids=lambda path: path.stem
)
def test_each_comparison_can_be_laid_out(path: Path) -> None:
    cells = plan(read_compare(path)).cells
    assert cells
    assert [cell.refused for cell in cells if cell.refused] == []
