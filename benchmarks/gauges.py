"""Gauges: seconds of interleaved rounds, peak memory, operations, the machine's matrix rate.

Memory is exact, not sampled. On the CPU torch's profiler reports every allocation and release of its
allocator, and the peak is of their running sum: tensors, activations kept for backward and
temporaries; not the scratch space that a matrix library keeps for itself. On an accelerator it is the
allocator's own peak. Both are what a round adds to what stood there before it.
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    Args:
        name: for the table.
        round: what is timed; every call does the same amount of work.
        units: how many steps, or examples, a round is.
    """

    name: str
    round: Callable[[], object]
    units: int


@dataclass(frozen=True)
class Reading:
    """What was measured of a contender.

    Args:
        name: the contender's.
        units: steps or examples of a round.
        seconds: of each round.
        processor_seconds: of each round, all threads together: what a busy machine disturbs least.
        peak_bytes: memory that a round adds at most.
        operations: floating-point operations of the matrix products and attentions of a round.
    """

    name: str
    units: int
    seconds: tuple[float, ...]
    processor_seconds: tuple[float, ...]
    peak_bytes: int
    operations: int

    @property
    def median(self) -> float:
        """Seconds of one unit, the median over rounds."""
        return statistics.median(self.seconds) / self.units


def read(contenders: Sequence[Contender], rounds: int, device: torch.device) -> list[Reading]:
    """Measure contenders: each round lets every one run, the first one changing from round to round.

    The runs that count operations, then memory, come before; they also warm up.
    """
    operations = [count_operations(each.round) for each in contenders]
    peaks = [peak_bytes(each.round, device) for each in contenders]
    seconds: list[list[tuple[float, float]]] = [[] for _ in contenders]
    for number in range(rounds):
        for place in range(len(contenders)):
            which = (number + place) % len(contenders)
            seconds[which].append(timed(contenders[which].round, device))
    return [
        Reading(
            name=each.name,
            units=each.units,
            seconds=tuple(wall for wall, _ in times),
            processor_seconds=tuple(processor for _, processor in times),
            peak_bytes=peak,
            operations=count,
        )
        for each, times, peak, count in zip(contenders, seconds, peaks, operations, strict=True)
    ]


def timed(function: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of one call, and of the processor; an accelerator's queue is emptied before and after."""
    gc.collect()
    _wait(device)
    began, processor_began = time.perf_counter(), time.process_time()
    function()
    _wait(device)
    return time.perf_counter() - began, time.process_time() - processor_began


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """What a call adds to memory at most."""
    gc.collect()
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        _wait(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        function()
    inner: Any = profile.profiler
    events = [e for e in inner.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return int(most)


def count_operations(function: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and attentions in a call, backward included."""
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        function()
    return int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


# torch 2.13 counts the accelerators' fused attentions only.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def matrix_rate(
    device: torch.device, dtype: torch.dtype, size: int = 1536, rounds: int = 5
) -> float:
    """Operations per second of a square matrix product, the best of several rounds."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        torch.mm(a, b)

    product()
    best = min(timed(product, device)[0] for _ in range(rounds))
    return 2 * size**3 / best


def machine(device: torch.device) -> dict[str, Any]:
    """Where it was measured, and with which versions."""
    from importlib import metadata

    names = ("softprompt", "torch", "transformers", "tokenizers", "peft")
    found = {name: metadata.version(name) for name in names if _installed(name)}
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **found,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            named = [line.partition(":")[2].strip() for line in stream if "model name" in line]
        return named[0] if named else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def _installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
