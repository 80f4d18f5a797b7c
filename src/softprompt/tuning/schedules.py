"""Learning-rate schedules: pure functions from step to a factor of the peak rate.

A schedule is called with the step about to be taken (0-based) and the total number of steps.
Adding one is one entry in SCHEDULES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

Schedule = Callable[[int, int], float]


def constant(step: int, steps: int) -> float:
    """The peak rate throughout (Lester et al. 2021)."""
    return 1.0


def linear(step: int, steps: int) -> float:
    """From the peak straight down to zero."""
    return max(0.0, 1.0 - step / max(1, steps))


def cosine(step: int, steps: int) -> float:
    """Half a cosine from the peak to zero (Loshchilov & Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps))))


def inverse_square_root(step: int, steps: int) -> float:
    """1/sqrt of the step number (Raffel et al. 2019, section 3.1.2)."""
    return 1.0 / math.sqrt(step + 1)


def trapezoid(step: int, steps: int) -> float:
    """The peak rate for 75 % of the steps, then straight down to zero ("warm-up, stable, decay").

    The decay can begin wherever one stops, so a run may be shortened or prolonged (Hu et al. 2024).
    """
    begin = 0.75 * steps
    return 1.0 if step < begin else max(0.0, (steps - step) / max(1.0, steps - begin))


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "constant": constant,
        "linear": linear,
        "cosine": cosine,
        "inverse_square_root": inverse_square_root,
        "trapezoid": trapezoid,
    }
)


def learning_rate_factor(schedule: str, step: int, steps: int, warmup: int) -> float:
    """Factor of the peak rate at `step`: a linear warm-up, then the schedule over what is left."""
    if step < warmup:
        return (step + 1) / warmup
    return SCHEDULES[schedule](step - warmup, max(1, steps - warmup))
