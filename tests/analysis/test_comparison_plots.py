"""The pictures of a comparison: whole PNG files, the same for the same numbers, for any names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softprompt.analysis.comparison_plots import (
    Bar,
    Point,
    Series,
    against,
    colour_and_marker,
    scores_by_row,
    shares_by_row,
)

BARS = [
    Bar("prompt tuning", 0.8, 0.7, 0.9, (0.78, 0.82)),
    Bar("zero-shot, 中文 $x$", 0.5, None, None, (0.5,), baseline=True),
    Bar("prefix", 0.4, 0.3, 0.5, marked=True),
]
SERIES = [
    Series(f"row {number}", [Point(1, 0.5, 0.4, 0.6), Point(20, 0.6), Point(100, 0.7)])
    for number in range(9)
]
DRAWN: list[Callable[[], bytes]] = [
    lambda: scores_by_row(BARS, "accuracy", "topics", 0.25),
    lambda: scores_by_row(BARS[:1], "matthews", "topics", None),
    lambda: shares_by_row([("full", 1.0), ("prompt", 1e-4), ("zero", 0.0)], "shares"),
    lambda: against(SERIES, "method.length", "accuracy", "lengths", log_x=True, majority=0.2),
    lambda: against(SERIES[:1], "size", "%", "shares", log_x=True, log_y=True),
    lambda: against(SERIES[:2], "operations", "accuracy", "cost", joined=False),
]


@pytest.mark.parametrize("draw", DRAWN)
def test_a_picture_is_a_png_and_the_same_twice(draw: Callable[[], bytes]) -> None:
    picture = draw()
    assert picture.startswith(b"\x89PNG")
    assert picture == draw()


def test_the_picture_changes_with_the_numbers() -> None:
    moved = [BARS[0], BARS[1], Bar("prefix", 0.45, 0.3, 0.5, marked=True)]
    assert scores_by_row(BARS, "a", "t", None) != scores_by_row(moved, "a", "t", None)


def test_as_many_rows_as_there_are_methods_look_different() -> None:
    assert len({colour_and_marker(number) for number in range(49)}) == 49
