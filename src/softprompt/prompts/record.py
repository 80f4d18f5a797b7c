"""What stands in `prompt.json`: its keys and their types, what is hashed, what counts as JSON.

Knows the record, not the folder that it lies in. A record read from a file is not trusted: every
key is checked before anything uses it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softprompt.errors import PromptError

FORMAT_VERSION = 1

KEYS: Mapping[str, tuple[type, ...]] = {
    "format_version": (int,),
    "content_hash": (str,),
    "method": (str,),
    "template": (str,),
    "answers": (dict,),
    "objective": (dict,),
    "task": (dict,),
    "backbone": (dict, type(None)),
    "backbone_parameters": (int, type(None)),
    "tensors": (dict,),
    "scores": (list,),
    "settings": (dict,),
    "versions": (dict,),
    "examples": (list,),
    "notes": (str,),
}
"""Every key is required. `tensors` maps the name of each tensor to its shape."""

HASHED = (
    "method",
    "template",
    "answers",
    "objective",
    "task",
    "backbone",
    "tensors",
    "settings",
)
"""What determines predictions, besides the numbers of the tensors. Scores, example texts, notes and
versions may be added to later without the prompt becoming another one; so may the backbone's name,
which can be a path."""


def seal(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make the record complete: plain JSON values, format version, shapes and content hash.

    Args:
        tensors: what was learned, float32.
        facts: the other keys of `KEYS`.
    Raises:
        PromptError: a value that JSON cannot hold, with the path to it, or numbers in the tensors
            that are not finite.
    """
    check_finite(tensors, "the prompt")
    plain = {key: to_plain(value, key) for key, value in facts.items()}
    plain["tensors"] = {name: list(tensor.shape) for name, tensor in tensors.items()}
    plain |= {"format_version": FORMAT_VERSION, "content_hash": content_hash(tensors, plain)}
    return {key: plain[key] for key in KEYS}


def content_hash(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> str:
    """sha256 over what determines predictions: the tensors' bytes and the keys of `HASHED`.

    Args:
        tensors: float32.
        record: plain JSON values.
    Returns:
        `sha256:` and 64 hexadecimal digits.
    """
    hashed = {key: record[key] for key in HASHED}
    if hashed["backbone"] is not None:
        hashed["backbone"] = {k: v for k, v in hashed["backbone"].items() if k != "name"}
    digest = hashlib.sha256(
        json.dumps(hashed, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    )
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().astype("<f4", copy=False).tobytes())
    return f"sha256:{digest.hexdigest()}"


def check_record(record: Any, where: str) -> dict[str, Any]:
    """Check the format version, then each key and its type.

    Args:
        record: what was read.
        where: the file, for messages.
    Raises:
        PromptError: not a mapping, an unknown version, a missing key, a value of a wrong type.
    """
    if not isinstance(record, dict):
        raise PromptError(f"{where}: expected a mapping, got a {type(record).__name__}")
    version = record.get("format_version")
    if type(version) is not int or version < 1:
        raise PromptError(
            f"{where}: 'format_version': expected {FORMAT_VERSION}, got {version!r}; "
            "this is no prompt of softprompt"
        )
    if version > FORMAT_VERSION:
        raise PromptError(
            f"{where}: format version {version} is newer than this softprompt reads "
            f"(up to {FORMAT_VERSION}): upgrade softprompt"
        )
    for key, kinds in KEYS.items():
        if key not in record:
            raise PromptError(f"{where}: '{key}' is missing")
        if type(record[key]) not in kinds:  # exactly: JSON's true is no int
            _wrong_type(where, key, " or ".join(_NAMES[kind] for kind in kinds), record[key])
    for key in ("scores", "examples"):
        for index, entry in enumerate(record[key]):
            if not isinstance(entry, dict):
                _wrong_type(where, f"{key}[{index}]", _NAMES[dict], entry)
    for name, shape in record["tensors"].items():
        if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
            _wrong_type(where, f"tensors.{name}", "a list of sizes", shape)
    return record


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse numbers that are not numbers.

    Raises:
        PromptError: which tensor, and how many.
    """
    for name, tensor in tensors.items():
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise PromptError(
                f"{where}: tensor '{name}': {broken} of {tensor.numel()} numbers are not finite "
                "(NaN or infinite); the training that made it diverged"
            )


def to_plain(value: Any, where: str) -> Any:
    """Copy a value as JSON types: tuples become lists, NumPy numbers Python's.

    A score that is not finite (a correlation of constant predictions) becomes null.

    Raises:
        PromptError: a value that JSON cannot hold, with the path to it.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if where.startswith("scores["):
            return None
        raise PromptError(f"{where}: {value} cannot be saved, expected a finite number")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PromptError(f"{where}: {value!r} is no valid text (a lone surrogate)") from None
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [to_plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise PromptError(f"{where}: key {key!r}: expected text, got {type(key).__name__}")
        return {to_plain(k, where): to_plain(v, f"{where}.{k}") for k, v in value.items()}
    raise PromptError(
        f"{where}: a {type(value).__name__} cannot be saved, "
        "expected text, numbers, lists and mappings of them"
    )


_NAMES: Mapping[type, str] = {
    int: "a whole number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    type(None): "null",
}


def _wrong_type(where: str, key: str, expected: str, got: Any) -> None:
    raise PromptError(f"{where}: '{key}': expected {expected}, got {got!r}")
