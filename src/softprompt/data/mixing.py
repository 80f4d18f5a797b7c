"""Several tasks as one stream to train on: how often each is drawn, and a sampler that draws.

Three rules (Raffel et al. 2020, section 3.5.2): in proportion to the examples, each task counting at
most K; those rates raised to 1/T; or all alike. Knows numbers of examples, not what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from softprompt.data.columns import listed
from softprompt.data.sampling import permutation
from softprompt.errors import UsageError

LARGEST_LIMIT = 2**21
"""The K that T5 uses where T is above 1."""
DRAWN_AT_ONCE = 1024
_CHOICES, _ORDERS = 1, 2  # what a seed is used for


def proportional(sizes: Mapping[str, int], limit: int | None = None) -> dict[str, float]:
    """Examples-proportional mixing: r_m = min(e_m, K) / Σ min(e_n, K).

    Args:
        sizes: task to its number of training examples e.
        limit: K, the most that a task counts; None: no limit.
    Returns:
        Task to its share of the stream; they sum to 1.
    Raises:
        UsageError: no tasks, an empty one, or a limit below 1.
    """
    return tempered(sizes, 1.0, limit)


def tempered(
    sizes: Mapping[str, int], temperature: float, limit: int | None = LARGEST_LIMIT
) -> dict[str, float]:
    """Temperature-scaled mixing: each rate is raised to 1/T and they are made to sum to 1 again.

    T = 1 is examples-proportional; with a growing T the rates come closer to equal ones.

    Args:
        sizes: task to its number of training examples.
        temperature: T, from 1.
        limit: K, taken before; None: no limit.
    Raises:
        UsageError: no tasks, an empty one, a limit below 1, or a temperature below 1.
    """
    _check(sizes)
    if limit is not None and limit < 1:
        raise UsageError(f"limit: expected at least 1, got {limit}")
    if not 1 <= temperature < float("inf"):
        raise UsageError(f"temperature: expected a number from 1, got {temperature}")
    counted = {name: size if limit is None else min(size, limit) for name, size in sizes.items()}
    whole = sum(counted.values())
    scaled = {name: (size / whole) ** (1 / temperature) for name, size in counted.items()}
    total = sum(scaled.values())
    return {name: rate / total for name, rate in scaled.items()}


def equal(sizes: Mapping[str, int]) -> dict[str, float]:
    """Equal mixing: every task is drawn as often as any other.

    Raises:
        UsageError: no tasks, or an empty one.
    """
    _check(sizes)
    return dict.fromkeys(sizes, 1 / len(sizes))


@dataclass(frozen=True)
class Mixture:
    """A stream of (task, index of its example), without an end, the same for the same seed.

    Which task is next is drawn by its rate. Within a task examples come in shuffled order, each
    once before any comes again, so that a small task is repeated evenly. Other tasks' examples do
    not depend on how often a task is drawn.

    Args:
        sizes: task to its number of examples.
        rates: task to its share, as one of the three rules gives them.
        seed: whole number from 0.
    Raises:
        UsageError: rates for other tasks, negative ones, or ones that do not sum to 1.
    """

    sizes: Mapping[str, int]
    rates: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.sizes)
        if set(self.rates) != set(self.sizes):
            strange = listed(sorted(set(self.rates) ^ set(self.sizes)))
            raise UsageError(f"rates and sizes are of different tasks: {strange}")
        if min(self.rates.values()) < 0 or abs(sum(self.rates.values()) - 1) > 1e-6:
            raise UsageError(f"rates: expected shares that sum to 1, got {dict(self.rates)}")

    def __iter__(self) -> Iterator[tuple[str, int]]:
        order = {name: self._examples(n) for n, name in enumerate(self.sizes)}
        for name in self._tasks():
            yield name, next(order[name])

    def draw(self, n: int, start: int = 0) -> list[tuple[str, int]]:
        """The draws `start` to `start + n` of the stream."""
        stream = iter(self)
        drawn = [next(stream) for _ in range(start + n)]
        return drawn[start:]

    def expected(self, n: int) -> dict[str, float]:
        """How often each task's every example is seen in n draws, on average."""
        return {name: n * self.rates[name] / self.sizes[name] for name in self.sizes}

    def _tasks(self) -> Iterator[str]:
        """Task after task, drawn by rate, from the raw words of PCG64 (see `sampling.py`)."""
        import numpy as np

        names = list(self.sizes)
        bounds = np.cumsum([self.rates[name] for name in names])
        words = np.random.PCG64(np.random.SeedSequence([self.seed, _CHOICES]))
        while True:
            shares = words.random_raw(DRAWN_AT_ONCE) / 2.0**64
            for place in np.searchsorted(bounds, shares, side="right").tolist():
                yield names[min(place, len(names) - 1)]

    def _examples(self, task: int) -> Iterator[int]:
        epoch = 0
        size = list(self.sizes.values())[task]
        while True:
            yield from permutation(size, self.seed, _ORDERS, task, epoch)
            epoch += 1


def _check(sizes: Mapping[str, int]) -> None:
    if not sizes:
        raise UsageError("no tasks to mix; expected at least one")
    if empty := [name for name, size in sizes.items() if size < 1]:
        raise UsageError(f"no examples to draw of {listed(empty)}")
