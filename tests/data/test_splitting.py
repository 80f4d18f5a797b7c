"""Fewer rows of a split: of MultiRC's kind whole questions."""

from __future__ import annotations

import pytest

from softprompt.data.examples import Example
from softprompt.data.splitting import subsample
from softprompt.data.task import Task
from softprompt.errors import UsageError

SIZES = (4, 1, 5, 3, 2, 4, 6, 5)


def answers() -> list[Example]:
    """Eight questions with one to six answers each, in an order that parts them."""
    made = [
        Example(f"{question}-{n}", {"text": "a"}, "no", group=str(question))
        for question, size in enumerate(SIZES)
        for n in range(size)
    ]
    return made[::2] + made[1::2]


def questions(rows: list[Example]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[str(row.group)] = found.get(str(row.group), 0) + 1
    return found


@pytest.mark.parametrize("n", range(6, 31))
def test_groups_stay_whole_and_in_their_order(n: int) -> None:
    rows = answers()
    kept = subsample(rows, n, 1, whole=True)
    assert 0 < len(kept) <= n
    assert len(kept) > n - max(SIZES)
    assert all(SIZES[int(name)] == size for name, size in questions(kept).items())
    assert kept == [row for row in rows if row in kept]
    assert {row.id for row in kept} <= {row.id for row in subsample(rows, 30, 1, whole=True)}


def test_less_than_the_first_group_that_is_drawn_is_refused() -> None:
    kept = {len(subsample(answers(), 6, seed, whole=True)) for seed in range(20)}
    assert kept <= set(range(1, 7))
    five = [row for row in answers() if row.group == "2"]
    with pytest.raises(
        UsageError, match=r"whole groups, of up to 5 rows; expected at least .* got 4"
    ):
        subsample(five, 4, 0, whole=True)


def test_a_task_keeps_groups_where_its_metric_counts_them() -> None:
    metrics = {"whole": ("multirc_f1a", "multirc_em"), "parted": ("multirc_f1a",)}
    found = {}
    for name, own in metrics.items():
        task = Task("questions", ("text",), "label", ("no", "yes"), {}, own)
        task = task.with_splits(train=answers(), test=answers())
        for split in ("train", "test"):
            kept = questions(task.subsample(split, 15, 3).examples(split))
            found[name, split] = all(SIZES[int(one)] == size for one, size in kept.items())
    assert found == {
        ("whole", "test"): True,
        ("whole", "train"): False,  # nothing is counted there
        ("parted", "test"): False,
        ("parted", "train"): False,
    }
