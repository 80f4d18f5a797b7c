"""Every refusal with its reason, and what is left on disk when a save does not get through."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from softprompt.errors import PromptError, RunError
from softprompt.prompts import folder as folder_module
from softprompt.prompts.addition import Addition
from softprompt.prompts.folder import read_record, safe_name
from softprompt.prompts.prompt import Prompt
from softprompt.prompts.record import KEYS, content_hash

Make = Callable[..., Prompt]


@pytest.fixture
def mood(make_prompt: Make, tmp_path: Path) -> Path:
    """A good prompt on disk."""
    make_prompt().save(tmp_path / "mood")
    return tmp_path / "mood"


def _change_record(folder: Path, **changes: Any) -> None:
    path = folder / "prompt.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, **changes}), encoding="utf-8")


def _forge(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other tensors with a record that agrees, so that only the tensors can be at fault."""
    (folder / "prompt.safetensors").write_bytes(safetensors.torch.save(tensors))
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    _change_record(folder, tensors=shapes)
    single = {name: tensor.float() for name, tensor in tensors.items()}
    _change_record(folder, content_hash=content_hash(single, read_record(folder)))


# --- loading ----------------------------------------------------------------------------------


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"mood: expected a prompt folder, no such folder"):
        Prompt.load(tmp_path / "mood")
    with pytest.raises(PromptError, match=r"no such folder"):
        Prompt.load(tmp_path / "no" / "where" / "mood")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mood").write_text("x")
    with pytest.raises(PromptError, match="it is a file"):
        Prompt.load(tmp_path / "mood")


@pytest.mark.parametrize("name", ["prompt.json", "prompt.safetensors"])
def test_a_missing_file_is_named(name: str, mood: Path) -> None:
    (mood / name).unlink()
    with pytest.raises(PromptError, match=rf"{name}: no such file"):
        Prompt.load(mood)


def test_a_prompt_without_its_card_is_still_a_prompt(mood: Path) -> None:
    (mood / "README.md").unlink()
    Prompt.load(mood)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"method": "x",\n oops}', r"prompt\.json, line 2, column 2: not JSON"),
        (b"", r"line 1, column 1: not JSON"),
        (b'{"method": "\xff"}', r"not UTF-8 at byte 12"),
        (b"[1]", r"expected a mapping, got a list"),
        (b"[" * 100_000, r"nested too deeply|not JSON"),
        (pickle.dumps({"format_version": 1}), r"not UTF-8|not JSON"),
    ],
)
def test_a_record_that_is_no_json_mapping_is_refused(
    content: bytes, message: str, mood: Path
) -> None:
    (mood / "prompt.json").write_bytes(content)
    with pytest.raises(PromptError, match=message):
        Prompt.load(mood)


@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.0])
def test_an_unknown_format_version_is_refused(version: Any, mood: Path) -> None:
    _change_record(mood, format_version=version)
    with pytest.raises(PromptError, match=r"'format_version': expected 1, got"):
        Prompt.load(mood)


