"""The loops that ours is timed against fill in the same scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import filling
from benchmarks.cells import Cells
from benchmarks.filling import CANDIDATES, bound, main, possible
from benchmarks.measuring import open_backbone
from softprompt.errors import SettingsError
from tests.benchmarks.conftest import Folders, content


def test_both_loops_and_ours_give_the_same_scores(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "FIRST", "a the")
    monkeypatch.setattr(filling, "LAST", "film dull xy odd")
    monkeypatch.setattr(filling, "SYLLABLES", "a e i o")
    line = ["--models", folders("bert"), "--examples", "2", "--candidates", "5", "--rounds", "1"]
    line += ["--words", "3", "--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    cells = list(Cells(tmp_path / "filling.jsonl"))
    assert {cell.place["kind"] for cell in cells} == set(filling.CANDIDATES)
    for cell in cells:
        assert cell.record["difference"] < 1e-4
        assert all(cell.record[f"{way}, s"] > 0 for way in filling.WAYS)
    assert left["filling.md"].decode().count("×") == 4

    def refuse(*given: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(filling, "compare", refuse)
    main(line)
    assert content(tmp_path) == left


def test_there_are_candidates_of_two_to_four_tokens(folders: Folders) -> None:
    applied = bound(open_backbone("tiny-mlm"))
    assert all(len(possible(applied, kind)) >= 100 for kind in CANDIDATES)
    with pytest.raises(SettingsError, match="no masks"):
        bound(open_backbone(folders("gpt2")))


def test_no_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--models is missing" in capsys.readouterr().err
