"""Mixing rates against worked examples; a stream that is the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.mixing import Mixture, equal, proportional, tempered
from softprompt.errors import UsageError

SIZES = {"big": 800, "middle": 150, "small": 50}


def test_proportional_rates_follow_the_examples_up_to_the_limit() -> None:
    assert proportional(SIZES) == pytest.approx({"big": 0.8, "middle": 0.15, "small": 0.05})
    # With K = 100: 100, 100 and 50 of 250.
    assert proportional(SIZES, limit=100) == pytest.approx(
        {"big": 0.4, "middle": 0.4, "small": 0.2}
    )


def test_a_temperature_of_two_takes_square_roots() -> None:
    # 16, 9 and 25 hundredths of 50: roots 4, 3 and 5 of 12.
    assert tempered({"a": 16, "b": 9, "c": 25}, 2) == pytest.approx(
        {"a": 4 / 12, "b": 3 / 12, "c": 5 / 12}
    )


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 10**7), min_size=1, max_size=8),
    st.floats(1, 50),
    st.integers(1, 10**6),
)
def test_rates_sum_to_one_and_lie_between_proportional_and_equal(
    sizes: dict[str, int], temperature: float, limit: int
) -> None:
    plain, warm = proportional(sizes, limit), tempered(sizes, temperature, limit)
    for rates in (plain, warm, equal(sizes)):
        assert sum(rates.values()) == pytest.approx(1)
    assert max(warm.values()) <= max(plain.values()) + 1e-9
    assert min(warm.values()) >= min(plain.values()) - 1e-9
    assert tempered(sizes, 1, limit) == plain
    assert tempered(sizes, 1e9, limit) == pytest.approx(equal(sizes), abs=1e-6)


def test_a_mixture_draws_by_its_rates_and_the_same_for_the_same_seed() -> None:
    rates = proportional(SIZES, limit=100)
    drawn = Mixture(SIZES, rates, seed=3).draw(5_000)
    counts = Counter(name for name, _ in drawn)
    for name, rate in rates.items():  # within 4 standard deviations
        assert abs(counts[name] - 5_000 * rate) < 4 * (5_000 * rate * (1 - rate)) ** 0.5
    assert drawn == Mixture(SIZES, rates, seed=3).draw(5_000)
    assert drawn != Mixture(SIZES, rates, seed=4).draw(5_000)
    assert drawn[4_000:] == Mixture(SIZES, rates, seed=3).draw(1_000, start=4_000)


def test_every_example_of_a_task_comes_once_before_any_comes_again() -> None:
    stream = Mixture({"a": 7, "b": 100}, {"a": 0.5, "b": 0.5}, seed=0)
    of_a = list(islice((index for name, index in stream if name == "a"), 21))
    assert [sorted(of_a[n : n + 7]) for n in (0, 7, 14)] == [list(range(7))] * 3
    assert len({tuple(of_a[n : n + 7]) for n in (0, 7, 14)}) > 1  # in another order
    assert stream.expected(1_400)["a"] == pytest.approx(100)


FIRST = [("a", 3), ("b", 1), ("b", 2), ("a", 2), ("b", 0), ("a", 1)]


def test_the_first_draws_are_what_they_always_were() -> None:
    # A seed means the same run on every platform and version.
    assert Mixture({"a": 4, "b": 3}, {"a": 0.5, "b": 0.5}, seed=1).draw(6) == FIRST


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(UsageError, match="no tasks to mix"):
        equal({})
    with pytest.raises(UsageError, match="no examples to draw of 'b'"):
        proportional({"a": 1, "b": 0})
    with pytest.raises(UsageError, match="temperature: expected a number from 1, got 0"):
        tempered(SIZES, 0.5)
    with pytest.raises(UsageError, match="limit: expected at least 1"):
        proportional(SIZES, limit=0)
    with pytest.raises(UsageError, match="different tasks: 'c'"):
        Mixture({"a": 1}, {"a": 0.5, "c": 0.5})
    with pytest.raises(UsageError, match="sum to 1"):
        Mixture({"a": 1, "b": 1}, {"a": 0.5, "b": 0.2})