def test_a_newer_format_version_says_to_upgrade(mood: Path) -> None:
    _change_record(mood, format_version=2)
    with pytest.raises(PromptError, match=r"version 2 is newer .*\(up to 1\): upgrade softprompt"):
        Prompt.load(mood)


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"format_version"}))
def test_a_missing_key_is_named(key: str, mood: Path) -> None:
    record = json.loads((mood / "prompt.json").read_text(encoding="utf-8"))
    del record[key]
    (mood / "prompt.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(PromptError, match=rf"prompt\.json: '{key}' is missing"):
        Prompt.load(mood)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({key: True}, rf"'{key}': expected ") for key in sorted(set(KEYS) - {"format_version"})),
        ({"scores": ["best"]}, r"'scores\[0\]': expected a mapping, got 'best'"),
        ({"tensors": {"rows": [3, True]}}, r"'tensors\.rows': expected a list of sizes"),
        ({"backbone": {"name": "x"}}, r"backbone: 'family' is missing|content hash"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(
    changes: dict[str, Any], message: str, mood: Path
) -> None:
    _change_record(mood, **changes)
    with pytest.raises(PromptError, match=message):
        Prompt.load(mood)


@pytest.mark.parametrize("kept", [0, 4, 7, 60, -1])
def test_a_truncated_tensors_file_is_refused(kept: int, mood: Path) -> None:
    path = mood / "prompt.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PromptError, match=r"prompt\.safetensors: truncated or corrupt"):
        Prompt.load(mood)


def test_a_pickle_in_place_of_the_tensors_is_refused_and_never_run(
    mood: Path, tmp_path: Path
) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (mood / "prompt.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(PromptError, match="truncated or corrupt"):
        Prompt.load(mood)
    assert not (tmp_path / "ran").exists()


def test_one_flipped_bit_is_a_hash_mismatch(mood: Path) -> None:
    path = mood / "prompt.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(PromptError, match="the content hash does not match"):
        Prompt.load(mood)


def test_an_edited_template_is_a_hash_mismatch(mood: Path) -> None:
    _change_record(mood, template="{soft:3}{text} All in all {mask}.")
    with pytest.raises(PromptError, match="the content hash does not match"):
        Prompt.load(mood)


def test_scores_may_be_added_to_a_saved_prompt(mood: Path) -> None:
    _change_record(mood, scores=[{"split": "test", "metric": "accuracy", "value": 0.75}])
    assert Prompt.load(mood).scores[0]["split"] == "test"


def test_another_dtype_is_refused(mood: Path) -> None:
    _forge(mood, {"rows": torch.ones(3, 4, dtype=torch.float16)})
    with pytest.raises(PromptError, match=r"tensor 'rows': expected float32, got torch\.float16"):
        Prompt.load(mood)


def test_another_shape_than_the_record_says_is_refused(mood: Path) -> None:
    _forge(mood, {"rows": torch.ones(3, 4)})
    _change_record(mood, tensors={"rows": [4, 3]})
    with pytest.raises(PromptError, match=r"expected shape \[4, 3\] .*got \[3, 4\]"):
        Prompt.load(mood)


def test_rows_that_are_no_matrix_are_refused(mood: Path) -> None:
    _forge(mood, {"rows": torch.ones(12)})
    with pytest.raises(PromptError, match=r"mood: prompt rows: expected .*\[P, E\].*\[12\]"):
        Prompt.load(mood)


def test_tensors_that_the_record_does_not_list_are_refused(mood: Path) -> None:
    _forge(mood, {"rows": torch.ones(3, 4), "extra": torch.ones(1)})
    _change_record(mood, tensors={"rows": [3, 4]})
    with pytest.raises(PromptError, match=r"expected the tensors \['rows'\] .*'extra'"):
        Prompt.load(mood)


def test_tensors_of_a_later_version_are_refused_by_name(mood: Path) -> None:
    _forge(mood, {"rows": torch.ones(3, 4), "keys": torch.ones(1)})
    with pytest.raises(PromptError, match=r"unknown tensors in a prompt: keys.*upgrade"):
        Prompt.load(mood)


def test_numbers_that_are_not_finite_are_counted(mood: Path) -> None:
    rows = torch.ones(3, 4)
    rows[0] = float("nan")
    rows[2, 1] = float("inf")
    _forge(mood, {"rows": rows})
    with pytest.raises(PromptError, match=r"safetensors: tensor 'rows': 5 of 12 numbers are not"):
        Prompt.load(mood)


# --- saving -----------------------------------------------------------------------------------


def _left_beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def test_a_prompt_is_not_overwritten_unasked(make_prompt: Make, mood: Path) -> None:
    before = (mood / "prompt.json").read_bytes()
    with pytest.raises(PromptError, match=r"a prompt is there already; .*--overwrite"):
        make_prompt(notes="another").save(mood)
    assert (mood / "prompt.json").read_bytes() == before


def test_overwrite_replaces_the_whole_folder(make_prompt: Make, mood: Path) -> None:
    make_prompt(addition=Addition(torch.ones(5, 4)), notes="another").save(mood, overwrite=True)
    again = Prompt.load(mood)
    assert (again.addition.n_rows, again.notes) == (5, "another")
    assert _left_beside(mood) == []


def test_an_empty_folder_is_free(make_prompt: Make, tmp_path: Path) -> None:
    (tmp_path / "mood").mkdir()
    make_prompt().save(tmp_path / "mood")
    Prompt.load(tmp_path / "mood")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_prompt_is_never_replaced(
    overwrite: bool, make_prompt: Make, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PromptError, match="something that is no prompt"):
        make_prompt().save(tmp_path, overwrite=overwrite)
    with pytest.raises(PromptError, match="something that is no prompt"):
        make_prompt().save(tmp_path / "thesis.txt", overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_files_beside_a_prompt_are_never_removed(make_prompt: Make, mood: Path) -> None:
    (mood / "thesis.txt").write_text("years of work")
    with pytest.raises(PromptError, match=r"other files \(thesis\.txt\)"):
        make_prompt().save(mood, overwrite=True)
    assert (mood / "thesis.txt").exists()


def test_a_link_to_a_prompt_stays_a_link(make_prompt: Make, mood: Path) -> None:
    link = mood.parent / "current"
    link.symlink_to(mood)
    make_prompt(notes="another").save(link, overwrite=True)
    assert link.is_symlink()
    assert Prompt.load(mood).notes == "another"


@pytest.mark.parametrize("name", ["prompt.safetensors", "prompt.json", "README.md"])
@pytest.mark.parametrize("there_before", [False, True])
def test_a_full_disk_leaves_nothing_half_written(
    name: str,
    there_before: bool,
    make_prompt: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if there_before:
        make_prompt(notes="before").save(tmp_path / "mood")
    write = folder_module.write_bytes

    def full(path: Path, content: bytes) -> None:
        write(path, content[:10])
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module, "write_bytes", full)
    with pytest.raises(RunError, match=r"mood: .*No space left on device; .* unchanged"):
        make_prompt(notes="after").save(tmp_path / "mood", overwrite=True)
    assert _left_beside(tmp_path / "mood") == []
    assert (tmp_path / "mood").exists() == there_before
    if there_before:
        assert Prompt.load(tmp_path / "mood").notes == "before"


def test_a_rename_that_fails_brings_the_old_prompt_back(
    make_prompt: Make, mood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunError, match="Input/output error"):
        make_prompt(notes="after").save(mood, overwrite=True)
    assert Prompt.load(mood).notes == "A test."
    assert _left_beside(mood) == []


def test_an_interrupt_while_writing_cleans_up(
    make_prompt: Make, mood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_prompt().save(mood, overwrite=True)
    assert _left_beside(mood) == []
    Prompt.load(mood)


def test_what_a_killed_save_left_behind_disturbs_nobody(make_prompt: Make, mood: Path) -> None:
    left = mood.parent / ".mood.0badc0de.partial"
    left.mkdir()
    (left / "prompt.safetensors").write_bytes(b"half a fi")
    Prompt.load(mood)
    make_prompt(notes="after").save(mood, overwrite=True)
    assert Prompt.load(mood).notes == "after"
    assert _left_beside(mood) == [left.name]


def test_a_save_killed_between_its_renames_says_where_the_old_prompt_lies(
    make_prompt: Make, mood: Path
) -> None:
    mood.rename(mood.parent / ".mood.0badc0de.old")
    with pytest.raises(PromptError, match=r"rename .*\.mood\.0badc0de\.old back to mood"):
        Prompt.load(mood)
    make_prompt(notes="after").save(mood)
    assert Prompt.load(mood).notes == "after"


def test_an_old_prompt_that_cannot_be_removed_is_reported_and_the_new_one_is_there(
    make_prompt: Make, mood: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, ignore_errors: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.warns(UserWarning, match=r"could not be removed .*Permission denied"):
        make_prompt(notes="after").save(mood, overwrite=True)
    assert Prompt.load(mood).notes == "after"


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mood", "team/mood", "sst-2_v1.0", "心情"])
def test_plain_names_are_safe(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/../b", "/etc/a", "a//b", "a/", "./a", ".a", "a/.b", "//host/share"],
)
def test_names_that_leave_the_root_or_hide_are_refused(name: str) -> None:
    with pytest.raises(PromptError, match="expected a plain name"):
        safe_name(name)


@pytest.mark.parametrize("name", ["a\\..\\b", "C:a", "a\0b", "a\nb"])
def test_names_that_another_system_reads_as_paths_are_refused(name: str) -> None:
    with pytest.raises(PromptError, match="expected a plain name"):
        safe_name(name)


def test_a_folder_of_several_names_a_prompt_inside(make_prompt: Make, tmp_path: Path) -> None:
    make_prompt().save(tmp_path / "recipe" / "seed-13" / "fit" / "prompt")
    with pytest.raises(PromptError, match=r"no prompt folder; there is one inside: .*fit/prompt"):
        Prompt.load(tmp_path / "recipe")
