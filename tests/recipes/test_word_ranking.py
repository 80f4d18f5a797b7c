"""Words and their combinations out of arrays of scores: brute force, beams, ties, repeats, two poles."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt.errors import SettingsError
from softprompt.recipes.search.words import ranking as word_ranking
from softprompt.recipes.search.words.ranking import (
    Combinations,
    Floats,
    Gold,
    Ints,
    best_words,
    combine,
    nearest,
)


def drawn(
    seed: int, rows: int, words: int, classes: int, *, even: bool = False
) -> tuple[Floats, Gold]:
    """Scores of `words` words at `rows` rows; `even`: few different values, so that many tie."""
    draw = np.random.default_rng(seed)
    table = draw.integers(-3, 1, (rows, words)) if even else draw.normal(size=(rows, words))
    gold = np.concatenate([np.arange(classes), draw.integers(0, classes, rows - classes)])
    return table.astype(np.float32), Gold(gold, classes)


def pools(words: int, classes: int, size: int, seed: int) -> list[Ints]:
    draw = np.random.default_rng(seed)
    return [draw.permutation(words)[:size].astype(np.int64) for _ in range(classes)]


def by_hand(
    table: Floats, gold: Gold, places: list[Ints], keep: int, repeats: bool
) -> list[tuple[int, ...]]:
    """All combinations, one by one: right rows, then cross-entropy, then places."""
    ranked = []
    for place in itertools.product(*(range(len(pool)) for pool in places)):
        chosen = [int(pool[n]) for pool, n in zip(places, place, strict=True)]
        if not repeats and len(set(chosen)) < len(chosen):
            continue
        right, loss = 0, []
        for row, own in zip(table, gold.classes, strict=True):
            scores = [float(row[word]) for word in chosen]
            right += scores.index(max(scores)) == own
            top = max(scores)
            loss.append(top + math.log(sum(math.exp(s - top) for s in scores)) - scores[own])
        ranked.append((-right, round(float(np.mean(loss)), 9), place, tuple(chosen)))
    return [chosen for _, _, _, chosen in sorted(ranked)[:keep]]


def listed(found: Combinations) -> list[tuple[int, ...]]:
    return [tuple(int(n) for n in row) for row in found.words]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 4),
    repeats=st.booleans(),
    even=st.booleans(),
)
def test_all_combinations_are_ranked_as_by_hand(
    seed: int, classes: int, repeats: bool, even: bool
) -> None:
    table, gold = drawn(seed, 9, 7, classes, even=even)
    places = pools(7, classes, 4, seed)
    if not repeats and not by_hand(table, gold, places, 10, repeats):
        return
    found = combine(table, gold, places, 10, repeats=repeats)
    assert listed(found) == by_hand(table, gold, places, 10, repeats)
    assert found.exhaustive
    assert found.possible == 4**classes


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), even=st.booleans())
def test_a_beam_of_full_width_finds_what_all_combinations_give(
    seed: int, classes: int, even: bool
) -> None:
    table, gold = drawn(seed, 10, 8, classes, even=even)
    places = pools(8, classes, 5, seed)
    whole = combine(table, gold, places, 12)
    beam = combine(table, gold, places, 12, most=0, width=5**classes)
    assert not beam.exhaustive
    assert listed(beam) == listed(whole)
    assert np.array_equal(beam.losses, whole.losses)
    assert beam.tied == whole.tied


def test_a_narrow_beam_finds_words_that_stand_out() -> None:
    table, gold = drawn(3, 40, 30, 5)
    for number in range(5):
        table[:, number] = np.where(gold.classes == number, 5.0, -5.0)
    places = [np.arange(30) for _ in range(5)]
    found = combine(table, gold, places, 1, most=1_000_000, width=20)
    assert found.possible == 30**5
    assert not found.exhaustive
    assert listed(found) == [(0, 1, 2, 3, 4)]
    assert found.scores[0] == 1.0


def test_the_cut_into_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table, gold = drawn(5, 12, 9, 3, even=True)
    places = pools(9, 3, 6, 5)
    whole = combine(table, gold, places, 30)
    monkeypatch.setattr(word_ranking, "BLOCK", 40)
    cut = combine(table, gold, places, 30)
    assert listed(cut) == listed(whole)
    assert np.array_equal(cut.losses, whole.losses)


def test_of_equal_words_the_first_class_wins_as_in_a_prediction() -> None:
    table = np.zeros((2, 2), dtype=np.float32)
    gold = Gold(np.array([0, 1]), 2)
    found = combine(table, gold, [np.array([0]), np.array([1])], 1)
    assert found.scores[0] == 0.5
    with pytest.raises(
        SettingsError, match=r"2 classes have 1 word to .* a larger --top, other words"
    ):
        combine(table, gold, [np.array([0]), np.array([0])], 1)
    assert combine(table, gold, [np.array([0]), np.array([0])], 1, repeats=True).scores[0] == 0.5


def test_two_poles_are_ranked_by_their_correlation_with_the_numbers() -> None:
    draw = np.random.default_rng(0)
    table = draw.normal(size=(20, 6)).astype(np.float32)
    values = draw.uniform(size=20)
    table[:, 4] = -2 * values
    table[:, 5] = 0.0
    gold = Gold((values >= 0.5).astype(np.int64), 2, values)
    found = combine(table, gold, [np.arange(6), np.arange(6)], 30)
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]

    def r(pair: tuple[int, int]) -> float:
        upper = 1 / (1 + np.exp(table[:, pair[0]] - table[:, pair[1]].astype(np.float64)))
        return float(np.corrcoef(upper, values)[0, 1])

    assert listed(found) == sorted(pairs, key=lambda pair: -r(pair))
    assert found.scores[0] == pytest.approx(max(map(r, pairs)), abs=1e-12)
    assert listed(found)[0] == (4, 5)


def test_words_that_never_change_correlate_with_nothing() -> None:
    table = np.zeros((4, 2), dtype=np.float32)
    values = np.array([0.0, 0.2, 0.8, 1.0])
    gold = Gold(np.array([0, 0, 1, 1]), 2, values)
    assert combine(table, gold, [np.array([0]), np.array([1])], 1).scores[0] == -1.0


def test_the_best_words_of_a_class_keep_their_order_among_equals() -> None:
    sums = np.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 5.0]])
    assert [list(pool) for pool in best_words(sums, 3)] == [[1, 2, 3], [3, 0, 1]]
    assert [len(pool) for pool in best_words(sums, 99)] == [4, 4]


def test_neighbours_are_the_largest_cosines_in_the_order_of_the_words() -> None:
    vectors = np.array([[1.0, 0.1], [-1.0, 0.0], [50.0, 50.0], [3.0, 0.0]])
    kept = nearest(np.array([7, 8, 9, 10]), vectors, np.array([2.0, 0.0]), 2)
    assert list(kept) == [7, 10]
