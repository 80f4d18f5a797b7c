"""Bare `.npy` matrices, the form in which the prompt tuning authors release their prompts.

Knows one array in one file: no task, no template, no backbone comes with it. Their training dumps
carry no ending (`encoder.prompt.prompt.prompt`), so the file is known by its first bytes.
Dimensions: P prompt rows, H width.
"""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.errors import PromptError, RunError
from softprompt.prompts.folder import write_bytes

MAGIC = b"\x93NUMPY"


def is_npy(path: str | Path) -> bool:
    """Whether a file begins as NumPy's format does, whatever its name; False if there is none."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_npy_prompt(path: str | Path, width: int | None = None) -> Float[Tensor, "P H"]:
    """Read the rows of a prompt.

    Args:
        path: a NumPy file, with or without an ending; float32, or float64, which is rounded.
        width: the backbone's H, if it is known.
    Returns:
        `[P, H]`, float32.
    Raises:
        PromptError: no such file, not NumPy's format, truncated, another dtype or shape, numbers
            that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "no such file"
        raise PromptError(f"{path}: expected a .npy file, {found}")
    if not is_npy(path):
        raise PromptError(
            f"{path}: not a NumPy array (it does not begin with \\x93NUMPY); pickled and torch "
            "files are never loaded: save the matrix with numpy.save"
        )
    try:
        # Mapped, not read: a header that claims more than the file holds allocates nothing.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise PromptError(f"{path}: truncated, corrupt or no plain array ({error})") from None
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise PromptError(f"{path}: expected float32 or float64, got {array.dtype}")
    expected = f"[P, {'H' if width is None else width}]"
    if array.ndim != 2 or 0 in array.shape or width not in (None, array.shape[1]):
        raise PromptError(f"{path}: expected shape {expected}, got {list(array.shape)}")
    with np.errstate(over="ignore"):  # a float64 too large for float32 is reported below
        rows = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
    broken = int((~torch.isfinite(rows)).sum())
    if broken:
        raise PromptError(f"{path}: {broken} of {rows.numel()} numbers are not finite in float32")
    return rows


def write_npy_prompt(rows: Tensor, path: str | Path, overwrite: bool = False) -> None:
    """Write rows as the authors' code does: NumPy 1.0, float32, C order; whole or not at all.

    Args:
        rows: `[P, H]`.
        path: the file; no ending is added.
        overwrite: replace the file that is there.
    Raises:
        PromptError: no finite matrix, or a file that is there already.
        RunError: the system refused; what was there is untouched.
    """
    path = Path(path)
    if rows.dim() != 2 or not bool(torch.isfinite(rows).all()):
        raise PromptError(f"{path}: expected finite rows [P, H], got {list(rows.shape)}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise PromptError(f"{path}: exists already; choose another name, or pass overwrite=True")
    stream = io.BytesIO()
    matrix = rows.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
    np.lib.format.write_array(stream, matrix, version=(1, 0), allow_pickle=False)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_bytes(temporary, stream.getvalue())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(
            f"{path}: could not be written: {error.strerror or error}; "
            "what was there before is unchanged"
        ) from error
