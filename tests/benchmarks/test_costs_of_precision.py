from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cells import Cells
from benchmarks.quantised import PRECISIONS, main
from tests.benchmarks.conftest import TINY, Folders, content


def test_every_precision_gets_its_costs_and_scores(
    folders: Folders, tmp_path: Path, never: Callable[[], None]
) -> None:
    line = ["--models", folders("bert"), "--tests", "softprompt/reviews-en", "--seeds", "2"]
    line += ["--rounds", "2", *TINY, "--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    rows = left["quantised.md"].decode().splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == list(PRECISIONS)
    assert all(row.count("±") == 1 and "–" not in row for row in rows)
    cells = Cells(tmp_path / "quantised.jsonl")
    cost = {c.place["precision"]: c.record for c in cells if c.place["method"] == "cost"}
    sizes = [cost[precision]["weight_bytes"] for precision in PRECISIONS]
    assert sizes[1] < sizes[0]
    assert sizes[2] < sizes[0]
    assert cost["float32"]["step_ratio"] == 1.0
    never()
    main(line)
    assert content(tmp_path) == left


def test_no_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--models is missing" in capsys.readouterr().err
