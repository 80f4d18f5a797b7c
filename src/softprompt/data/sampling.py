"""Which rows go where: seeded orders, draws, stratified splits, and LM-BFF's k-shot splits.

Knows positions and labels, not texts. Two sources of chance, on purpose:

- `permutation` uses the raw words of PCG64, which NumPy promises never to change: the same on every
  platform and version.
- `k_shot` uses NumPy's legacy generator, which is frozen: it reproduces the published splits of
  LM-BFF (Gao, Fisch, Chen 2020), row for row.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from softprompt.errors import UsageError

T = TypeVar("T")
_WORDS_AT_ONCE = 4096


def permutation(n: int, *key: int) -> list[int]:
    """The numbers 0 to n-1 in an order that depends on `key` alone.

    Args:
        n: how many.
        key: whole numbers from 0, such as a seed and an epoch.
    """
    import numpy as np

    if any(number < 0 for number in key):
        raise UsageError(f"seed: expected whole numbers from 0, got {', '.join(map(str, key))}")
    words = np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(n)
    order: list[int] = np.argsort(words, kind="stable").tolist()
    return order


def _words_of(*key: int) -> Iterator[int]:
    """The endless row of 64-bit words that `permutation` sorts by, a few thousand at a time.

    Args:
        key: as in `permutation`.
    """
    import numpy as np

    if any(number < 0 for number in key):
        raise UsageError(f"seed: expected whole numbers from 0, got {', '.join(map(str, key))}")
    source = np.random.PCG64(np.random.SeedSequence(list(key)))
    while True:
        yield from source.random_raw(_WORDS_AT_ONCE).tolist()


def draw(rows: Iterable[T], n: int, *key: int) -> list[T]:
    """n rows of a stream, every set of n as likely, in their order; all where there are fewer.

    The same rows as `permutation(len(rows), *key)[:n]`, so that fewer are a part of more; but the
    rows are read once, their number need not be known, and no more than n are held at a time.

    Args:
        n: how many; 0 reads nothing.
        key: as in `permutation`.
    """
    if n < 0:
        raise UsageError(f"n: expected at least 0, got {n}")
    # A heap whose top is the row that goes next: the one with the largest word, the later on ties.
    heap: list[tuple[int, int, T]] = []
    numbered = zip(_words_of(*key), rows, strict=False) if n else ()
    for place, (word, row) in enumerate(numbered):
        item = (-word, -place, row)  # places differ, so rows are never compared
        if len(heap) < n:
            heapq.heappush(heap, item)
        elif item[0] > heap[0][0]:
            heapq.heapreplace(heap, item)
    return [row for _, _, row in sorted(heap, key=lambda item: -item[1])]


def balanced(labels: Sequence[Hashable], n: int, seed: int) -> list[int]:
    """Positions of n rows spread evenly over the labels; fewer rows are a part of more.

    One row of each label in turn, so that counts differ by one at most while no label has run out
    (then the others go on). PET's small sets are such ones (Schick and Schütze 2021, section 4.2).

    Args:
        labels: one per row.
        n: how many; all where there are fewer.
        seed: whole number from 0; it also says which labels have one row more.
    Returns:
        Ascending positions.
    """
    members: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    names = sorted(members, key=str)
    turns: list[tuple[int, int, int]] = []
    for turn, number in enumerate(permutation(len(names), seed)):
        positions = members[names[number]]
        order = permutation(len(positions), seed, number)
        turns += [(again, turn, positions[place]) for again, place in enumerate(order)]
    return sorted(position for _, _, position in islice(sorted(turns), n))


def k_shot(
    rows: Sequence[T], k: int, seed: int, label: Callable[[T], Hashable]
) -> tuple[list[T], list[T]]:
    """LM-BFF's split: k rows of each label to train on, and the next k of each for dev.

    The law of its `tools/generate_k_shot_data.py`: seed the legacy generator, shuffle the rows (a
    header is no row), and take per label, the labels in order of first appearance in the shuffled
    rows. Both parts are ordered by label, then as shuffled.

    Args:
        rows: the training rows in the order of the file.
        k: rows per label and part.
        seed: 0 to 2**32 - 1; LM-BFF's are 13, 21, 42, 87, 100.
        label: what a row counts as.
    Raises:
        UsageError: a label has fewer than 2 k rows. (LM-BFF takes what there is, and says nothing.)
    """
    import numpy as np

    if k < 1:
        raise UsageError(f"k: expected at least 1, got {k}")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed: expected 0 to {2**32 - 1}, got {seed}")
    order = np.arange(len(rows))
    np.random.RandomState(seed).shuffle(order)
    by_label: dict[Hashable, list[T]] = {}
    for position in order.tolist():
        by_label.setdefault(label(rows[position]), []).append(rows[position])
    for name, members in by_label.items():
        if len(members) < 2 * k:
            most = len(members) // 2
            raise UsageError(
                f"label {name!r} has {len(members)} row(s); k={k} takes {2 * k}, half to train on "
                f"and half for dev; " + (f"use k={most} or less" if most else "add rows to it")
            )
    train = [row for members in by_label.values() for row in members[:k]]
    dev = [row for members in by_label.values() for row in members[k : 2 * k]]
    return train, dev


def shares(counts: Sequence[int], size: int) -> list[int]:
    """Split `size` in proportion to `counts`, by largest remainder, earlier ones first on ties.

    No share takes a whole count: at least one of each stays behind.
    """
    total = sum(counts)
    exact = [count * size / total for count in counts]
    taken = [min(int(share), max(count - 1, 0)) for share, count in zip(exact, counts, strict=True)]
    by_remainder = sorted(range(len(counts)), key=lambda i: taken[i] - exact[i])
    left = size - sum(taken)
    while left:
        room = [i for i in by_remainder if taken[i] < counts[i] - 1]
        if not room:
            break
        for i in room[:left]:
            taken[i] += 1
        left = size - sum(taken)
    return taken


def stratified_split(
    labels: Sequence[Hashable], clusters: Sequence[Hashable], size: int, seed: int
) -> tuple[list[int], list[int]]:
    """Positions that stay and positions that go, labels in proportion, clusters never torn apart.

    Args:
        labels: one per row; what to balance.
        clusters: one per row; rows of one cluster (the same text twice, one question's answers)
            stay together, or what is learned from one would be tested on the other.
        size: how many go. Fewer go where clusters leave no exact fit.
        seed: whole number from 0.
    Returns:
        Two ascending lists of positions.
    """
    members: dict[Hashable, list[int]] = {}
    for position, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(position)
    strata: dict[Hashable, list[list[int]]] = {}
    for positions in members.values():
        strata.setdefault(labels[positions[0]], []).append(positions)
    names = sorted(strata, key=str)
    quotas = shares([sum(map(len, strata[name])) for name in names], size)
    gone: set[int] = set()
    for number, (name, quota) in enumerate(zip(names, quotas, strict=True)):
        for place in permutation(len(strata[name]), seed, number):
            positions = strata[name][place]
            if len(positions) <= quota:
                quota -= len(positions)
                gone.update(positions)
    stay = [position for position in range(len(labels)) if position not in gone]
    return stay, sorted(gone)
