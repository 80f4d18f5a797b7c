"""Timing drawn demonstrations: a row for each number of draws, and nothing is measured twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import demonstrations
from benchmarks.cells import Cells
from benchmarks.demonstrations import main
from tests.benchmarks.conftest import content


def test_rows_with_demonstrations_are_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstrations, "DRAWS", (0, 1, 2))
    monkeypatch.setattr(demonstrations, "K_SHOT", 2)
    line = ["--models", "tiny-mlm", "--rows", "2", "--rounds", "1", "--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    (cell,) = Cells(tmp_path / "demonstrations.jsonl")
    assert cell.record["positions, 1"] > cell.record["positions, 0"]
    assert left["demonstrations.md"].decode().count("\n| tiny-mlm |") == 3

    def refuse(*given: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(demonstrations, "compare", refuse)
    main(line)
    assert content(tmp_path) == left
