"""Where the numbers of a run go, and when it has seen enough of them.

A tracker takes records (names to values) with their step. `metrics.jsonl` is the one that every run
has; after a resumed run it holds what an uninterrupted one would hold, as long as a step's records
are logged *before* the checkpoint of that step is written. Does not know what the numbers mean.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from softprompt.errors import RunError, SettingsError


class Tracker(Protocol):
    """Takes what a run reports."""

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Take one record; `step` counts the steps done, and is not a key of the record."""

    def close(self) -> None:
        """Nothing more will come."""


class JsonlTracker:
    """One JSON object a line, `step` first, on disk as soon as it is logged.

    Numbers that are not finite become the texts "nan", "inf" and "-inf": JSON has none.

    Args:
        path: the file; its folder is made.
        resumed_at: None begins a new file. A step keeps the lines up to it, drops those beyond
            (their steps will be done again) and a last line that was cut off in writing.
    Raises:
        RunError: the file cannot be written, or a line of it is not a record.
    """

    def __init__(self, path: Path, resumed_at: int | None = None) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resumed_at is not None and path.exists():
                _keep_lines(path, resumed_at)
            mode = "w" if resumed_at is None else "a"
            self._file = path.open(mode, encoding="utf-8", newline="\n")
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Append one line.

        Raises:
            RunError: the disk is full, a value is none of JSON's, or the record has a key `step`.
        """
        if "step" in record:
            raise RunError(f"{self.path}: a record may not have a key 'step' of its own")
        line = {"step": step, **{key: self._plain(key, item) for key, item in record.items()}}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written: {error.strerror}; make room and run the same "
                "command again, it resumes at the last checkpoint"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _plain(self, key: str, value: Any) -> Any:
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, list | tuple):
            return [self._plain(key, item) for item in value]
        if isinstance(value, Mapping):
            return {str(name): self._plain(f"{key}.{name}", item) for name, item in value.items()}
        raise RunError(f"{self.path}: '{key}': a {type(value).__name__} is no JSON value")


class TensorBoardTracker:
    """Every number of a record as a scalar; nested names joined with a slash (`dev/accuracy`).

    Args:
        folder: where the event files go.
        resumed_at: a step beyond which earlier event files are to be disregarded.
    Raises:
        SettingsError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SettingsError(
                "tracker: tensorboard is not installed; pip install 'softprompt[track]'"
            ) from None
        purge = None if resumed_at is None else resumed_at + 1
        self._writer = SummaryWriter(str(folder), purge_step=purge)

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Write the numbers; texts and lists have no place here."""
        for name, value in _scalars(record):
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


@dataclass(frozen=True)
class EarlyStopping:
    """The best evaluation so far and how many have passed since: a value, never changed in place.

    Args:
        patience: evaluations without a better one before the run stops; None never stops it.
        higher_is_better: True for an accuracy, False for a loss.
        best, best_step: the best value and its step; the first of equals.
        waited: evaluations since.
    Raises:
        SettingsError: a patience below 1.
    """

    patience: int | None
    higher_is_better: bool = True
    best: float | None = None
    best_step: int | None = None
    waited: int = 0

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"patience: expected 1 or more evaluations, got {self.patience}")

    def after(self, step: int, value: float) -> EarlyStopping:
        """The state after one more evaluation; nan is never better."""
        if self._better(value):
            return dataclasses.replace(self, best=float(value), best_step=step, waited=0)
        return dataclasses.replace(self, waited=self.waited + 1)

    @property
    def improved(self) -> bool:
        """Whether the last evaluation is the best one."""
        return self.best is not None and self.waited == 0

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def to_state(self) -> dict[str, Any]:
        """JSON values, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """What `to_state` gave."""
        return cls(**state)

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        return value > self.best if self.higher_is_better else value < self.best


def _keep_lines(path: Path, last_step: int) -> None:
    """Rewrite the file in one motion with the whole lines up to `last_step`."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = []
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if last and not line.endswith(b"\n"):
            break  # cut off in writing
        try:
            step = json.loads(line)["step"]
            kept += [line] if step <= last_step else []
        except (ValueError, KeyError, TypeError):
            if last:
                break  # the same, by a power cut
            raise RunError(
                f"{path}, line {number}: expected a JSON object with a 'step'; put the line right "
                "or delete it to resume"
            ) from None
    if kept == lines:
        return
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _scalars(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{name}/")
        elif isinstance(value, numbers.Real):
            yield name, float(value)
