"""A checkpoint is written whole or not at all, and read back bit for bit."""

from __future__ import annotations

import math
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import RunError
from softprompt.tuning import checkpoints
from softprompt.tuning.checkpoints import Checkpoint, checkpoint_folder, read, write


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"prompt": torch.full((4, 3), float(step))}, {"seen": step * 8})


def step_in(folder: Path) -> int | None:
    found = read(folder)
    if found is None:
        return None
    assert torch.equal(found.tensors["prompt"], torch.full((4, 3), float(found.step)))
    return found.step


def names_beside(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()}


@contextmanager
def no_file_larger_than(n_bytes: int) -> Iterator[None]:
    """A disk that refuses in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoint_folder(tmp_path / "run", "last")


def test_last_and_best_stand_side_by_side(tmp_path: Path):
    for step, which in [(3, "best"), (5, "last")]:
        write(checkpoint_folder(tmp_path, which), checkpoint(step))
    assert names_beside(tmp_path / "checkpoints" / "last") == {"last", "best"}
    assert step_in(tmp_path / "checkpoints" / "best") == 3
    assert step_in(tmp_path / "checkpoints" / "last") == 5


def test_where_nothing_was_written_there_is_no_checkpoint(folder: Path):
    assert read(folder) is None
    folder.mkdir(parents=True)
    assert read(folder) is None
    write(folder, checkpoint(1))
    assert step_in(folder) == 1


def test_a_new_checkpoint_takes_the_place_of_the_old_one_and_leaves_nothing_else(folder: Path):
    for step in (1, 2, 3):
        write(folder, checkpoint(step))
        assert step_in(folder) == step
        assert names_beside(folder) == {"last"}
    assert {path.name for path in folder.iterdir()} == {"tensors.safetensors", "state.json"}


def test_tensors_of_any_type_and_shape_come_back_bit_for_bit(folder: Path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "f32": torch.tensor([math.nan, -0.0, 1e-45, math.inf]),
        "bf16": torch.randn(3, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "generator|0": torch.Generator().manual_seed(7).get_state(),
        "0|step": torch.tensor(3),
        "none": torch.zeros(0, 5),
        "turned": base.t(),
        "a view": base[1:],
        "the same again": base,
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    write(folder, Checkpoint(1, tensors))
    found = read(folder)
    assert found is not None
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        got = found.tensors[name]
        assert (got.dtype, got.shape) == (tensor.dtype, tensor.shape)
        torch.testing.assert_close(got, tensor.detach(), rtol=0, atol=0, equal_nan=True)
    assert math.copysign(1, found.tensors["f32"][1]) == -1


def test_a_checkpoint_may_hold_no_tensors(folder: Path):
    write(folder, Checkpoint(1, {}, {"a": 1}))
    assert read(folder) == Checkpoint(1, {}, {"a": 1})


def test_what_was_read_stays_when_the_next_checkpoint_replaces_it(folder: Path):
    write(folder, checkpoint(1))
    found = read(folder)
    assert found is not None
    write(folder, checkpoint(2))
    assert torch.equal(found.tensors["prompt"], torch.full((4, 3), 1.0))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(state=st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_every_json_state_comes_back_the_same(state):
    assert checkpoints._decoded(checkpoints._encoded(state, "state")) == state


def test_floats_come_back_bit_for_bit_also_inf_and_nan(folder: Path):
    values = [0.1, 1 / 3, 5e-324, -0.0, 1.7976931348623157e308, math.inf, -math.inf]
    write(folder, Checkpoint(1, {}, {"values": values, "nan": math.nan, "text": "inf", "汉": "好"}))
    found = read(folder)
    assert found is not None
    assert [value.hex() for value in found.state["values"]] == [value.hex() for value in values]
    assert math.isnan(found.state["nan"])
    assert (found.state["text"], found.state["汉"]) == ("inf", "好")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"fits": [{1: "a"}]}, r"state.fits\[0\]: key 1: expected a text"),
        ({"a": {"b": torch.zeros(2)}}, "state.a.b: a Tensor is no JSON value"),
        ({"a": {1, 2}}, "state.a: a set is no JSON value"),
        ({"__float__": "1"}, "key '__float__'"),
    ],
)
def test_a_state_that_json_would_change_is_refused_before_anything_is_written(
    folder: Path, state: dict, message: str
):
    write(folder, checkpoint(1))
    with pytest.raises(RunError, match=message):
        write(folder, Checkpoint(2, {}, state))
    assert step_in(folder) == 1
    assert names_beside(folder) == {"last"}


@pytest.mark.parametrize("limit", [100, 5_000])
def test_a_full_disk_keeps_the_last_good_checkpoint_and_leaves_nothing_half_written(
    folder: Path, limit: int
):
    # 100 bytes refuse the tensors; 5,000 let them pass and refuse the state.
    write(folder, checkpoint(1))
    big = Checkpoint(2, {"prompt": torch.full((4, 3), 2.0)}, {"text": "x" * 10_000})
    with (
        no_file_larger_than(limit),
        pytest.raises(RunError, match=r"checkpoint of step 2 .* \(step 1\) is kept in .*last"),
    ):
        write(folder, big)
    assert step_in(folder) == 1
    assert names_beside(folder) == {"last"}
    write(folder, big)
    assert step_in(folder) == 2


def test_a_full_disk_at_the_first_checkpoint_says_that_there_is_none(folder: Path):
    with (
        no_file_larger_than(100),
        pytest.raises(RunError, match="there is no earlier one in that place"),
    ):
        write(folder, checkpoint(1))
    assert read(folder) is None
    assert names_beside(folder) == set()


@pytest.mark.parametrize("refused", [1, 2])
def test_a_rename_that_fails_puts_the_old_checkpoint_back(folder: Path, monkeypatch, refused: int):
    write(folder, checkpoint(1))
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == refused:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(RunError, match=r"No space left on device; .*step 1\) is kept"):
        write(folder, checkpoint(2))
    monkeypatch.undo()
    assert step_in(folder) == 1
    assert names_beside(folder) == {"last"}


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


# Every call that touches the disk, as `write` makes them.
MOMENTS = [
    (checkpoints.Path, "mkdir"),
    (checkpoints, "save_file"),
    (checkpoints.os, "fsync"),
    (checkpoints.Path, "rename"),
    (checkpoints.shutil, "rmtree"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 10))  # the calls of one write
def test_a_run_killed_at_any_moment_of_writing_has_a_whole_checkpoint(
    folder: Path, monkeypatch, number: int, after: bool
):
    write(folder, checkpoint(1))
    calls = 0

    def killing(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == number and not after:
                raise Killed
            result = function(*args, **kwargs)
            if calls == number:
                raise Killed
            return result

        return call

    for place, name in MOMENTS:
        monkeypatch.setattr(place, name, killing(getattr(place, name)))
    with pytest.raises(Killed):
        write(folder, checkpoint(2))
    monkeypatch.undo()

    assert step_in(folder) in {1, 2}  # read, before anything repairs
    write(folder, checkpoint(3))
    assert step_in(folder) == 3
    assert names_beside(folder) == {"last"}


def test_between_the_two_renames_the_new_checkpoint_counts(folder: Path):
    write(folder, checkpoint(1))
    folder.rename(folder.parent / ".last.old")
    write(folder, checkpoint(2))
    assert names_beside(folder) == {"last"}
    write(folder.parent / "spare", checkpoint(1))
    folder.rename(folder.parent / ".last.new")
    (folder.parent / "spare").rename(folder.parent / ".last.old")
    assert step_in(folder) == 2


def test_between_the_two_renames_a_damaged_new_one_gives_way_to_the_old(folder: Path):
    write(folder, checkpoint(1))
    shutil.copytree(folder, folder.parent / ".last.new")
    (folder.parent / ".last.new" / "state.json").unlink()
    folder.rename(folder.parent / ".last.old")
    assert step_in(folder) == 1


def test_leftovers_of_a_first_write_that_was_cut_off_are_ignored(folder: Path):
    leftover = folder.parent / ".last.new"
    leftover.mkdir(parents=True)
    (leftover / "tensors.safetensors").write_bytes(b"half")
    assert read(folder) is None
    write(folder, checkpoint(1))
    assert step_in(folder) == 1
    assert names_beside(folder) == {"last"}


def test_leftovers_beside_a_whole_checkpoint_are_ignored(folder: Path):
    write(folder, checkpoint(1))
    for name in (".last.new", ".last.old"):
        (folder.parent / name).mkdir()
    assert step_in(folder) == 1
    write(folder, checkpoint(2))
    assert names_beside(folder) == {"last"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tensors.safetensors", b"", "does not match its hash"),
        ("tensors.safetensors", None, "No such file"),
        ("state.json", b'{"format": 1, "st', "not JSON"),
        ("state.json", b"\xff\xfe", "not JSON"),
        ("state.json", b'{"format": 2}', "expected checkpoint format 1, found 2"),
        ("state.json", b"[]", "expected checkpoint format 1, found None"),
        ("state.json", b'{"format": 1, "step": 1}', "'tensors' is missing"),
        ("state.json", None, "No such file"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, file: str, content: bytes | None, message: str):
    write(folder, checkpoint(1))
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(RunError, match=f"last/{file}: .*{message}"):
        read(folder)


def test_one_flipped_bit_in_the_tensors_is_found(folder: Path):
    write(folder, checkpoint(1))
    content = bytearray((folder / "tensors.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "tensors.safetensors").write_bytes(content)
    with pytest.raises(RunError, match="hash"):
        read(folder)


def test_a_file_where_the_folder_should_be_is_an_error(folder: Path):
    folder.parent.mkdir(parents=True)
    folder.write_text("mine", encoding="utf-8")
    for action in (lambda: read(folder), lambda: write(folder, checkpoint(1))):
        with pytest.raises(RunError, match="expected a folder with a checkpoint, found a file"):
            action()
    assert folder.read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_run_error(folder: Path):
    write(folder, checkpoint(1))
    folder.parent.chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"Permission denied; .*step 1\) is kept"):
            write(folder, checkpoint(2))
    finally:
        folder.parent.chmod(0o700)
    assert step_in(folder) == 1
