"""Weights of a backbone that were trained with a task: tensors by name, in a folder beside the prompt.

`weights.safetensors`; or, where the PEFT library can load them, its own two files. Knows tensors and
files, not models; the hash of the tensors stands in the prompt's record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from softprompt.errors import PromptError

FOLDER = "weights"
PLAIN, PEFT, CONFIG = "weights.safetensors", "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, eq=False)
class Weights:
    """What was learned of a backbone's weights.

    Args:
        tensors: by name, in the precision that they were trained in; a copy on the CPU is kept.
        config: PEFT's `adapter_config.json`, where it can load them.
    """

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        copies = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in self.tensors.items()}
        object.__setattr__(self, "tensors", copies)

    @property
    def n_parameters(self) -> int:
        """How many numbers they are."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def n_bytes(self) -> int:
        """How many bytes they take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def record(self) -> dict[str, Any]:
        """What a prompt's settings say of them: their number, and a hash of names, shapes and bytes."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return {"parameters": self.n_parameters, "sha256": digest.hexdigest()}

    def files(self) -> dict[str, bytes]:
        """Name and content of each file."""
        content = safetensors.torch.save(dict(self.tensors), metadata={"format": "pt"})
        if self.config is None:
            return {PLAIN: content}
        config = json.dumps(self.config, indent=2, sort_keys=True) + "\n"
        return {PEFT: content, CONFIG: config.encode()}


def read_weights(folder: Path, expected: Mapping[str, Any]) -> Weights:
    """Read them back.

    Args:
        folder: where `files` were written.
        expected: the record of them.
    Raises:
        PromptError: they are missing, damaged or others.
    """
    config = None
    path = folder / PLAIN
    try:
        if (folder / CONFIG).is_file():
            path = folder / CONFIG
            config = json.loads(path.read_text(encoding="utf-8"))
            path = folder / PEFT
        tensors = safetensors.torch.load_file(path)
    except OSError as error:
        raise PromptError(
            f"{path}: the weights that belong to this prompt cannot be read: "
            f"{error.strerror or error}; copy the whole folder again"
        ) from None
    except (SafetensorError, ValueError) as error:
        raise PromptError(f"{path}: truncated or corrupt ({error}); copy it again") from None
    found = Weights(tensors, config)
    if found.record() != dict(expected):
        raise PromptError(
            f"{path}: these are not the weights that were saved with the prompt: the hash does not "
            "match; copy the folder again, or train it anew"
        )
    return found
