"""The prompt folder: `prompt.safetensors`, `prompt.json` and `README.md`, all there or not at all.

Knows files, not what a prompt means. A save writes a hidden sibling folder and renames it, so a
full disk or a kill leaves the old prompt or the new one, never half of one. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from softprompt.errors import PromptError, RunError
from softprompt.prompts.record import check_finite, check_record, content_hash

TENSORS, RECORD, CARD = "prompt.safetensors", "prompt.json", "README.md"
OURS = (TENSORS, RECORD, CARD, "weights")
"""What a prompt folder may hold; an overwrite removes nothing else."""


def write_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    record: Mapping[str, Any],
    card: str,
    *,
    overwrite: bool = False,
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write a prompt folder, whole or not at all.

    Args:
        folder: where; its parents are made.
        tensors: float32, on the CPU.
        record: sealed (see `record.seal`).
        card: the text of README.md, written last.
        overwrite: replace the prompt that is there.
        beside: further files by their path in the folder, one level deep at most.
    Raises:
        PromptError: something is there already, or what is there is no prompt.
        RunError: the system refused (no space left, no permission); what was there is untouched.
    """
    target = folder.resolve()  # a link stays a link, what it points to is replaced
    _check_free(folder, target, overwrite)
    files = {
        **beside,
        TENSORS: safetensors.torch.save(dict(tensors), metadata={"format": "pt"}),
        RECORD: (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode(),
        CARD: card.encode(),
    }
    token = secrets.token_hex(4)
    temporary = target.parent / f".{target.name}.{token}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, content in files.items():
                (temporary / name).parent.mkdir(exist_ok=True)
                write_bytes(temporary / name, content)
            _swap(temporary, target, target.parent / f".{target.name}.{token}.old")
        except BaseException:  # also Ctrl-C: what is half written goes
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise RunError(
            f"{folder}: the prompt could not be written: {error.strerror or error}; "
            "what was there before is unchanged"
        ) from error


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a prompt folder and check all that can be checked without a backbone.

    Returns:
        The tensors, float32 on the CPU, and the record of `prompt.json`.
    Raises:
        PromptError: which check failed: folder, record, tensors file, names, dtype, shape,
            content hash, finite numbers.
    """
    record = read_record(folder)
    path = folder / TENSORS
    try:
        tensors = safetensors.torch.load(_read_bytes(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise PromptError(
            f"{path}: truncated or corrupt, expected a safetensors file ({error}); copy it again"
        ) from None
    expected = record["tensors"]
    if set(tensors) != set(expected):
        raise PromptError(
            f"{path}: expected the tensors {sorted(expected)} that {RECORD} lists, "
            f"got {sorted(tensors)}"
        )
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise PromptError(f"{path}: tensor '{name}': expected float32, got {tensor.dtype}")
        if list(tensor.shape) != expected[name]:
            raise PromptError(
                f"{path}: tensor '{name}': expected shape {expected[name]} as {RECORD} says, "
                f"got {list(tensor.shape)}"
            )
    if content_hash(tensors, record) != record["content_hash"]:
        raise PromptError(
            f"{folder}: the content hash does not match: {TENSORS} or {RECORD} was changed or "
            "damaged after it was saved; copy the folder again, or save the prompt anew"
        )
    check_finite(tensors, str(path))
    return tensors, record


def read_record(folder: Path) -> dict[str, Any]:
    """Read `prompt.json` alone: enough to list a prompt; the hash is not checked.

    Raises:
        PromptError: no folder, no record in it, not JSON, another format version, a key missing
            or of a wrong type.
    """
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "no such folder"
        raise PromptError(f"{folder}: expected a prompt folder, {found}{_interrupted(folder)}")
    path = folder / RECORD
    try:
        record = json.loads(_read_bytes(path).decode())
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise PromptError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise PromptError(f"{path}: not a prompt's record: nested too deeply") from None
    return check_record(record, str(path))


def safe_name(name: str) -> str:
    """Return a prompt's name if it stays below whatever root it is joined to.

    Args:
        name: letters, possibly in subfolders: `mood`, `team/mood`.
    Raises:
        PromptError: empty, absolute, with `..`, hidden, or with characters that some system
            reads as a separator.
    """
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name != "/".join(parts)
        or name.startswith("/")
        or PureWindowsPath(name).drive
        or any(part.startswith(".") for part in parts)
        or any(ord(character) < 32 or character in "\\:" for character in name)
    ):
        raise PromptError(
            f"prompt name {name!r}: expected a plain name such as 'mood' or 'team/mood', "
            "without '..', leading '/' or '.', '\\' or ':'"
        )
    return name


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and wait until the system has it on disk.

    Raises:
        OSError: as the system says.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _check_free(folder: Path, target: Path, overwrite: bool) -> None:
    if not target.name:
        raise PromptError(f"{folder}: expected a folder of its own for the prompt")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / RECORD).is_file():
        raise PromptError(
            f"{folder}: there is something that is no prompt (no {RECORD} in it), "
            "and it is not replaced; choose another folder"
        )
    others = sorted(entry.name for entry in target.iterdir() if entry.name not in OURS)
    if others:
        raise PromptError(
            f"{folder}: beside a prompt there are other files ({', '.join(others[:5])}), "
            "and a folder with them is not replaced; move them, or choose another folder"
        )
    if not overwrite:
        raise PromptError(
            f"{folder}: a prompt is there already; "
            "choose another folder, or pass overwrite=True (--overwrite)"
        )


def _swap(temporary: Path, target: Path, aside: Path) -> None:
    """Put the new folder in the old one's place; the old one goes last."""
    if not target.exists():
        temporary.rename(target)
        _sync(target.parent)
        return
    try:
        target.rename(aside)
        temporary.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
    _sync(target.parent)
    try:
        shutil.rmtree(aside)
    except OSError as error:
        warnings.warn(
            f"{target} is saved, but the prompt it replaced could not be removed and lies in "
            f"{aside}: {error.strerror or error}",
            UserWarning,
            stacklevel=4,
        )


def _sync(directory: Path) -> None:
    if os.name == "nt":  # Windows opens no directories
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems cannot; the rename itself has happened
    finally:
        os.close(descriptor)


def _interrupted(folder: Path) -> str:
    """A save killed between its two renames leaves the old prompt beside: say where."""
    left = sorted(folder.parent.glob(f".{folder.name}.*.old")) if folder.parent.is_dir() else []
    return f"; a save was interrupted, rename {left[-1]} back to {folder.name}" if left else ""


def _inside(folder: Path) -> str:
    """The first prompt in a folder of several, such as a recipe's."""
    depths = ("*", "*/*", "*/*/*")
    found = next(
        (path for one in depths for path in sorted(folder.glob(f"{one}/prompt.json"))), None
    )
    return "" if found is None else f"; there is one inside: {found.parent}"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PromptError(
            f"{path}: no such file, so {path.parent} is no prompt folder{_inside(path.parent)}"
        ) from None
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror or error}") from None
