from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import RunError
from softprompt.recipes.choice import Choice, Tried, choose
from softprompt.recipes.outcomes import Outcome, read_outcome


def tried(
    *values: float, loss: float | None = None, size: int = 10, failure: str | None = None
) -> Tried:
    """A variant with these dev accuracies."""
    bound: Any = None
    beside = {} if loss is None else {"loss": loss}
    outcomes = [
        Outcome(
            place=Path("p"),
            seed=seed,
            metrics={} if failure else {"dev": {"accuracy": value, **beside}},
            n={"dev": 8},
            cut={"dev": 0},
            step=3,
            looks=2,
            n_learned=size,
            alarms=[],
            failure=failure,
        )
        for seed, value in enumerate(values)
    ]
    return Tried(bound, outcomes)


def test_the_highest_mean_over_seeds_is_chosen() -> None:
    found = choose([tried(0.9, 0.1), tried(0.6, 0.6), tried(0.7, 0.4)], "accuracy")
    assert found == Choice(1, [1, 2, 0], 1, "")


def test_the_lowest_is_chosen_where_lower_is_better() -> None:
    assert choose([tried(0.9), tried(0.2)], "accuracy", higher_is_better=False).index == 1


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ([tried(0.5, loss=0.9), tried(0.5, loss=0.3, size=99)], (1, "lower dev loss")),
        ([tried(0.5, loss=0.3, size=9), tried(0.5, loss=0.3, size=8)], (1, "fewer parameters")),
        ([tried(0.5, loss=0.3), tried(0.5, size=8)], (1, "fewer parameters")),  # one has no loss
        ([tried(0.5), tried(0.5)], (0, "coming first")),
    ],
)
def test_ties_are_settled_and_counted(variants: list[Tried], expected: tuple[int, str]) -> None:
    found = choose([*variants, tried(0.4, loss=0.0, size=1)], "accuracy")
    assert (found.index, found.settled) == expected
    assert found.tied == 2
    assert found.order[2] == 2


def test_sums_in_another_order_are_a_tie() -> None:
    assert choose([tried(0.1, 0.2, 0.3), tried(0.3, 0.2, 0.1)], "accuracy").tied == 2


def test_a_variant_that_failed_or_has_no_number_is_last_and_never_chosen() -> None:
    variants = [tried(1.0, failure="the loss is nan"), tried(math.nan), tried(0.1)]
    assert choose(variants, "accuracy").order == [2, 1, 0]


def test_when_all_failed_the_reasons_are_given() -> None:
    with pytest.raises(RunError, match="the loss is nan"):
        choose([tried(0.5, failure="the loss is nan")] * 2, "accuracy")


def test_a_run_without_dev_is_its_own_choice() -> None:
    one = tried(0.5)
    bare = Outcome(Path("p"), 0, {}, {}, {}, 3, 0, 10, [])
    assert choose([Tried(one.bound, [bare])], "accuracy") == Choice(0, [0], 1, "")


def test_a_damaged_fit_json_is_named(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    (tmp_path / "fit.json").write_text('{"seed": 0}')
    with pytest.raises(RunError, match=r"fit\.json: cannot be read: expected the keys"):
        read_outcome(tmp_path)
