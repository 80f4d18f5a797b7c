"""What a comparison tells while it runs: how long the rest may take.

Knows plans, not what is trained.
"""

from __future__ import annotations

import time

from softprompt.recipes.comparison_plan import Cell, CellRun, Plan
from softprompt.recipes.comparison_results import complete


class Clock:
    """How long the rest takes, at the rate of the cells that were run in this session.

    Args:
        laid: the plan; cells that are complete already count for nothing.
    """

    def __init__(self, laid: Plan):
        self._began = time.monotonic()
        self._done, self._spent = 0, 0.0
        self._open: dict[tuple[str, str, str], int] = {}
        for cell in laid.cells:
            pending = [run for run in cell.runs if not complete(run)]
            if pending and cell.refused is None:
                self._open[_key(cell)] = sum(map(_steps, pending))

    def done(self, cell: Cell) -> None:
        """This cell is behind us; a refused one took no steps."""
        steps = self._open.pop(_key(cell), 0)
        if all(complete(run) for run in cell.runs):
            self._done += steps
            self._spent = time.monotonic() - self._began

    def left(self) -> str:
        """`, about 2:10 left`, once a cell was run."""
        if not self._done:
            return ""
        seconds = round(self._spent / self._done * sum(self._open.values()))
        return f", about {seconds // 60}:{seconds % 60:02} left"


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.backbone, cell.task, cell.row.label


def _steps(run: CellRun) -> int:
    if run.settings is None:
        return 0
    count = 1
    for values in run.settings.sweep.values():
        count *= len(values)
    return run.settings.training.steps * len(run.settings.seeds) * count
