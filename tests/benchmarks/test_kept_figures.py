"""Parts of a comparison that were run apart, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compared import main
from benchmarks.kept import joined, keep, read_lines, write_lines
from softprompt.analysis.significance import wilson

Part = tuple[list[dict[str, str]], list[dict[str, str]]]


def result(row: str, seed: int, value: float, name: str = "test") -> dict[str, str]:
    own = {"backbone": "b", "task": "t", "row": row, "seed": str(seed), "data_split": str(seed)}
    return {**own, "set": name, "metric": "accuracy", "value": str(value), "n": "300"}


def summed(row: str, mean: float, **changes: Any) -> dict[str, str]:
    own = {"backbone": "b", "task": "t", "row": row, "metric": "accuracy", "set": "test"}
    own |= {"n": "300", "fits": "1", "mean": str(mean), "sd": "", "dev_mean": "", "refused": ""}
    own |= {"low": "0.1", "high": "0.9", "interval": "Wilson", "majority_p_holm": "0.01"}
    own |= {"above_majority": "True", "learned": "512", "bytes": "2048"}
    own |= {"flops_per_example": "", "seconds_per_fit": ""}
    return {**own, **changes}


def part(row: str, *scores: tuple[int, float], **changes: Any) -> Part:
    mean = sum(value for _, value in scores) / len(scores)
    return [result(row, *one) for one in scores], [summed(row, mean, **changes)]


def test_other_seeds_go_into_a_row_as_if_it_had_been_run_whole() -> None:
    results, (line,) = joined(part("prompt", (0, 0.5), (1, 0.6)), part("prompt", (2, 0.76)))
    assert [one["seed"] for one in results] == ["0", "1", "2"]
    assert (line["fits"], float(line["mean"])) == ("3", pytest.approx(0.62))
    assert float(line["sd"]) == pytest.approx(0.1311488)
    interval = wilson(186, 300)
    assert (float(line["low"]), float(line["high"])) == (interval.low, interval.high)
    assert line["above_majority"] == line["majority_p_holm"] == ""  # need every row's predictions


def test_an_interval_that_needs_the_predictions_is_not_guessed() -> None:
    _, (line,) = joined(part("prompt", (0, 0.5)), part("prompt", (1, 0.6), interval="bootstrap"))
    assert (line["low"], line["high"], line["interval"]) == ("", "", "")


def test_a_row_of_one_part_alone_stays_as_it_is() -> None:
    _, lines = joined(part("prompt", (0, 0.5)), part("head", (0, 0.6)))
    assert lines == [summed("prompt", 0.5), summed("head", 0.6)]


def test_a_row_that_was_run_anew_takes_the_place_of_the_earlier_one() -> None:
    results, lines = joined(part("prompt", (0, 0.5)), part("prompt", (0, 0.6), (1, 0.7)))
    assert [one["value"] for one in results] == ["0.6", "0.7"]
    assert lines == part("prompt", (0, 0.6), (1, 0.7))[1]


def test_a_refused_row_takes_nothing_away() -> None:
    nothing = ([], [{**summed("prompt", 0.5), "mean": "", "refused": "no room"}])
    earlier = part("prompt", (0, 0.5))
    assert joined(earlier, nothing)[1] == joined(nothing, earlier)[1] == earlier[1]


def test_the_scores_on_dev_are_joined_too() -> None:
    parts = [part("prompt", (seed, 0.5)) for seed in (0, 1)]
    for seed, (results, _) in enumerate(parts):
        results.append(result("prompt", seed, 0.6 + 0.2 * seed, "dev"))
    assert float(joined(*parts)[1][0]["dev_mean"]) == pytest.approx(0.7)


def test_columns_that_an_earlier_version_did_not_write_are_empty(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [{"row": "x"}, {"row": "y", "new": "1"}])
    assert read_lines(tmp_path / "a.csv") == [{"row": "x", "new": ""}, {"row": "y", "new": "1"}]


def test_the_command_joins_only_when_asked(tmp_path: Path) -> None:
    for seed, value in ((0, 0.5), (1, 0.7)):
        place = tmp_path / str(seed) / "run"
        place.mkdir(parents=True)
        results, lines = part("prompt", (seed, value))
        write_lines(place / "results.csv", results)
        write_lines(place / "table.csv", lines)
    kept = tmp_path / "results"
    given = ["--results", str(kept)]
    table = kept / "run" / "table.md"
    assert main([str(tmp_path / "0" / "run"), "--join", *given]) == 0  # nothing there yet
    assert "| prompt | 50.0 |" in table.read_text()
    assert main([str(tmp_path / "1" / "run"), "--join", *given]) == 0
    assert "| prompt | 60.0 ± 14.1 |" in table.read_text()
    assert main([str(tmp_path / "1" / "run"), *given]) == 0
    assert "| prompt | 70.0 |" in table.read_text()
    assert len(keep(tmp_path / "0" / "run", kept / "run", join=True)[0]) == 2
