"""Equal windows are found, all of them, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.pretraining import windows
from softprompt.pretraining.windows import NOTHING, Stream, WindowTable

IDS = st.lists(st.integers(0, 3), max_size=30)


def pairs(table: list[int], query: list[int], width: int) -> set[tuple[int, int]]:
    places = np.arange(max(0, len(table) - width + 1))
    built = WindowTable(Stream(np.array(table, dtype=np.uint32)), width, places)
    here, there = built.find(Stream(np.array(query, dtype=np.uint32)))
    assert len(here) == len(set(zip(here, there, strict=True)))
    return set(zip(here.tolist(), there.tolist(), strict=True))


@given(table=IDS, query=IDS, width=st.integers(1, 4))
def test_windows_equal_the_comparison_of_all_with_all(
    table: list[int], query: list[int], width: int
) -> None:
    expected = {
        (here, there)
        for here in range(len(query) - width + 1)
        for there in range(len(table) - width + 1)
        if query[here : here + width] == table[there : there + width]
        and NOTHING not in query[here : here + width]
    }
    assert pairs(table, query, width) == expected


def test_equal_hashes_of_unequal_windows_are_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_mixed", lambda values: values * np.uint64(0))
    assert pairs([1, 2, 3, 1], [3, 1, 2], 2) == {(0, 2), (1, 0)}


def test_many_candidates_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_PAIRS", 7)
    assert len(pairs([1] * 10, [1] * 9, 2)) == 9 * 8


def test_a_hash_does_not_depend_on_where_the_window_stands() -> None:
    stream = Stream(np.tile(np.arange(1, 1001, dtype=np.uint32), 50))
    hashes = stream.hashes(13)
    assert hashes[7] == hashes[49 * 1000 + 7]
    assert len(np.unique(hashes)) == 1000
