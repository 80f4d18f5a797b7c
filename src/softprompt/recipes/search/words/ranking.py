"""Label words out of cached scores: the best per class, and the best combinations of one word per class.

Gao, Fisch & Chen 2020 (LM-BFF, arXiv 2012.15723), section 5.1. Arrays only: no models, no tokenizers.
Dimensions: N training rows, W words, C classes, M combinations, H width of an output embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softprompt.errors import SettingsError

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

DECIMALS = 10
"""Of a cross-entropy: sums of the same numbers in blocks of another size differ behind them."""

BLOCK = 1 << 22
"""Numbers that are worked on at once: 16 MB in f32."""


@dataclass(frozen=True)
class Gold:
    """What the training rows ask for.

    Args:
        classes: of each row, `[N]`; of a number, the half of the bounds that it is in.
        count: C.
        values: of a number, its share of the way from the lower to the upper bound, `[N]`; None: labels.
    """

    classes: Ints
    count: int
    values: Floats | None = None


@dataclass(frozen=True)
class Combinations:
    """Combinations of words, the best one first.

    Args:
        words: a column of the table for each class, `[M, C]`.
        scores: zero-shot accuracy on the rows, of numbers Pearson's r, `[M]`.
        losses: zero-shot cross-entropy on the rows, nats, `[M]`.
        possible: how many there are in all.
        exhaustive: whether each of them was scored; otherwise a beam was searched.
        tied: how many have the best score, of those that were scored.
    """

    words: Ints
    scores: Floats
    losses: Floats
    possible: int
    exhaustive: bool
    tied: int


def best_words(sums: Floats, count: int) -> list[Ints]:
    """The columns of the `count` words with the largest score in each class; equals in column order.

    Args:
        sums: of each class, `[C, W]`.
    """
    return [np.argsort(-row, kind="stable")[:count] for row in sums]


def nearest(words: Ints, vectors: Floats, own: Floats, count: int) -> Ints:
    """Of some words the `count` whose output embeddings have the largest cosine with `own`, in the order
    in which they stood.

    Args:
        vectors: of these words, `[k, H]`.
        own: of the manual word, `[H]`.
    """
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
    cosine = (vectors @ own) / np.maximum(lengths, np.finfo(np.float32).tiny)
    chosen = np.argsort(-cosine, kind="stable")[:count]
    return words[np.sort(chosen)]


def combine(
    table: Floats,
    gold: Gold,
    pools: Sequence[Ints],
    keep: int,
    *,
    most: int = 1_000_000,
    width: int = 1_000,
    repeats: bool = False,
) -> Combinations:
    """The best combinations of one word of each pool: of all, or where they are more than `most` of those
    that a beam meets.

    Ranked by zero-shot accuracy (of numbers by Pearson's r) on the rows, equals by cross-entropy, then by
    where their words stand in the pools.

    Args:
        table: log p of each word at each row's answer position, up to a constant of the row, `[N, W]`.
        pools: columns of the table, one array per class.
        keep: how many to return at most.
        width: of the beam.
        repeats: whether two classes may have the same word.
    Raises:
        SettingsError: no combination without repeats.
    """
    possible = math.prod(len(pool) for pool in pools)
    exhaustive = possible <= most
    if exhaustive:
        chosen, scores = _all(table, gold, pools, keep, repeats)
    else:
        chosen, scores = _beam(table, gold, pools, max(width, keep), repeats)
    if not len(chosen):
        count = len(np.unique(np.concatenate(pools)))
        known = f"{count} word{'s' * (count > 1)}"
        wider = "" if exhaustive else ", a larger --beam"
        raise SettingsError(
            f"--top: the {len(pools)} classes have {known} to be combined, and no combination was found in which "
            f"each has one of its own; give a larger --top{wider}, other words, or --repeats"
        )
    losses = _in_blocks(
        chosen, len(table), lambda part: _losses(table, gold, _columns(pools, part))
    )
    order = np.lexsort((*chosen.T[::-1], losses, -scores))
    tied = int((scores == scores.max()).sum())
    order = order[:keep]
    words = _columns(pools, chosen[order])
    return Combinations(words, scores[order], losses[order], possible, exhaustive, tied)


def accuracy(table: Floats, gold: Gold, words: Ints) -> Floats:
    """Share of the rows whose class's word scores highest, `[M]`; of equal words the first class wins, as
    in a prediction.

    Args:
        words: columns of the table, `[M, C]`.
    """
    best = table[:, words[:, 0]]  # [N, M]
    predicted = np.zeros(best.shape, dtype=np.int16)
    for number in range(1, words.shape[1]):
        own = table[:, words[:, number]]
        predicted[own > best] = number
        np.maximum(best, own, out=best)
    right: Floats = (predicted == gold.classes[:, None]).mean(axis=0)
    return right


def pearson(table: Floats, gold: Gold, words: Ints) -> Floats:
    """Correlation of p(upper word) between two poles with the numbers, `[M]`; −1 where p never changes.

    Args:
        words: the lower and the upper one's columns, `[M, 2]`.
    """
    assert gold.values is not None
    share = _upper(table, words)
    share -= share.mean(axis=0)
    own = np.asarray(gold.values, dtype=np.float64) - np.mean(gold.values)
    spread = np.sqrt((share**2).sum(axis=0) * (own**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > 0, own @ share / spread, -1.0)
    return found


# --- all of them ------------------------------------------------------------------------------


def _all(
    table: Floats, gold: Gold, pools: Sequence[Ints], keep: int, repeats: bool
) -> tuple[Ints, Floats]:
    """Places in the pools `[m, C]` and scores of all combinations that may be among the best `keep`."""
    shape = tuple(len(pool) for pool in pools)
    scores = np.empty(math.prod(shape))
    for block in _blocks(len(scores), len(table)):
        places = np.stack(np.unravel_index(np.arange(block.start, block.stop), shape), axis=1)
        words = _columns(pools, places)
        scores[block] = scored(table, gold, words)
        if not repeats:
            scores[block][_repeated(words)] = -np.inf
    allowed = int((scores > -np.inf).sum())
    if not allowed:
        return np.empty((0, len(pools)), dtype=np.int64), scores[:0]
    worst = np.partition(scores, -min(keep, allowed))[-min(keep, allowed)]
    chosen = np.flatnonzero(scores >= worst)
    return np.stack(np.unravel_index(chosen, shape), axis=1), scores[chosen]


# --- a beam -----------------------------------------------------------------------------------


def _beam(
    table: Floats, gold: Gold, pools: Sequence[Ints], width: int, repeats: bool
) -> tuple[Ints, Floats]:
    """Class after class: of all ways to go on, the `width` that tell the rows of the classes so far apart
    best, equals by cross-entropy, then by their places.

    A combination's rows that are right among the classes so far are never fewer than in the end, so what is
    dropped was behind by that measure; it may still have been the best.
    """
    found = np.arange(len(pools[0]))[:, None]
    for number in range(1, len(pools)):
        grown = np.concatenate(
            [
                np.repeat(found, len(pools[number]), axis=0),
                np.tile(np.arange(len(pools[number])), len(found))[:, None],
            ],
            axis=1,
        )
        seen = gold.classes <= number
        part = Gold(gold.classes[seen], number + 1, _some(gold.values, seen))
        rows, begun = table[seen], pools[: number + 1]
        if not repeats:
            grown = grown[~_repeated(_columns(begun, grown))]
        scores = _over(grown, rows, part, begun, scored)
        if len(grown) > width:
            worst = np.partition(scores, -width)[-width]
            near = np.flatnonzero(scores >= worst)
            losses = _over(grown[near], rows, part, begun, _losses)
            order = np.lexsort((*grown[near].T[::-1], losses, -scores[near]))
            kept = np.sort(near[order[:width]])
            grown, scores = grown[kept], scores[kept]
        found = grown
    return found, scores


def _over(
    places: Ints,
    table: Floats,
    gold: Gold,
    pools: Sequence[Ints],
    measure: Callable[[Floats, Gold, Ints], Floats],
) -> Floats:
    return _in_blocks(places, len(table), lambda part: measure(table, gold, _columns(pools, part)))


# --- parts ------------------------------------------------------------------------------------


def scored(table: Floats, gold: Gold, words: Ints) -> Floats:
    """Accuracy, or of numbers Pearson's r, of combinations, `[M]`."""
    return accuracy(table, gold, words) if gold.values is None else pearson(table, gold, words)


def _losses(table: Floats, gold: Gold, words: Ints) -> Floats:
    """Mean cross-entropy over the words of a combination, nats, `[M]`."""
    if gold.values is not None:
        share = np.clip(_upper(table, words), 1e-30, 1.0)
        rest = np.clip(1.0 - share, 1e-30, 1.0)
        own = np.asarray(gold.values, dtype=np.float64)[:, None]
        mixed: Floats = -(own * np.log(share) + (1.0 - own) * np.log(rest)).mean(axis=0)
        return mixed.round(DECIMALS)
    each = table[:, words].astype(np.float64)  # [N, M, C]
    top = each.max(axis=2)
    log_z = np.log(np.exp(each - top[..., None]).sum(axis=2)) + top
    right = np.take_along_axis(each, gold.classes[:, None, None], axis=2)[..., 0]
    found: Floats = (log_z - right).mean(axis=0)
    return found.round(DECIMALS)


def _upper(table: Floats, words: Ints) -> Floats:
    """p(upper word) of the two, `[N, M]`."""
    gap = table[:, words[:, 0]].astype(np.float64) - table[:, words[:, 1]]
    share: Floats = 1.0 / (1.0 + np.exp(np.clip(gap, -700.0, 700.0)))
    return share


def _columns(pools: Sequence[Ints], places: Ints) -> Ints:
    return np.stack([pool[places[:, n]] for n, pool in enumerate(pools)], axis=1)


def _repeated(words: Ints) -> NDArray[np.bool_]:
    """Which combinations have a word twice."""
    ordered = np.sort(words, axis=1)
    found: NDArray[np.bool_] = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return found


def _some(values: Floats | None, seen: NDArray[np.bool_]) -> Floats | None:
    return None if values is None else values[seen]


def _blocks(count: int, rows: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, rows))
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _in_blocks(places: Ints, rows: int, measure: Callable[[Ints], Floats]) -> Floats:
    parts = [measure(places[block]) for block in _blocks(len(places), rows * places.shape[1])]
    return np.concatenate(parts) if parts else np.empty(0)
