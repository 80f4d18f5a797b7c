from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.adaptation import kept_models, main
from benchmarks.cells import Cells
from softprompt.errors import UsageError
from tests.benchmarks.conftest import TINY, Folders, content

ONE = ["--tests", "softprompt/reviews-en", "--seeds", "2", *TINY]


def test_the_ablation_has_both_ways_of_answering_in_each_setting(
    folders: Folders, tmp_path: Path, never: Callable[[], None]
) -> None:
    models = ["--span", folders("t5-1.1"), "--lm", folders("t5-1.1", seed=1)]
    line = ["ablation", *models, *ONE, "--results", str(tmp_path)]
    main(line)
    table = (tmp_path / "adaptation-ablation.md").read_text(encoding="utf-8")
    assert "| greedy accuracy | illegal outputs | rank accuracy |" in table
    assert len(table.splitlines()) == 2 + 3 * 2
    assert "–" not in table
    cells = {cell.place["setting"]: cell.settings for cell in Cells(tmp_path / "adaptation.jsonl")}
    assert cells["span corruption + sentinel"]["objective"]["sentinel_answers"]
    assert cells["span corruption"]["weights"] != cells["LM adaptation"]["weights"]
    left = content(tmp_path)
    never()
    main(line)
    assert content(tmp_path) == left


def test_the_curve_measures_every_kept_model_and_draws_it(
    folders: Folders, tmp_path: Path, never: Callable[[], None]
) -> None:
    for step in (0, 100):
        shutil.copytree(folders("t5-1.1", seed=step), tmp_path / f"run/models/step-{step:06d}")
    (tmp_path / "run/models/step-000200").mkdir()  # not written yet
    line = ["curve", "--run", str(tmp_path / "run"), *ONE, "--results", str(tmp_path / "found")]
    main(line)
    left = content(tmp_path / "found")
    assert left["adaptation-curve.png"].startswith(b"\x89PNG")
    rows = left["adaptation-curve.md"].decode().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 0", "| 100"]
    never()
    main(line)
    assert content(tmp_path / "found") == left


def test_a_masked_backbone_has_no_such_ablation(folders: Folders, tmp_path: Path) -> None:
    line = ["ablation", "--span", folders("bert"), *ONE, "--results", str(tmp_path)]
    with pytest.raises(SystemExit, match="expected an encoder-decoder, got a masked model"):
        main(line)


def test_a_run_without_kept_models_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run with keep_models"):
        kept_models(tmp_path)
