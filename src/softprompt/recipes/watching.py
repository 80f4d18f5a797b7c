"""What a recipe tells whoever watches it; recipes print nothing themselves.

A watcher is told facts before the training, every step of it, and warnings as they come up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol


@dataclass(frozen=True)
class Fact:
    """A line to show: what it is about, and what there is to say."""

    name: str
    value: str


@dataclass(frozen=True)
class Progress:
    """One step of one fit.

    Args:
        fit: number of the fit, from 0.
        name: what to call it, such as "seed 0".
        step, steps: how far it is.
        examples: examples per step.
        metric: name of the dev metric that selects.
        record: loss, learning rate, and at evaluations `dev` and `alarms`.
    """

    fit: int
    name: str
    step: int
    steps: int
    examples: int
    metric: str
    record: Mapping[str, Any]


class Watcher(Protocol):
    """Is told what happens."""

    def facts(self, facts: Sequence[Fact]) -> None:
        """What is about to run."""

    def warning(self, message: str) -> None:
        """Something the user should know; the run goes on."""

    def note(self, message: str) -> None:
        """A stage has begun or ended."""

    def progress(self, progress: Progress) -> None:
        """A step was taken."""


class Silent:
    """A watcher that says nothing."""

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def warning(self, message: str) -> None: ...

    def note(self, message: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...


class Part:
    """Passes on the steps of a part of something larger, under the part's name; the facts, notes and
    warnings of a part are in its own report.

    Args:
        told: the watcher of the whole.
        name: of the part.
    """

    def __init__(self, told: Watcher, name: str):
        self._told, self._name = told, name

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def note(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def progress(self, progress: Progress) -> None:
        self._told.progress(replace(progress, name=f"{self._name}, {progress.name}"))
