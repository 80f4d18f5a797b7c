"""A run's weights on disk and in the mean: checkpoints, checkpoint averaging.

Knows modules and optimisers, not what they learn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.tuning.checkpoints import Checkpoint, checkpoint_folder, read, recover, write
from softprompt.tuning.optimisers import load_state_tensors, state_tensors


class RunningMean:
    """The mean of the weights of one model at several times, in f32 (Vaswani et al. 2017, 6.1)."""

    def __init__(self) -> None:
        self.count = 0
        self.tensors: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Take in the weights as they are now."""
        self.count += 1
        for name, parameter in model.named_parameters():
            mean = self.tensors.setdefault(name, torch.zeros_like(parameter, dtype=torch.float32))
            mean += (parameter - mean) / self.count

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Replace the model's weights by the mean."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self.tensors[name])


def write_checkpoint(
    out: Path,
    step: int,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: RunningMean,
    state: dict[str, Any],
) -> None:
    """Keep all that is needed to go on from `step`, whole or not at all."""
    tensors = {f"weight|{n}": p.detach() for n, p in model.named_parameters()}
    tensors |= {f"optimiser|{n}": t for n, t in state_tensors(optimiser).items()}
    tensors |= {f"mean|{n}": t for n, t in mean.tensors.items()}
    write(checkpoint_folder(out, "last"), Checkpoint(step, tensors, state))


def read_checkpoint(
    out: Path, model: nn.Module, optimiser: torch.optim.Optimizer, mean: RunningMean
) -> Checkpoint | None:
    """Take up the last checkpoint of a run; None if there is none."""
    place = checkpoint_folder(out, "last")
    recover(place)
    checkpoint = read(place)
    if checkpoint is None:
        return None
    parts: dict[str, dict[str, Tensor]] = {"weight": {}, "optimiser": {}, "mean": {}}
    for key, tensor in checkpoint.tensors.items():
        kind, _, name = key.partition("|")
        parts[kind][name] = tensor
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parts["weight"][name])
    load_state_tensors(optimiser, parts["optimiser"])
    mean.tensors = {n: t.to(next(model.parameters()).device) for n, t in parts["mean"].items()}
    mean.count = int(checkpoint.state["averaged"])
    return checkpoint


def save_half(model: nn.Module, folder: Path) -> None:
    """Write a model's weights in f16 for the Auto classes; the model itself stays as it is."""
    halved: dict[int, Tensor] = {}  # tied weights stay one tensor, and are written once
    for tensor in model.state_dict().values():
        kept = tensor.detach().cpu()
        halved.setdefault(tensor.data_ptr(), kept.half() if kept.is_floating_point() else kept)
    state = {name: halved[tensor.data_ptr()] for name, tensor in model.state_dict().items()}
    model.save_pretrained(str(folder), state_dict=state)  # type: ignore[operator]
    path = folder / "config.json"  # it names the type of the model at hand, not of the file
    config = {**json.loads(path.read_text(encoding="utf-8")), "dtype": "float16"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
