"""Learning-rate schedules are factors of the peak rate, from 1 downwards."""

from __future__ import annotations

from itertools import pairwise

import pytest

from softprompt.tuning.schedules import SCHEDULES, learning_rate_factor


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_starts_at_the_peak_and_never_rises_or_falls_below_zero(schedule: str):
    factors = [learning_rate_factor(schedule, step, 40, warmup=0) for step in range(40)]
    assert factors[0] == 1.0
    assert all(0 <= later <= earlier for earlier, later in pairwise(factors))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_every_schedule_bears_a_run_of_hardly_any_steps(schedule: str, steps: int):
    assert 0 <= learning_rate_factor(schedule, 0, steps, warmup=0) <= 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_a_straight_line_that_meets_the_peak(schedule: str):
    factors = [learning_rate_factor(schedule, step, 20, warmup=4) for step in range(5)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("constant", 99, 1.0),
        ("linear", 25, 0.75),
        ("linear", 100, 0.0),
        ("cosine", 50, 0.5),
        ("cosine", 100, 0.0),
        ("inverse_square_root", 3, 0.5),
        ("inverse_square_root", 99, 0.1),
        ("trapezoid", 74, 1.0),
        ("trapezoid", 75, 1.0),
        ("trapezoid", 90, 0.4),
        ("trapezoid", 100, 0.0),
    ],
)
def test_known_values_of_a_run_of_100_steps(schedule: str, step: int, factor: float):
    assert SCHEDULES[schedule](step, 100) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "trapezoid"])
def test_steps_beyond_the_last_stay_at_zero(schedule: str):
    assert SCHEDULES[schedule](120, 100) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_schedule_spans_what_the_warm_up_leaves(schedule: str):
    alone = [learning_rate_factor(schedule, step, 16, warmup=0) for step in range(16)]
    after = [learning_rate_factor(schedule, step, 20, warmup=4) for step in range(4, 20)]
    assert alone == after


def test_a_warm_up_longer_than_the_run_just_rises():
    assert [learning_rate_factor("linear", s, 2, warmup=4) for s in range(2)] == [0.25, 0.5]
