"""Steps: every example once an epoch, the same for ever, however a step is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.batching import BatchPlan, Order, micro_batches, step_indices
from softprompt.errors import UsageError

lengths_of_rows = st.lists(st.integers(0, 300), min_size=1, max_size=80)
orders = st.sampled_from(["by_length", "shuffled"])


@given(lengths_of_rows, st.integers(1, 20), st.integers(0, 99), orders, st.integers(1, 4))
def test_every_example_is_drawn_once_an_epoch(
    lengths: list[int], size: int, seed: int, order: Order, window: int
) -> None:
    plan = BatchPlan(lengths, size, seed, order, window)
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        batches = [plan.step(step) for step in steps]
        assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
        short = [len(batch) for batch in batches if len(batch) != size]
        assert short == ([len(lengths) % size] if len(lengths) % size else [])


@given(lengths_of_rows, st.integers(1, 20), st.integers(0, 99), st.integers(0, 500), orders)
def test_a_step_is_found_without_the_steps_before_it(
    lengths: list[int], size: int, seed: int, step: int, order: Order
) -> None:
    plan = BatchPlan(lengths, size, seed, order)
    for earlier in range(0, step, 37):
        plan.step(earlier)
    assert plan.step(step) == step_indices(lengths, size, seed, step, order)


@given(st.lists(st.integers(1, 300), min_size=8, max_size=80), st.integers(1, 8), orders)
def test_the_steps_are_the_same_however_they_are_cut(
    lengths: list[int], size: int, order: Order
) -> None:
    rows = step_indices(lengths, size, 0, 3, order)
    for budget in (1, 50, 10_000):
        parts = micro_batches([lengths[row] for row in rows], budget)
        assert sorted(rows[place] for part in parts for place in part) == sorted(rows)


def test_the_steps_are_the_same_on_every_machine() -> None:
    lengths = [5, 3, 9, 1, 7, 2, 8, 4, 6, 0]
    assert [step_indices(lengths, 4, 13, step) for step in range(3)] == [
        [6, 2],
        [7, 0, 8, 4],
        [9, 3, 5, 1],
    ]


def test_epochs_and_seeds_differ() -> None:
    plan = BatchPlan([1] * 50, 5, seed=0)
    assert plan.epoch(0) != plan.epoch(1)
    assert plan.epoch(0) != BatchPlan([1] * 50, 5, seed=1).epoch(0)


def test_by_length_wastes_less_padding_than_shuffled() -> None:
    lengths = [(n * 37) % 200 for n in range(2_000)]

    def padded(order: Order) -> int:
        batches = BatchPlan(lengths, 16, 0, order).epoch(0)
        return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)

    assert padded("by_length") < 1.1 * sum(lengths) < 1.5 * sum(lengths) < padded("shuffled")


COSTS = st.none() | st.integers(0, 300)


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 400), COSTS)
def test_micro_batches_hold_the_budget_and_each_row_once(
    lengths: list[int], budget: int, cost: int | None
) -> None:
    parts = micro_batches(lengths, budget, cost)
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    for part in parts:
        assert part
        assert len(part) == 1 or len(part) * max(lengths[place] for place in part) <= budget


@given(st.lists(st.integers(0, 9), min_size=1, max_size=7), st.integers(0, 30))
def test_parts_cost_no_more_than_any_other_cut(lengths: list[int], cost: int) -> None:
    rows = sorted(lengths, reverse=True)

    def total(groups: list[list[int]]) -> int:
        return sum(cost + len(group) * max(group) for group in groups)

    found = [[lengths[place] for place in part] for part in micro_batches(lengths, 10_000, cost)]
    for where in range(2 ** (len(rows) - 1)):  # every cut of the sorted rows
        groups, begun = [], 0
        for place in range(1, len(rows) + 1):
            if place == len(rows) or where >> (place - 1) & 1:
                groups.append(rows[begun:place])
                begun = place
        assert total(found) <= total(groups)


def test_micro_batches_put_a_row_above_the_budget_alone() -> None:
    assert micro_batches([4, 50, 5, 4], 10) == [[1], [2, 0], [3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": []}, "no examples"),
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"order": "random"}, "'by_length' or 'shuffled', got 'random'"),
        ({"window": 0}, "window: expected at least 1"),
        ({"seed": -1}, "seed: expected whole numbers from 0"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BatchPlan(**{"lengths": [1, 2], "batch_size": 2, **options}).step(0)
    with pytest.raises(UsageError, match="step: expected 0 or more"):
        BatchPlan([1], 1).step(-1)
    with pytest.raises(UsageError, match="token_budget: expected at least 1"):
        micro_batches([1], 0)
