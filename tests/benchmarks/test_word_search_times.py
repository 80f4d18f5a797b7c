"""Timing a label-word search: the loop beside it finds the same best, and nothing is measured twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import word_search
from benchmarks.cells import Cells
from benchmarks.word_search import main
from tests.benchmarks.conftest import Folders, content


def test_the_loop_and_ours_agree_on_the_best(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_search, "CASES", {"2 classes": (2, 5)})
    line = ["--models", folders("bert"), "--cases", "2 classes", "--rows", "3", "--rounds", "1"]
    line += ["--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    (cell,) = Cells(tmp_path / "word_search.jsonl")
    assert cell.record["possible"] == 25
    assert cell.record["same best"] is True
    assert "| 25 |" in left["word_search.md"].decode()

    def refuse(*given: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(word_search, "compare", refuse)
    main(line)
    assert content(tmp_path) == left
