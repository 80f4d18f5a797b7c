"""What came of the cells of a comparison, read back from their run folders.

Knows folders as `train` leaves them; nothing of statistics or reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softprompt.errors import RunError
from softprompt.recipes.comparison_plan import CellRun
from softprompt.recipes.measuring import COSTS, Costs, read_costs
from softprompt.recipes.outcomes import Outcome, read_outcome
from softprompt.recipes.run_folder import DONE, METRICS, PREDICTIONS, RunFolder, read_lines

SAME = 1e-9


@dataclass(frozen=True)
class Answers:
    """Predictions on one set.

    Args:
        ids, golds, predictions: one per row.
        groups: which rows belong together, one per row; empty: none do.
    """

    ids: Sequence[str]
    golds: Sequence[Any]
    predictions: Sequence[Any]
    groups: Sequence[str | None] = ()


@dataclass(frozen=True)
class Scored:
    """One fit, or one baseline on one split of the data.

    Args:
        split, seed: the data's and its own.
        metrics: set to metric to value.
        n: set to number of rows.
        answers: set to predictions: test (dev where there is none), and the sets of other tasks.
        step: which step was kept; None of a baseline.
        looks: evaluations on dev; 0: none.
        tied: how many of them share the kept step's dev score, itself included.
        alarms: what looked wrong at the end.
    """

    split: int
    seed: int
    metrics: Mapping[str, Mapping[str, float]]
    n: Mapping[str, int]
    answers: Mapping[str, Answers]
    step: int | None = None
    looks: int = 0
    tied: int = 0
    alarms: Sequence[str] = ()


@dataclass(frozen=True)
class Result:
    """A row of a table: a method or baseline on one backbone and task.

    Args:
        label: in tables.
        kind: "method" or "baseline".
        method: the method's or baseline's name.
        selection: "none", or "dev" where dev chose anything.
        chosen: what was chosen with it, in words.
        tested: its fits; none where it was refused or failed.
        costs: None of a baseline.
        refused, failed: why there are no fits.
        family, varied: see `MethodRow`.
        note: said below the table.
    """

    label: str
    kind: str
    method: str
    selection: str
    chosen: str
    tested: Sequence[Scored]
    costs: Costs | None = None
    refused: str | None = None
    failed: str | None = None
    family: str = ""
    varied: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None

    @property
    def shown(self) -> str | None:
        """The set whose score a table may show: one that chose nothing. None: there is none."""
        if not self.tested:
            return None
        if all("test" in one.metrics for one in self.tested):
            return "test"
        chose = self.selection != "none" or any("dev" not in one.metrics for one in self.tested)
        return None if chose else "dev"

    def values(self, name: str, metric: str) -> list[float]:
        """A metric on a set, one value per fit."""
        return [one.metrics[name][metric] for one in self.tested if name in one.metrics]


@dataclass(frozen=True)
class ReadRun:
    """A finished run folder.

    Args:
        tested: its fits, of a sweep the chosen variant's.
        chosen: in words, what dev chose; empty: nothing.
        variant: the chosen variant's name; empty without a sweep.
        costs: None where they were not measured yet.
    """

    tested: Sequence[Scored]
    chosen: str
    variant: str
    costs: Costs | None


def complete(run: CellRun) -> bool:
    """Whether a run is finished and its costs are counted."""
    return RunFolder(run.folder).finished and (run.place / COSTS).is_file()


def read_run_folder(run: CellRun, metric: str) -> ReadRun:
    """Read what `train` left.

    Args:
        metric: the task's first, by which dev chooses.
    Raises:
        RunError: a file that is missing or not as it was written.
    """
    assert run.settings is not None
    folder, settings = RunFolder(run.place), run.settings
    try:
        done = json.loads((run.place / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{run.place / DONE}: cannot be read: {error}") from None
    swept = done.get("sweep")
    variant = str(swept["chosen"]) if swept else ""
    several = len(settings.seeds) > 1
    tested: list[Scored] = []
    for seed in settings.seeds:
        place = folder.fit(variant, seed, several)
        outcome = read_outcome(place)
        if outcome is None or outcome.failure is not None:
            raise RunError(f"{place}: {outcome.failure if outcome else 'no fit.json'}")
        tested.append(_tested(run.split, outcome, metric))
    parts = []
    if swept:
        tie = f", {swept['tied']} tied" if swept["tied"] > 1 else ""
        parts.append(f"the best of {len(swept['dev'])} variants ({variant}{tie})")
    looks = max(one.looks for one in tested)
    if settings.training.keep == "best" and looks and tested[0].step is not None:
        parts.append(f"the best of {looks} steps" if looks > 1 else "")
    return ReadRun(
        tested, " and ".join(part for part in parts if part), variant, read_costs(run.place / COSTS)
    )


def _tested(split: int, outcome: Outcome, metric: str) -> Scored:
    kept = outcome.metrics.get("dev", {}).get(metric)
    seen = _dev_scores(outcome.place / METRICS, metric)
    tied = sum(kept is not None and abs(value - kept) < SAME for value in seen)
    return Scored(
        split=split,
        seed=outcome.seed,
        metrics=outcome.metrics,
        n=outcome.n,
        answers=_answers(outcome.place / PREDICTIONS),
        step=outcome.step,
        looks=outcome.looks,
        tied=tied,
        alarms=outcome.alarms,
    )


def _dev_scores(path: Path, metric: str) -> list[float]:
    """Every evaluation on dev, from metrics.jsonl."""
    records = [record for record in read_lines(path) if isinstance(record.get("dev"), dict)]
    found = [record["dev"].get(metric) for record in records]
    return [value for value in found if isinstance(value, int | float)]


def _answers(path: Path) -> dict[str, Answers]:
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in read_lines(path):
        sets.setdefault(row["split"], []).append(row)
    return {
        name: Answers(
            [row["id"] for row in rows],
            [_plain(row["target"]) for row in rows],
            [_plain(row["prediction"]) for row in rows],
            [row.get("group") for row in rows] if "group" in rows[0] else (),
        )
        for name, rows in sets.items()
    }


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
