"""A comparison as tables: statistics per task, and tidy rows as CSV and Parquet.

`results.csv`: one row per backbone, task, row of the table, seed, set and metric; `table.csv`: one per
backbone, task and row, with everything the report shows. Knows results, not how they are drawn.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from softprompt.analysis.comparison import Row, Table, best_on_dev, compare_systems
from softprompt.analysis.systems import Judged, System
from softprompt.data.task import Task
from softprompt.recipes.compare_file import BEST, CompareSettings
from softprompt.recipes.comparing import Compared
from softprompt.recipes.comparison_mixtures import answers_of
from softprompt.recipes.comparison_results import Answers, Result
from softprompt.recipes.comparison_rows import BASELINE_LABELS
from softprompt.recipes.run_folder import write_bytes, write_text

MAJORITY = BASELINE_LABELS["majority"]
RESULTS, SUMMARY = "results", "table"


@dataclass(frozen=True)
class Analysed:
    """A table with its statistics.

    Args:
        compared: backbone, task, results.
        metric: the task's first.
        table: statistics of the rows whose score may be shown; None where none may.
        shown: which set the scores are of: "test", or "dev" where nothing chose anything on it.
    """

    compared: Compared
    metric: str
    table: Table | None
    shown: str

    def row(self, result: Result) -> Row | None:
        """A result's statistics; None where it has no score that may be shown."""
        if self.table is None or not any(row.name == result.label for row in self.table.rows):
            return None
        return self.table.row(result.label)


def analysed(compared: Compared, settings: CompareSettings) -> Analysed:
    """Make a table's statistics.

    Rows are on the test set; where the task has none, on dev, of those rows only that chose nothing.
    """
    task = compared.data.task
    metric = task.metrics[0]
    shown = "test" if "test" in task.split_names else "dev"
    systems = [
        System(result.label, judged(result, shown, task), result.values("dev", metric))
        for result in compared.results
        if result.shown == shown and all(shown in one.answers for one in result.tested)
    ]
    if not systems:
        return Analysed(compared, metric, None, shown)
    names = [one.name for one in systems]
    reference = settings.reference if settings.reference in names else None
    why = None
    methods = [one for one in systems if one.name in _methods(compared) and one.dev]
    if settings.reference == BEST and methods:  # a method, not a baseline, where there is one
        reference, reason = best_on_dev(methods, metric)
        why = f"the method with {reason}"
    table = compare_systems(
        systems,
        metric,
        task.labels,
        parts=[(one.metrics[0], one.labels) for one in task.parts.values()],
        reference=reference,
        why=why,
        majority=MAJORITY if MAJORITY in names else None,
        resamples=settings.resamples,
    )
    return Analysed(compared, metric, table, shown)


def _methods(compared: Compared) -> set[str]:
    return {result.label for result in compared.results if result.kind == "method"}


def judged(result: Result, name: str, task: Task) -> list[Judged]:
    """A result's predictions on a set of its task, one per fit; of a mixture those of each task too."""
    found = []
    for one in result.tested:
        if name in one.answers:
            answers = one.answers[name]
            parts = [
                _judged(one.split, one.seed, answers_of(answers, part))
                for part in task.parts.values()
            ]
            found.append(replace(_judged(one.split, one.seed, answers), parts=parts))
    return found


def _judged(split: int, seed: int, answers: Answers) -> Judged:
    rows = (answers.ids, answers.golds, answers.predictions, answers.groups)
    return Judged(split, seed, *rows)


# --- tidy rows --------------------------------------------------------------------------------


def tidy_rows(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """One row per backbone, task, row, split of the data, seed, set and metric.

    `selection` says whether dev chose anything in this row; scores of `set` dev are then those that
    chose.
    """
    return [
        {
            "backbone": table.backbone,
            "task": table.task,
            "row": result.label,
            "kind": result.kind,
            "method": result.method,
            "seed": one.seed,
            "data_split": one.split,
            "set": name,
            "metric": metric,
            "value": float(value),
            "n": int(one.n.get(name, 0)),
            "selection": result.selection,
            "chosen": result.chosen,
            "kept_step": one.step,
        }
        for table in compared
        for result in table.results
        for one in result.tested
        for name, values in one.metrics.items()
        for metric, value in values.items()
    ]


def summary_rows(tables: Sequence[Analysed]) -> list[dict[str, Any]]:
    """One row per backbone, task and row of the table: statistics, selection, costs, or why not."""
    return [_summary(one, result) for one in tables for result in one.compared.results]


def _summary(one: Analysed, result: Result) -> dict[str, Any]:
    row = one.row(result)
    costs = result.costs
    difference = row.difference if row is not None else None
    dev = result.values("dev", one.metric)
    return {
        "backbone": one.compared.backbone,
        "task": one.compared.task,
        "row": result.label,
        "kind": result.kind,
        "method": result.method,
        "metric": one.metric,
        "set": one.shown if row is not None else None,
        "n": one.table.n if one.table is not None and row is not None else None,
        "fits": len(result.tested),
        "mean": row.spread.mean if row is not None else None,
        "sd": row.spread.sd if row is not None else None,
        "low": row.interval.low if row is not None and row.interval else None,
        "high": row.interval.high if row is not None and row.interval else None,
        "interval": row.how if row is not None else None,
        "majority_p_holm": row.majority_p if row is not None else None,
        "above_majority": row.above_majority if row is not None else None,
        "reference": one.table.reference if one.table is not None else None,
        "difference": difference.value if difference is not None else None,
        "difference_low": difference.interval.low if difference is not None else None,
        "difference_high": difference.interval.high if difference is not None else None,
        "p_holm": row.p if row is not None else None,
        "smallest_by_rows": row.by_rows if row is not None else None,
        "smallest_by_seeds": row.by_seeds if row is not None else None,
        "dev_mean": fmean(dev) if dev else None,
        "selection": result.selection,
        "chosen": result.chosen,
        "learned": costs.learned if costs else None,
        "learned_formula": costs.learned_formula if costs else None,
        "stored": costs.stored if costs else None,
        "stored_formula": costs.stored_formula if costs else None,
        "applied": costs.applied if costs else None,
        "backbone_parameters": costs.backbone if costs else None,
        "bytes": costs.n_bytes if costs else None,
        "flops_per_example": costs.operations if costs else None,
        "seconds_per_fit": seconds_per_fit(result),
        "peak_bytes": costs.peak_bytes if costs else None,
        "device": costs.device if costs else None,
        "refused": result.refused,
        "failed": result.failed,
    }


def seconds_per_fit(result: Result) -> float | None:
    """A run's seconds, evaluations and a sweep's other variants included, over its fits."""
    costs = result.costs
    return costs.seconds / costs.fits if costs and costs.seconds is not None else None


def write_table(rows: Sequence[Mapping[str, Any]], folder: Path, name: str) -> None:
    """Write rows as NAME.csv (an empty cell is none) and NAME.parquet (columns keep their types).

    Raises:
        RunError: the disk refuses.
    """
    import pyarrow
    from pyarrow import parquet

    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / f"{name}.csv", text.getvalue())
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), stream)
    write_bytes(folder / f"{name}.parquet", stream.getvalue())
