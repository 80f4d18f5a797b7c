"""How fast a run is beside what the device could do: its measured matrix rate, the model's work.

Knows tensors and modules, not pretraining.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SIDE = 2048
ROUNDS, SECONDS = 5, 0.06


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measured floating-point operations per second of square matrix products of side 2,048.

    The best of several rounds, half a second in all: other work on the machine only slows a round.
    A multiplication and an addition count as two.
    """
    left = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    right = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    left @ right
    return max(_round(left, right) for _ in range(ROUNDS))


def _round(left: Tensor, right: Tensor) -> float:
    _wait(left.device)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        left @ right
        _wait(left.device)
        done += 1
    return 2 * SIDE**3 * done / (time.perf_counter() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in `work`, forwards and backwards."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
