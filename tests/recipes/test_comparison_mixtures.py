"""A mixture's table becomes one for each of its tasks, rows that belong together included."""

from __future__ import annotations

from typing import Any

import pytest

from softprompt.data.examples import Example
from softprompt.data.loading import Skipped, Split
from softprompt.data.metrics.mixed import OF_TASK
from softprompt.data.mixture import mix_tasks
from softprompt.data.task import Task
from softprompt.recipes.compare_file import CompareSettings
from softprompt.recipes.comparing import Compared
from softprompt.recipes.comparison_mixtures import by_task
from softprompt.recipes.comparison_results import Answers, Result, Scored
from softprompt.recipes.comparison_tables import analysed
from softprompt.recipes.run_data import RunData

SETTINGS: dict[str, Any] = {"backbone": "b", "tasks": ["t"], "methods": ["prompt_tuning"]}


def task(name: str, metric: str, grouped: bool) -> Task:
    rows = [
        Example(str(n), {"text": f"{name} {n}"}, "yes" if n % 2 else "no", None, group)
        for n in range(8)
        for group in (str(n // 2) if grouped else None,)
    ]
    splits = {split: Split.of(rows) for split in ("train", "test")}
    return Task(name, ("text",), "label", ("no", "yes"), splits, (metric,))


def test_a_task_whose_first_metric_counts_groups_keeps_them() -> None:
    mixture = mix_tasks([task("one", "accuracy", False), task("two", "multirc_em", True)])
    rows = mixture.examples("test")
    golds = [row.target for row in rows]
    wrong = [f"two{OF_TASK}0", f"two{OF_TASK}5"]
    given = [None if row.id in wrong else row.target for row in rows]
    answers = Answers([row.id for row in rows], golds, given, [row.group for row in rows])
    metrics = {"test": {"task:one accuracy": 1.0, "task:two multirc_em": 0.5}}
    metrics["test"]["task_mean"] = 0.75
    scored = Scored(0, 0, metrics, {"test": 16}, {"test": answers})
    result = Result("rows", "method", "prompt_tuning", "none", "", [scored])
    compared = Compared("b", "both", RunData(mixture, (), Skipped()), (result,))
    settings = CompareSettings.read({**SETTINGS, "resamples": 100})
    whole, one, two = (analysed(table, settings) for table in by_task(compared))
    assert (one.metric, two.metric) == ("accuracy", "multirc_em")
    assert one.compared.task == "both: one"
    assert one.table is not None
    assert two.table is not None
    assert one.table.row("rows").spread.mean == 1
    row = two.table.row("rows")  # two of four groups have a wrong row
    assert row.spread.mean == 0.5
    assert row.interval is not None
    assert (two.table.n, row.how) == (8, "bootstrap")
    assert whole.table is not None
    mean = whole.table.row("rows")
    assert (whole.metric, whole.table.n, mean.spread.mean) == ("task_mean", 16, 0.75)
    assert mean.interval is not None
    assert mean.interval.low == pytest.approx((1 + row.interval.low) / 2)  # task one is all right
    assert mean.interval.high == pytest.approx((1 + row.interval.high) / 2)
