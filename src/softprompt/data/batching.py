"""Which examples form step s: integers only.

Knows lengths, not texts, models or devices. The order of an epoch is a function of seed and epoch,
so a resumed run draws what the uninterrupted one would have drawn, without replaying, on every
machine. How a step is cut into micro-batches changes memory, never what the step is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from softprompt.data.sampling import permutation
from softprompt.errors import UsageError

Order = Literal["by_length", "shuffled"]
WINDOW = 50
"""Batches per window: enough for batches of even length, too few to make a curriculum of it."""


class BatchPlan:
    """The steps of a run over one set of examples.

    Every example is drawn exactly once an epoch. Where `batch_size` does not divide their number,
    one
    batch of the epoch is short, and is kept: a step's loss is a mean over its own rows. By length,
    that batch may come anywhere in the epoch; shuffled, it comes last.

    Args:
        lengths: tokens per example, one entry each.
        batch_size: examples per step.
        seed: whole number from 0.
        order: "by_length": shuffle, sort by length within windows, cut into batches, shuffle the
            batches. "shuffled": shuffle and cut.
        window: batches per window, for "by_length".
    Raises:
        UsageError: no examples, or a setting out of range.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        order: Order = "by_length",
        window: int = WINDOW,
    ):
        if not lengths:
            raise UsageError("no examples to draw batches from")
        if batch_size < 1:
            raise UsageError(f"batch_size: expected at least 1, got {batch_size}")
        if window < 1:
            raise UsageError(f"window: expected at least 1 batch, got {window}")
        if order not in ORDERS:
            raise UsageError(f"order: expected {' or '.join(map(repr, ORDERS))}, got {order!r}")
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.order, self.window = order, window
        self.steps_per_epoch = -(-len(lengths) // batch_size)
        self._latest: tuple[int, list[list[int]]] | None = None  # spares sorting at every step

    def epoch(self, number: int) -> list[list[int]]:
        """All batches of an epoch, counted from 0, as lists of positions in `lengths`."""
        if self._latest is None or self._latest[0] != number:
            self._latest = (number, ORDERS[self.order](self, number))
        return self._latest[1]

    def step(self, number: int) -> list[int]:
        """The positions that form a step, counted from 0 over all epochs."""
        if number < 0:
            raise UsageError(f"step: expected 0 or more, got {number}")
        epoch, place = divmod(number, self.steps_per_epoch)
        return list(self.epoch(epoch)[place])


def _cut(positions: list[int], size: int) -> list[list[int]]:
    return [positions[start : start + size] for start in range(0, len(positions), size)]


def _shuffled(plan: BatchPlan, epoch: int) -> list[list[int]]:
    return _cut(permutation(len(plan.lengths), plan.seed, epoch, 0), plan.batch_size)


def _by_length(plan: BatchPlan, epoch: int) -> list[list[int]]:
    batches: list[list[int]] = []
    rows = permutation(len(plan.lengths), plan.seed, epoch, 0)
    for window in _cut(rows, plan.window * plan.batch_size):
        window.sort(key=plan.lengths.__getitem__)  # stable: equal lengths stay shuffled
        batches += _cut(window, plan.batch_size)
    return [batches[place] for place in permutation(len(batches), plan.seed, epoch, 1)]


ORDERS = {"by_length": _by_length, "shuffled": _shuffled}


def step_indices(
    lengths: Sequence[int],
    batch_size: int,
    seed: int,
    step: int,
    order: Order = "by_length",
    window: int = WINDOW,
) -> list[int]:
    """The positions that form one step; a `BatchPlan` is cheaper for many."""
    return BatchPlan(lengths, batch_size, seed, order, window).step(step)


def micro_batches(
    lengths: Sequence[int], token_budget: int, part_cost: int | None = None
) -> list[list[int]]:
    """Cut one step so that no part holds more than `token_budget` tokens, padding included.

    Longest first, so that a budget too large for the memory shows at once. A row above the budget goes
    alone.

    Args:
        lengths: tokens per row of the step, prompt rows included where they cost memory.
        token_budget: rows × longest row, at most.
        part_cost: what one more part costs, in tokens: parts are cut further where that saves more
            padding. None: as few parts as the budget allows.
    Returns:
        Lists of positions in `lengths`; together each position once.
    """
    if token_budget < 1:
        raise UsageError(f"token_budget: expected at least 1, got {token_budget}")
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    parts: list[list[int]] = []
    for group in _alike(order, lengths, part_cost):
        while group:
            fit = max(1, token_budget // max(1, lengths[group[0]]))
            parts.append(group[:fit])
            group = group[fit:]
    return parts


def _alike(order: list[int], lengths: Sequence[int], part_cost: int | None) -> list[list[int]]:
    """Rows, longest first, in the groups whose padding and number together cost least."""
    if part_cost is None or not order:
        return [order]
    # Where a group may begin: at the first row of each length.
    starts = [n for n, place in enumerate(order) if not n or lengths[place] < lengths[order[n - 1]]]
    ends = [*starts[1:], len(order)]
    best: list[
        tuple[int, int]
    ] = []  # cost of the rows up to each end, and where their last group begins
    for end in ends:
        best.append(
            min(
                (
                    (best[k - 1][0] if k else 0)
                    + part_cost
                    + (end - start) * lengths[order[start]],
                    k,
                )
                for k, start in enumerate(starts[: len(best) + 1])
            )
        )
    groups: list[list[int]] = []
    last = len(ends) - 1
    while last >= 0:
        first = best[last][1]
        groups.append(order[starts[first] : ends[last]])
        last = first - 1
    return groups[::-1]
