"""How many padded positions a forward pass may hold, and what to do when they were too many.

Integers and errors: no tensors, no models. A budget changes memory, never numbers beyond rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch

from softprompt.data.batching import micro_batches
from softprompt.errors import MemoryShortage

TokenBudget: TypeAlias = int | Literal["auto"]
"""A budget as users give it."""

TOKEN_BUDGET = 8192
"""Padded positions per forward pass where none are given. Predicting keeps no activations for a
backward pass, and larger batches are no faster per position: `auto` means this there."""


def part_cost(device: torch.device) -> int:
    """What one more forward pass costs, in positions. Measured on a CPU (GPT-2, 2 to 6 layers): 10 to 60.
    Elsewhere a small network waits for each launch; 2,048 is an estimate, not measured."""
    return 64 if device.type == "cpu" else 2048


def out_of_memory(error: RuntimeError) -> bool:
    """Whether there was not enough memory; on a CPU torch says so in a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def smaller(lengths: Sequence[int], budget: int) -> int | None:
    """Half of what the largest part of several rows held; None where every row went alone.

    Args:
        lengths: positions of each row that was to be run.
        budget: what it was cut by.
    """
    parts = micro_batches(lengths, budget)
    several = [len(part) * lengths[part[0]] for part in parts if len(part) > 1]
    return max(1, max(several) // 2) if several else None


def retreat(lengths: Sequence[int], budget: int) -> int:
    """The budget to go on with after `budget` was too much, noted; call it when the failed pass and its
    error are gone, so that their memory is free.

    Raises:
        MemoryShortage: every row went alone.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    found = smaller(lengths, budget)
    if found is None:
        raise MemoryShortage(
            f"the memory does not hold a single example (the longest takes {max(lengths)} positions); "
            "shorten the examples (render.limit), use precision: bfloat16 or a smaller backbone, "
            "or free memory on the device"
        )
    warnings.warn(
        f"the memory does not hold a token budget of {budget}: going on with {found}, which changes no "
        "result",
        UserWarning,
        stacklevel=3,
    )
    return found
