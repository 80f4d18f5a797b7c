from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import RunError, SettingsError
from softprompt.recipes.run_folder import RunFolder, write_lines, write_text
from softprompt.recipes.search.folder import SearchFolder

CONFIG = {"backbone": "b", "training": {"steps": 5}, "out": "x"}
DATA = {"train": "aaaa"}


def with_checkpoint(folder: RunFolder) -> RunFolder:
    (folder.path / "checkpoints" / "last").mkdir(parents=True)
    return folder


def test_a_new_folder_is_taken_and_not_resumed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.check(overwrite=False)
    assert folder.claim(CONFIG, DATA, overwrite=False) is False
    assert sorted(p.name for p in folder.path.iterdir()) == ["config.yaml", "data.json"]


def test_an_unfinished_run_goes_on_with_the_same_settings(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    with_checkpoint(folder)
    folder.check(overwrite=False)
    assert folder.claim({**CONFIG, "out": "elsewhere"}, DATA, overwrite=False) is True


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    with_checkpoint(folder)
    changed = {**CONFIG, "training": {"steps": 6}, "new": 1}
    with pytest.raises(SettingsError, match=r"these differ: training\.steps, new"):
        folder.claim(changed, DATA, overwrite=False)


def test_other_data_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    with_checkpoint(folder)
    with pytest.raises(SettingsError, match="other data: train changed"):
        folder.claim(CONFIG, {"train": "bbbb"}, overwrite=False)


def test_settings_may_change_as_long_as_nothing_was_learned(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    assert folder.claim({**CONFIG, "backbone": "other"}, DATA, overwrite=False) is False


def test_a_finished_run_is_not_touched_without_overwrite(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    (tmp_path / "done.json").write_text("{}")
    with pytest.raises(SettingsError, match="--overwrite"):
        folder.check(overwrite=False)
    folder.check(overwrite=True)


def test_overwriting_removes_what_a_run_leaves_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    with_checkpoint(folder)
    for name in ("done.json", "metrics.jsonl", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "seed-3" / "prompt").mkdir(parents=True)
    assert folder.claim(CONFIG, DATA, overwrite=True) is False
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["config.yaml", "data.json", "notes.txt"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match=r"no run \(thesis\.tex\)"):
        RunFolder(tmp_path).check(overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(SettingsError, match="is a file"):
        RunFolder(tmp_path / "run").check(overwrite=False)


@pytest.mark.parametrize("kind", [RunFolder, SearchFolder])
def test_a_folder_that_was_interrupted_while_it_was_taken_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[RunFolder | SearchFolder]
) -> None:
    replace, written = os.replace, []

    def interrupted(*paths: Path) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(paths)
        replace(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kind(tmp_path).claim(CONFIG, DATA, overwrite=False)
    monkeypatch.undo()
    folder = kind(tmp_path)
    folder.check(False) if isinstance(folder, RunFolder) else folder.check()
    folder.claim(CONFIG, DATA, overwrite=False)


def test_release_leaves_nothing_where_nothing_was_learned(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(CONFIG, DATA, overwrite=False)
    folder.release()
    assert not folder.path.exists()


def test_release_keeps_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(CONFIG, DATA, overwrite=False)
    with_checkpoint(folder)
    folder.release()
    assert (tmp_path / "config.yaml").is_file()


def test_a_full_disk_leaves_the_old_file_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("softprompt.recipes.run_folder.os.fsync", full)
    with pytest.raises(RunError, match=r"a\.txt: cannot be written: No space left on device"):
        write_text(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_lines_are_json(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": "好"}, {"a": None}]
    write_lines(tmp_path / "x.jsonl", rows)
    text = (tmp_path / "x.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == rows
    assert "好" in text
