"""Which windows of one long row of numbers stand, number for number, in another.

Knows integers, not text: words and characters come here as ids. Windows are found by a rolling
hash and then compared number for number, so that an answer is never a collision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint32]
Places = NDArray[np.int64]

NOTHING = 0
"""The id that never matches: a gap between texts, or a word that no indexed text holds."""

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_PAIRS = 1 << 18
"""Candidate pairs compared at once, to bound memory."""


class Stream:
    """A row of ids with the prefix sums from which a window of any width is hashed.

    The hash of the window at i is sum(mix(id[i + j]) * base**j) modulo 2**64 (Karp and Rabin 1987),
    with an odd base, so that the prefix sum up to i divides out again.

    Args:
        ids: `[n]`; `NOTHING` separates texts.
    """

    def __init__(self, ids: Ids):
        self.ids = ids
        length = len(ids)
        self._sums = np.zeros(length + 1, dtype=np.uint64)
        np.cumsum(_mixed(ids.astype(np.uint64)) * _powers(_BASE, length), out=self._sums[1:])
        self._unscale = _powers(_INVERSE, length)

    def hashes(self, width: int, places: Places | None = None) -> NDArray[np.uint64]:
        """Hashes of the windows of `width` ids that start at `places`, or at every place.

        Returns:
            `[len(places)]`, or `[n - width + 1]` without `places`.
        """
        if places is not None:
            sums = self._sums[places + width] - self._sums[places]
            return _mixed(sums * self._unscale[places])
        count = max(0, len(self.ids) - width + 1)
        sums = self._sums[width : width + count] - self._sums[:count]
        return _mixed(sums * self._unscale[:count])


class WindowTable:
    """The windows of one width that start at given places of a stream.

    Memory: 16 bytes for each window, and 8 to 16 for a filter that spares most searches.

    Args:
        stream: the indexed texts.
        width: ids in a window.
        places: where windows start, `[windows]`; each window must end before the stream does.
    """

    def __init__(self, stream: Stream, width: int, places: Places):
        self.ids, self.width = stream.ids, width
        hashes = stream.hashes(width, places)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = hashes[order], places[order]
        bits = min(28, max(8, len(places).bit_length() + 3))
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, dtype=np.bool_)
        self._filter[self._hashes >> self._shift] = True

    def find(self, query: Stream) -> tuple[Places, Places]:
        """Every pair of equal windows: its place in the query and in the indexed stream."""
        hashes = query.hashes(self.width)
        places = np.flatnonzero(self._filter[hashes >> self._shift])
        wanted = hashes[places]
        first = np.searchsorted(self._hashes, wanted, side="left")
        counts = np.searchsorted(self._hashes, wanted, side="right") - first
        hit = counts > 0
        places, first, counts = places[hit], first[hit], counts[hit]
        ends = np.cumsum(counts)
        in_query: list[Places] = []
        in_table: list[Places] = []
        for start in range(0, int(ends[-1]) if len(ends) else 0, _PAIRS):
            pair = np.arange(start, min(start + _PAIRS, int(ends[-1])))
            row = np.searchsorted(ends, pair, side="right")
            left = places[row]
            right = self._places[first[row] + pair - (ends[row] - counts[row])]
            same = self._same(query.ids, left, right)
            in_query.append(left[same])
            in_table.append(right[same])
        if not in_query:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return np.concatenate(in_query), np.concatenate(in_table)

    def _same(self, ids: Ids, left: Places, right: Places) -> NDArray[np.bool_]:
        same = np.ones(len(left), dtype=np.bool_)
        for step in range(self.width):
            same &= (ids[left + step] == self.ids[right + step]) & (ids[left + step] != NOTHING)
        return same


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all others (two rounds of Murmur's finaliser)."""
    values = (values ^ (values >> np.uint64(32))) * _MIX
    values = (values ^ (values >> np.uint64(29))) * _MIX
    return values ^ (values >> np.uint64(32))


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """base**0, base**1, … modulo 2**64, `[count]`."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.multiply.accumulate(factors)
