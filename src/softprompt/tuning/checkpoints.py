"""A run's state on disk: written whole or not at all, read back bit for bit.

A checkpoint is a folder of two files: `tensors.safetensors`, and `state.json` with the step, the
JSON state and the hash of the tensors. A run keeps one, `checkpoints/last`, with its best
parameters in it; `checkpoints/best` is a place for one more.

A new checkpoint is written beside the old one (`.last.new`), flushed to the disk, and only then
takes its place: the old one steps aside (`.last.old`), the new one is renamed, the old one goes. A
run killed at any moment leaves at least one whole checkpoint, and `read` finds it.

Knows tensors and JSON values, not what they mean; never pickles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from softprompt.errors import RunError

TENSORS, STATE = "tensors.safetensors", "state.json"
FORMAT = 1
_FLOAT = "__float__"  # {"__float__": "nan"}: JSON has no word for what is not finite


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on after `step`.

    Args:
        step: how many steps are done.
        tensors: parameters, optimiser state, generators' states; any name, any dtype.
        state: JSON values under text keys, nested; floats come back bit for bit, also inf and nan.
            Tuples come back as lists.
    """

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any] = field(default_factory=dict)


def checkpoint_folder(run: Path, which: Literal["last", "best"]) -> Path:
    """Where a run keeps its last, or its best, checkpoint."""
    return run / "checkpoints" / which


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in `folder`, in place of the one there, in one motion.

    Raises:
        RunError: the disk is full or refuses; what stood there before still does, and nothing
            half-written is left. Also a state that JSON cannot hold.
    """
    state = _encoded(checkpoint.state, "state")
    new, old = _new(folder), _old(folder)
    try:
        recover(folder)
        new.mkdir(parents=True)
        _write_tensors(new / TENSORS, checkpoint.tensors)
        # state.json comes last: where it stands, the tensors are whole.
        digest = _hash(new / TENSORS)
        head = {"format": FORMAT, "step": checkpoint.step, "tensors": digest, "state": state}
        _write_text(new / STATE, json.dumps(head, allow_nan=False) + "\n")
        _flush_folder(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _flush_folder(folder.parent)
    except (OSError, SafetensorError) as error:
        kept = _undo(folder)
        raise RunError(
            f"checkpoint of step {checkpoint.step} could not be written to {folder}: "
            f"{_reason(error)}; {kept}. Make room (or the folder writable) and run the same "
            "command again"
        ) from error
    with contextlib.suppress(OSError):  # the new one is in place; a leftover does no harm
        _remove(old)


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`, or None where there is none; changes nothing on disk.

    A write that was cut off before its last rename is taken up from the new checkpoint if that is
    whole, else from the old one; half-written leftovers are ignored.

    Raises:
        RunError: a file is missing, unreadable or not as it was written (names the file).
    """
    place = _standing(folder)
    return None if place is None else _read_at(place)


def _standing(folder: Path) -> Path | None:
    """Where the good checkpoint stands: an interruption can leave it under a neighbouring name."""
    if folder.is_dir():
        return folder if any(folder.iterdir()) else None
    if folder.exists():
        raise RunError(f"{folder}: expected a folder with a checkpoint, found a file")
    if not _old(folder).is_dir():
        return None  # at most a first checkpoint, cut off while being written
    try:  # cut off between the two renames
        _read_at(_new(folder))
    except RunError:
        return _old(folder)
    return _new(folder)


def _read_at(folder: Path) -> Checkpoint:
    head = _read_head(folder / STATE)
    path = folder / TENSORS
    try:
        if _hash(path) != head["tensors"]:
            raise RunError(_damaged(path, "its content does not match its hash"))
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(_damaged(path, _reason(error))) from None
    return Checkpoint(head["step"], tensors, _decoded(head["state"]))


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(_damaged(path, _reason(error))) from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise RunError(_damaged(path, f"not JSON ({error})")) from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else None
        raise RunError(_damaged(path, f"expected checkpoint format {FORMAT}, found {found!r}"))
    expected = {"step": int, "tensors": str, "state": dict}
    for key, kind in expected.items():
        if not isinstance(head.get(key), kind):
            raise RunError(_damaged(path, f"'{key}' is missing or not a {kind.__name__}"))
    return head


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path}: this checkpoint cannot be read: {why}; delete {path.parent} to start without it"
    )


def recover(folder: Path) -> None:
    """Bring a checkpoint that an interruption left aside back to its name, and clear leftovers.

    Raises:
        RunError: what stands there is no folder.
    """
    standing = _standing(folder)
    if standing is not None and standing != folder:
        standing.rename(folder)
    elif standing is None and folder.is_dir():
        folder.rmdir()  # empty
    _remove(_new(folder))
    _remove(_old(folder))


def _undo(folder: Path) -> str:
    """After a failed write: the old checkpoint back in its place; says what is kept."""
    new, old = _new(folder), _old(folder)
    with contextlib.suppress(OSError):
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        _remove(new)
    try:
        kept = read(folder)
    except (OSError, RunError):
        return f"the checkpoint before it, in {folder}, cannot be read"
    if kept is None:
        return "there is no earlier one in that place"
    return f"the last good checkpoint (step {kept.step}) is kept in {folder}"


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        # safetensors refuses two names for one memory; after reading they are two tensors.
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in storages else value
        storages.add(storage)
    save_file(plain, path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut (POSIX; no such call elsewhere)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encoded(value: Any, where: str) -> Any:
    """JSON values with text keys only: JSON would silently turn another key into text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
    if isinstance(value, list | tuple):
        return [_encoded(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _FLOAT:
                raise RunError(f"checkpoint: {where}: key {key!r}: expected a text")
        return {key: _encoded(item, f"{where}.{key}") for key, item in value.items()}
    raise RunError(
        f"checkpoint: {where}: a {type(value).__name__} is no JSON value; a tensor belongs in "
        "`tensors`"
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {_FLOAT}:
            return float(value[_FLOAT])
        return {key: _decoded(item) for key, item in value.items()}
    return value


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _new(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.new"


def _old(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
