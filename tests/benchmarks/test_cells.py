from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cells import Cells, markdown, spread
from softprompt.errors import DataError

PLACE = {"method": "full tuning", "seed": 0}


def test_a_cell_that_is_there_is_not_measured_again(tmp_path: Path) -> None:
    for _ in range(2):
        cells = Cells(tmp_path / "cells.jsonl")
        found = cells.measure(PLACE, {"steps": 3}, lambda: {"accuracy": 0.5})
        assert found["accuracy"] == 0.5
    with pytest.raises(ZeroDivisionError):
        cells.measure({**PLACE, "seed": 1}, {"steps": 3}, lambda: {"accuracy": 1 / 0})
    assert len(Cells(cells.path)) == 1
    assert cells.measure(PLACE, {"steps": 3}, dict) == found


def test_other_settings_are_another_measurement_and_the_later_one_counts(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells.jsonl")
    cells.add(PLACE, {"steps": 3}, {"accuracy": 0.5})
    assert cells.record(PLACE, {"steps": 4}) is None
    cells.add(PLACE, {"steps": 4}, {"accuracy": 0.6})
    again = Cells(cells.path)
    assert len(again) == 1
    assert again.record(PLACE) == {"accuracy": 0.6}
    again.tidy()
    (line,) = cells.path.read_text(encoding="utf-8").splitlines()
    assert '"accuracy": 0.6' in line
    assert '"torch"' in line


def test_tuples_are_the_lists_that_will_be_read_back(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells.jsonl")
    cells.add(PLACE, {"betas": (0.9, 0.98)}, {"n": 1})
    assert cells.record(PLACE, {"betas": (0.9, 0.98)}) == {"n": 1}
    assert Cells(cells.path).record(PLACE, {"betas": (0.9, 0.98)}) == {"n": 1}


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells.jsonl")
    cells.add(PLACE, {}, {"text": "好"})
    cells.add({**PLACE, "seed": 1}, {}, {"text": "差"})
    cells.path.write_bytes(cells.path.read_bytes()[:-30])
    again = Cells(cells.path)
    assert len(again) == 1
    again.add({**PLACE, "seed": 1}, {}, {"text": "差"})
    assert len(Cells(cells.path)) == 2


def test_a_line_that_is_no_cell_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"cells\.jsonl, line 1: no measured cell"):
        Cells(path)


def test_the_spread_is_the_mean_and_the_sample_deviation_in_per_cent() -> None:
    assert spread([0.5, 0.6]) == "55.0 ± 7.1"  # 10 / √2
    assert spread([0.5]) == "50.0"
    assert spread([]) == "–"


def test_a_table_has_a_head_and_a_rule() -> None:
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
