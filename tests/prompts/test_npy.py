from __future__ import annotations

import errno
import hashlib
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softprompt.errors import PromptError, RunError
from softprompt.prompts import npy
from softprompt.prompts.npy import is_npy, read_npy_prompt, write_npy_prompt

RELEASED = "prompts/t5_1_1_lm100k_base"


def _save(path: Path, array: np.ndarray) -> Path:  # type: ignore[type-arg]
    with path.open("wb") as file:
        np.save(file, array)
    return path


# specs of the released prompts: sha256, mean row norm, element standard deviation
@pytest.mark.parametrize(
    ("name", "sha256", "norm", "std"),
    [
        ("sst2", "74a421fd", 1384.8, 51.77),
        ("mrpc", "b8ef8439", 867.7, 32.30),
        ("rte", "b31903cb", 903.3, 34.50),
    ],
)
def test_the_authors_prompts_are_read_and_written_back_byte_for_byte(
    name: str, sha256: str, norm: float, std: float, shared: Path, tmp_path: Path
) -> None:
    source = shared / RELEASED / f"{name}.npy"
    assert hashlib.sha256(source.read_bytes()).hexdigest().startswith(sha256)
    rows = read_npy_prompt(source, width=768)
    assert rows.shape == (100, 768)
    assert rows.dtype == torch.float32
    assert rows.norm(dim=1).mean().item() == pytest.approx(norm, abs=0.05)  # as it is printed
    assert rows.std().item() == pytest.approx(std, abs=0.005)
    write_npy_prompt(rows, tmp_path / "encoder.prompt.prompt.prompt")
    assert (tmp_path / "encoder.prompt.prompt.prompt").read_bytes() == source.read_bytes()


def test_the_first_numbers_of_sst2_are_the_known_ones(shared: Path) -> None:
    rows = read_npy_prompt(shared / RELEASED / "sst2.npy")
    # bytes 128 to 139 of the file whose sha256 begins 74a421fd, as little-endian float32; the
    # specification prints the second as -37.8959, which no byte order of this file gives
    known = torch.tensor([-18.4223, -37.8859, 27.8958])
    assert torch.allclose(rows[0, :3], known, rtol=0, atol=5e-5)


def test_mean_pooled_authors_prompts_have_the_known_cosines(shared: Path) -> None:
    names = ("sst2", "mrpc", "rte")
    pooled = [read_npy_prompt(shared / RELEASED / f"{name}.npy").mean(dim=0) for name in names]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        cosine = torch.cosine_similarity(pooled[i], pooled[j], dim=0).item()
        assert 0.495 <= cosine <= 0.565  # 0.50 to 0.56, rounded


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_format_is_known_by_its_first_bytes_whatever_the_name(
    dtype: str, order: str, tmp_path: Path
) -> None:
    values = np.arange(6).reshape(2, 3)
    path = _save(tmp_path / "encoder.prompt", np.array(values, dtype=dtype, order=order))  # type: ignore[call-overload]
    rows = read_npy_prompt(path)
    assert rows.dtype == torch.float32
    assert rows.is_contiguous()
    assert rows.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert is_npy(path)


def test_rows_that_were_read_do_not_depend_on_the_file(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.ones((2, 3), dtype=np.float32))
    rows = read_npy_prompt(path)
    path.unlink()
    rows += 1
    assert rows.sum() == 12


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no such file"):
        read_npy_prompt(tmp_path / "a.npy")
    with pytest.raises(PromptError, match="it is a folder"):
        read_npy_prompt(tmp_path)
    assert not is_npy(tmp_path / "a.npy")
    assert not is_npy(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x93NUM", b"PK\x03\x04", pickle.dumps([1.0])])
def test_another_format_is_refused_even_with_the_right_ending(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(PromptError, match=r"not a NumPy array .*never loaded"):
        read_npy_prompt(tmp_path / "a.npy")


@pytest.mark.parametrize("kept", [6, 8, 9, 40, 128, 140, -1])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.ones((2, 3), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PromptError, match=r"a\.npy: truncated, corrupt or no plain array"):
        read_npy_prompt(path)


def test_pickled_objects_are_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.save(file, np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(PromptError, match="no plain array"):
        read_npy_prompt(path)
    assert not (tmp_path / "ran").exists()


def test_a_header_that_claims_a_terabyte_allocates_nothing(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 250000), }\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(PromptError, match="truncated"):
        read_npy_prompt(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64", "bool", "<U3"])
def test_another_dtype_is_refused(dtype: str, tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.zeros((2, 3), dtype=dtype))
    with pytest.raises(PromptError, match="expected float32 or float64, got"):
        read_npy_prompt(path)


@pytest.mark.parametrize("shape", [(), (6,), (1, 2, 3), (0, 3), (2, 0)])
def test_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.zeros(shape, dtype=np.float32))
    with pytest.raises(PromptError, match=r"expected shape \[P, H\], got \["):
        read_npy_prompt(path)


def test_another_width_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(PromptError, match=r"expected shape \[P, 768\], got \[2, 3\]"):
        read_npy_prompt(path, width=768)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_numbers_that_float32_cannot_hold_are_counted(value: float, tmp_path: Path) -> None:
    path = _save(tmp_path / "a.npy", np.array([[1.0, value], [value, 2.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PromptError, match="2 of 4 numbers are not finite in float32"):
            read_npy_prompt(path)


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    write_npy_prompt(rows.T, tmp_path / "new" / "a.npy")
    assert torch.equal(read_npy_prompt(tmp_path / "new" / "a.npy"), rows.T)


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    write_npy_prompt(torch.ones(1, 2), tmp_path / "a.npy")
    with pytest.raises(PromptError, match="exists already"):
        write_npy_prompt(torch.zeros(1, 2), tmp_path / "a.npy")
    write_npy_prompt(torch.zeros(1, 2), tmp_path / "a.npy", overwrite=True)
    assert read_npy_prompt(tmp_path / "a.npy").sum() == 0


def test_rows_that_no_reader_would_take_are_not_written(tmp_path: Path) -> None:
    for rows in (torch.ones(3), torch.full((1, 2), float("nan"))):
        with pytest.raises(PromptError, match="expected finite rows"):
            write_npy_prompt(rows, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npy_prompt(torch.ones(1, 2), tmp_path / "a.npy")

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npy, "write_bytes", full)
    with pytest.raises(RunError, match=r"a\.npy: could not be written: No space left on device"):
        write_npy_prompt(torch.zeros(1, 2), tmp_path / "a.npy", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert read_npy_prompt(tmp_path / "a.npy").sum() == 2
