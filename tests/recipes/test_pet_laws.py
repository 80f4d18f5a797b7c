"""PET's and iPET's laws in closed form: weights, means of logits, sizes of generations, sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from softprompt.recipes.pet.generations import n_generations, others, pick, sizes
from softprompt.recipes.pet.votes import combined, softmax, weights_of


def scores(*rows: tuple[float, ...]) -> np.ndarray:
    return np.log(np.array(rows, dtype=np.float64)).astype(np.float32)


def test_models_weigh_by_their_patterns_accuracy():
    assert weights_of([0.9, 0.3, 0.6], "accuracy").tolist() == pytest.approx([0.5, 1 / 6, 1 / 3])
    assert weights_of([0.9, 0.3], "uniform").tolist() == [0.5, 0.5]


@pytest.mark.parametrize("unknown", [math.nan, 0.0])
def test_without_labelled_rows_all_models_weigh_the_same(unknown):
    assert weights_of([unknown, unknown], "accuracy").tolist() == [0.5, 0.5]


def test_the_ensemble_is_the_mean_of_logits_not_of_probabilities():
    """sqrt(.9·.5) : sqrt(.1·.5) = 3 : 1, where the mean of probabilities is 0.7."""
    joint = softmax(combined([scores((0.9, 0.1)), scores((0.5, 0.5))], [1.0, 1.0]))
    assert joint[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-6)


def test_a_constant_per_example_changes_nothing():
    one, other = scores((0.7, 0.3)), scores((0.2, 0.8))
    raw = combined([one + 5.0, other - 2.0], [0.4, 0.6])
    assert softmax(raw) == pytest.approx(softmax(combined([one, other], [0.4, 0.6])), abs=1e-6)


def test_as_many_weights_as_models():
    with pytest.raises(ValueError, match="1 models, 2 weights"):
        combined([scores((0.5, 0.5))], [1.0, 1.0])


@pytest.mark.parametrize(
    ("labelled", "growth", "expected"),
    [(10, 5, 3), (50, 5, 2), (100, 5, 2), (8, 5, 3), (1000, 5, 1), (0, 5, 4), (40, 5, 2)],
)
def test_generations_until_a_thousand_rows(labelled, growth, expected):
    """The paper's 10 → 3, 50 and 100 → 2."""
    assert n_generations(labelled, growth) == expected


def test_a_generation_has_five_times_the_rows_in_the_ratio_of_labels():
    assert sizes([6, 4], 5, 1) == [24, 16]  # 50 rows, 10 of them T
    assert sizes([6, 4], 5, 2) == [144, 96]


def test_zero_shot_begins_with_ten_rows_in_all():
    assert sizes([0, 0, 0, 0], 5, 1) == [3, 3, 2, 2]
    assert sum(sizes([0, 0, 0, 0], 5, 2)) == 50


@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=6).filter(any),
    st.floats(1.5, 6.0),
    st.integers(1, 3),
)
def test_new_rows_keep_the_ratio_of_labels_to_within_one(counts, growth, generation):
    wanted = sizes(counts, growth, generation)
    total = round(sum(counts) * growth**generation) - sum(counts)
    assert sum(wanted) == total
    for count, asked in zip(counts, wanted, strict=True):
        assert abs(asked - total * count / sum(counts)) < 1


@given(st.integers(2, 12), st.floats(0.01, 1.0), st.integers(0, 2**16))
def test_a_model_never_labels_for_itself_and_at_least_one_other_does(n, share, seed):
    own = seed % n
    chosen = others(n, own, share, np.random.default_rng(seed))
    assert own not in chosen
    assert len(set(chosen)) == len(chosen) == max(1, round(share * (n - 1)))


def test_a_single_model_has_nobody_to_label_for_it():
    with pytest.raises(ValueError, match="no other one"):
        others(1, 0, 0.25, np.random.default_rng(0))


def test_rows_are_drawn_by_the_share_of_their_label():
    """Of rows with shares .9 .6 .6 .9, all of label 0, one draw takes each with share/3."""
    given_scores = scores((0.9, 0.1), (0.6, 0.4), (0.6, 0.4), (0.9, 0.1))
    generator = np.random.default_rng(3)
    drawn = [pick([given_scores], [1.0], [1, 0], generator).rows[0] for _ in range(6000)]
    counts = np.bincount(drawn, minlength=4)
    expected = 6000 * np.array([0.9, 0.6, 0.6, 0.9]) / 3.0
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_rows_have_the_likeliest_label_of_the_models_that_label():
    found = pick(
        [scores((0.8, 0.2), (0.1, 0.9), (0.3, 0.7))], [1.0], [1, 2], np.random.default_rng(0)
    )
    assert dict(zip(found.rows, found.labels, strict=True)) == {0: 0, 1: 1, 2: 1}
    assert not found.exhausted


def test_a_pool_too_small_is_repeated_and_says_so():
    found = pick([scores((0.8, 0.2), (0.1, 0.9))], [1.0], [3, 1], np.random.default_rng(0))
    assert found.rows == (0, 0, 0, 1)
    assert found.labels == (0, 0, 0, 1)
    assert found.exhausted
    assert found.found == (1, 1)


def test_a_label_that_no_row_has_gives_none():
    found = pick([scores((0.8, 0.2))], [1.0], [1, 2], np.random.default_rng(0))
    assert found.rows == (0,)
    assert found.found == (1, 0)
    assert found.absent == (1,)
    assert not found.exhausted  # nothing was repeated


def test_zero_shot_draws_from_the_likeliest_rows_of_each_label():
    """Every row is label 0's; label 1 still takes the two rows where it is likeliest."""
    given_scores = scores((0.9, 0.1), (0.8, 0.2), (0.6, 0.4), (0.7, 0.3))
    found = pick([given_scores], [1.0], [0, 2], np.random.default_rng(0), likeliest=2)
    assert set(found.rows) == {2, 3}
    assert found.labels == (1, 1)
