"""Measured cells: what was measured where, appended to one `.jsonl`, so that nothing is measured twice.

A cell has a place (backbone, test set, method, seed), the settings it was measured under, and a
record. Measured again under other settings, it is replaced: the later line counts. A line is whole or
absent, so a script may be killed at any moment and started again. Knows no models.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from softprompt.errors import DataError

Values = Mapping[str, Any]
"""JSON values by name."""

PLUS_MINUS = " ± "


@dataclass(frozen=True)
class Cell:
    """One line of the file.

    Args:
        place: what was measured.
        settings: under which; other settings make another measurement.
        record: what came out, with its `seconds`.
        machine: where, and with which versions.
    """

    place: Values
    settings: Values
    record: Values
    machine: Values


class Cells:
    """The cells of one results file.

    Args:
        path: need not exist. A last line that was cut off is dropped.
        report: called with each cell that is added.
    Raises:
        DataError: another line is no cell.
    """

    def __init__(self, path: Path, report: Callable[[Cell], None] = lambda cell: None):
        self.path, self.report = path, report
        self._cells: dict[str, Cell] = {}
        if path.exists():
            self._read()

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        return len(self._cells)

    def record(self, place: Values, settings: Values | None = None) -> Values | None:
        """What was measured at a place, under these settings if any are given; None: nothing."""
        cell = self._cells.get(_text(place))
        if cell is None or (settings is not None and _text(cell.settings) != _text(settings)):
            return None
        return cell.record

    def add(self, place: Values, settings: Values, record: Values) -> None:
        """Append a cell; it is safe on disk afterwards."""
        cell = Cell(_plain(place), _plain(settings), _plain(record), machine())
        self._cells[_text(place)] = cell
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(_line(cell))
            stream.flush()
            os.fsync(stream.fileno())
        self.report(cell)

    def measure(self, place: Values, settings: Values, function: Callable[[], Values]) -> Values:
        """The record of a cell, measured now if it is not there, its seconds noted."""
        there = self.record(place, settings)
        if there is not None:
            return there
        began = time.monotonic()
        found = dict(function())
        found["seconds"] = round(time.monotonic() - began, 2)
        self.add(place, settings, found)
        return found

    def measure_seeds(
        self,
        place: Values,
        settings: Values,
        seeds: Iterable[int],
        function: Callable[[Sequence[int]], Iterable[Values]],
    ) -> None:
        """One cell for each seed; those that are not there are measured by one call.

        Args:
            function: from seeds to a record each, which is kept as soon as it comes. Where they
                are measured together, each says its own `seconds`.
        """
        places = {seed: {**place, "seed": seed} for seed in seeds}
        left = [seed for seed, own in places.items() if self.record(own, settings) is None]
        began = time.monotonic()
        for seed, record in zip(left, function(left) if left else (), strict=True):
            seconds = round(time.monotonic() - began, 2)
            self.add(places[seed], settings, {"seconds": seconds, **record})
            began = time.monotonic()

    def figures(self, place: Values, name: str = "accuracy") -> list[float]:
        """A figure of every cell whose place agrees, one for each seed, in their order."""
        found = [
            (cell.place.get("seed", 0), cell.record[name])
            for cell in self
            if name in cell.record and all(cell.place.get(k) == v for k, v in place.items())
        ]
        return [value for _, value in sorted(found)]

    def tidy(self) -> None:
        """Write the file anew: each cell once, in the order of places."""
        if not self.path.exists():
            return
        self._read()  # what another process has added meanwhile
        partial = self.path.with_name(f"{self.path.name}.partial")
        lines = [_line(self._cells[place]) for place in sorted(self._cells)]
        partial.write_text("".join(lines), encoding="utf-8")
        partial.replace(self.path)

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        *whole, last = text.split("\n")
        for number, line in enumerate(whole, start=1):
            try:
                cell = Cell(**json.loads(line))
            except (ValueError, TypeError):
                raise DataError(
                    "no measured cell; mend the line or take it out", str(self.path), number
                ) from None
            self._cells[_text(cell.place)] = cell
        if last:  # the script was killed while it wrote
            with self.path.open("r+b") as stream:
                stream.truncate(self.path.read_bytes().rfind(b"\n") + 1)


@cache
def machine() -> dict[str, Any]:
    """The machine and the versions that a score depends on."""
    import torch

    from softprompt.tuning.run import versions

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **versions(),
    }


def spread(scores: Sequence[float], scale: float = 100.0) -> str:
    """Mean ± sample standard deviation, in per cent by default; one score has no deviation."""
    if not scores:
        return "–"
    mean = f"{scale * statistics.mean(scores):.1f}"
    if len(scores) < 2:
        return mean
    return f"{mean}{PLUS_MINUS}{scale * statistics.stdev(scores):.1f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a newline at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _plain(values: Values) -> dict[str, Any]:
    """As it will be read back: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values), ensure_ascii=False))
    return plain


def _text(values: Values) -> str:
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True)


def _line(cell: Cell) -> str:
    return json.dumps(vars(cell), ensure_ascii=False) + "\n"
