"""The token budget of a run: given, or found from the free memory and what a step keeps in it.

Counts bytes; knows nothing of prompts or losses. What is counted is what autograd saves for the
backward pass: with frozen weights nearly all of a step's memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.inference.budget import TOKEN_BUDGET, TokenBudget, retreat

FIRST = 1024
"""Positions of the parts of a run's first step, on which `auto` counts."""
SHARE = 0.5
"""Of the free memory; the rest is for what a layer holds for a moment, and for gradients."""
LEAST, MOST = 256, 1 << 20


class Budget:
    """The budget of one loop.

    Args:
        given: of each fit; the smallest number among them counts, `auto` where there is none.

    Attributes:
        positions: padded positions that a part of the next step may hold.
    """

    def __init__(self, given: Sequence[TokenBudget]):
        fixed = [one for one in given if one != "auto"]
        self._given: TokenBudget = min(fixed) if fixed else "auto"
        self.positions = FIRST if self._given == "auto" else self._given
        self._longest = 0  # row that was counted
        self._most = MOST  # what has been too much, less one step

    @contextmanager
    def counting(self, model: nn.Module, rows: int, longest: int) -> Iterator[None]:
        """Within the block the forward pass of a part runs; `auto` learns from it for the next steps.

        Only a part whose longest row is longer than all before is counted: what attention keeps grows
        faster than the row.

        Args:
            model: whose weights are in the memory anyway.
            rows, longest: size of the part.
        """
        if self._given != "auto" or longest <= self._longest:
            yield
            return
        free = free_memory(next(model.parameters()).device)
        with bytes_kept([*model.parameters(), *model.buffers()]) as kept:
            yield
        self._longest = longest
        self.positions = min(self._most, fitting(sum(kept.values()), rows * longest, free))

    def shrink(self, lengths: Sequence[int]) -> None:
        """Take less from now on, after a step of rows of these lengths did not fit.

        Raises:
            MemoryShortage: every row had a part of its own.
        """
        self.positions = self._most = retreat(lengths, self.positions)

    def state(self) -> dict[str, Any]:
        """What a resumed run goes on with: parts are cut as they would have been."""
        return {
            "given": self._given,
            "positions": self.positions,
            "longest": self._longest,
            "most": self._most,
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from `state`, unless another budget is given now."""
        if state is not None and state["given"] == self._given:
            self.positions, self._longest = state["positions"], state["longest"]
            self._most = state["most"]


def fitting(kept: int, positions: int, free: int | None) -> int:
    """How many positions fit.

    Args:
        kept: bytes that a part kept.
        positions: how many padded positions it had.
        free: bytes; None: unknown.
    """
    if free is None:
        return TOKEN_BUDGET
    return max(LEAST, min(MOST, int(SHARE * free * positions / max(1, kept))))


@contextmanager
def bytes_kept(apart: Iterable[Tensor]) -> Iterator[dict[int, int]]:
    """Within the block, what autograd saves is counted into a mapping from address to bytes.

    Args:
        apart: tensors that are not counted.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold its own graph, and never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device; None where nothing tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + idle
    if device.type != "cpu":
        return None
    found = [bytes for bytes in (_available(), _left_in_group()) if bytes is not None]
    return min(found, default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_group(place: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take, where it has a limit (cgroup v2)."""
    try:
        most = int((place / "memory.max").read_text(encoding="ascii"))
        return max(0, most - int((place / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or "max"
        return None
