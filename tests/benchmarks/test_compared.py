"""The one table of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compared import elsewhere, main, pivot

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
    assert table[4].startswith("| prefix | refused | refused |")


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
