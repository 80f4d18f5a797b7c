"""How a task's examples are parted: a dev split out of train, and the label that k shots are drawn by.

Knows examples, not tasks or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from softprompt.data.columns import Kind
from softprompt.data.examples import Example
from softprompt.data.sampling import permutation, stratified_split
from softprompt.errors import UsageError


def dev_from_train(
    train: Sequence[Example],
    size: int | None,
    fraction: float | None,
    seed: int,
    *,
    by_label: bool,
) -> tuple[list[Example], list[Example]]:
    """What stays in train, and the dev split that leaves it.

    Rows with the same fields, or of the same group, stay on one side together.

    Args:
        size, fraction: of dev; one of them.
        seed: the same split everywhere for the same rows.
        by_label: whether labels keep their proportions.
    Raises:
        UsageError: both or neither of size and fraction, or out of range.
    """
    if (size is None) == (fraction is None):
        raise UsageError("give either size= or fraction= for the dev split")
    if fraction is not None:
        if not 0 < fraction < 1:
            raise UsageError(f"fraction: expected between 0 and 1, got {fraction}")
        size = max(1, round(fraction * len(train)))
    if size is None or not 0 < size < len(train):
        message = f"size: expected 1 to {len(train) - 1} of {len(train)} rows, got {size}"
        raise UsageError(message)
    strata = [row.target if by_label and isinstance(row.target, str) else None for row in train]
    clusters = [
        (row.group,) if row.group is not None else tuple(row.fields.items()) for row in train
    ]
    stay, gone = stratified_split(strata, clusters, size, seed)
    if not gone:
        raise UsageError(f"no row can leave train for a dev split of {size}; use a larger size")
    return [train[i] for i in stay], [train[i] for i in gone]


def subsample(rows: Sequence[Example], n: int, seed: int, *, whole: bool) -> list[Example]:
    """Some of the rows, in their order; with one seed, fewer rows are a part of more.

    Args:
        n: how many.
        whole: a group goes or stays as a whole, so that there may be a few rows less than n.
    Raises:
        UsageError: n is not between 1 and the number of rows, or is less than a whole group.
    """
    if not 1 <= n <= len(rows):
        raise UsageError(f"expected 1 to {len(rows)}, the rows there are, got {n}")
    together: dict[str | int, list[int]] = {}
    for place, row in enumerate(rows):
        key = row.group if whole and row.group is not None else place
        together.setdefault(key, []).append(place)
    groups = list(together.values())
    kept: list[int] = []
    for number in permutation(len(groups), seed):
        if len(kept) + len(groups[number]) > n:
            break
        kept += groups[number]
    if not kept:
        most = max(map(len, groups))
        raise UsageError(
            f"a metric counts whole groups, of up to {most} rows; expected at least so many, got {n}"
        )
    return [rows[place] for place in sorted(kept)]


def coarse_label(kind: Kind, bounds: tuple[float, float] | None) -> Callable[[Example], str]:
    """What k shots are counted by: a row's label, or the half of `bounds` that its number is in.

    Raises:
        UsageError: free-text targets, or numbers without bounds.
    """
    if kind == "text":
        raise UsageError("few_shot needs labels or numbers, the task has free-text targets")
    if kind == "number" and bounds is None:
        raise UsageError("few_shot splits numbers at the middle of `bounds`; give bounds")
    middle = sum(bounds) / 2 if bounds is not None else 0.0

    def label(row: Example) -> str:
        if isinstance(row.target, float):
            return "below the middle" if row.target < middle else "above the middle"
        if isinstance(row.target, str):
            return row.target
        raise UsageError(f"few_shot: row {row.id} has no single label")

    return label
