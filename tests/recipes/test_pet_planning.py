"""What a recipe says is left is what it does: planned and done are the same rows, whatever is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.recipes.pet import course
from softprompt.recipes.pet.pace import SCORED, Pace
from softprompt.recipes.pet.run import run_recipe
from tests.recipes.test_pet import Told, recipe
from tests.small_runs import GOOD, write_jsonl

POOL = SCORED * 34
"""A look at the unlabelled rows: reviews.csv without the six labelled ones."""


class Counted(Pace):
    """Keeps what was planned and what was done."""

    def __init__(self, total: float):
        super().__init__(total)
        self.planned, self.added = total, 0.0

    def done(self, rows: float) -> None:
        super().done(rows)
        self.added += rows


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """The paces of all courses that are run."""
    made: list[Counted] = []

    def kept(total: float) -> Counted:
        made.append(Counted(total))
        return made[-1]

    monkeypatch.setattr(course, "Pace", kept)
    return made


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"distil": []}, 2 * (12 + POOL)),
        ({}, 2 * (12 + POOL) + 8 + 8),
        ({"unlabelled": None}, 2 * 12),
        ({"train_limit": 0, "train_balanced": False}, 2 * SCORED * 40 + 8 + 8),
        ({"recipe": "ipet", "growth": 2, "generations": 9, "distil": []}, 2 * 3 * (12 + POOL)),
        (
            {"recipe": "ipet", "train_limit": 0, "train_balanced": False, "distil": []},
            2 * SCORED * 40 + 2 * (12 + SCORED * 40),
        ),
    ],
)
def test_what_is_planned_is_done(
    here: Path, bert: Path, paces: list[Counted], changes: dict[str, Any], rows: float
):
    """Two models of three steps of four, two products of two steps of four; 6 + 18 + 42 rows in three
    generations are more than the pool has, as are 50 without labelled rows."""
    run_recipe(recipe(here, bert, **changes))
    (pace,) = paces
    assert pace.planned == pytest.approx(rows)
    assert pace.added == pytest.approx(rows)


def test_nothing_is_planned_of_what_answers_of_their_own_leave_out(
    here: Path, bert: Path, paces: list[Counted]
):
    """The pool is not scored and nothing distilled, though a product has 5,000 steps of 16."""
    rows = [
        {"q": f"{text} {n}", "a": ("good", "bad")[n % 2], "c": ["good", "bad"]}
        for n, text in enumerate(GOOD)
    ]
    write_jsonl(here / "own.jsonl", rows)
    task = {"train": "own.jsonl", "test": "own.jsonl", "fields": ["q"], "target": "a"}
    told = Told()
    run_recipe(
        recipe(
            here,
            bert,
            task={**task, "kind": "text", "candidates": "c"},
            patterns=["{q} It was {mask}.", "{mask}: {q}"],
            words=None,
            train_balanced=False,
            transductive=True,
            distil=[{}],
        ),
        told,
    )
    (pace,) = paces
    assert pace.planned == pace.added == 2 * 12
    assert any("nothing is distilled: examples have answers" in line for line in told.warnings)


def test_what_was_finished_before_is_not_planned_again(
    here: Path, bert: Path, paces: list[Counted]
):
    """Stopped at the second product's first step: its two steps of four are left."""
    calls = Told()
    run_recipe(recipe(here, bert), calls)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(here, bert), Told(stop_at=calls.calls - 1), overwrite=True)
    assert (here / "run" / "products" / "classification_head" / "done.json").is_file()
    run_recipe(recipe(here, bert))
    assert paces[-1].planned == paces[-1].added == 8
