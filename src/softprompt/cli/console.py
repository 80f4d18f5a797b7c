"""How the command line speaks: facts, a progress bar on a terminal, plain lines elsewhere.

The only place that writes to the user besides the commands' own results. Knows nothing of models.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from softprompt.recipes.watching import Fact, Progress

ENGLISH = MappingProxyType(
    {
        "step": "step",
        "loss": "loss",
        "dev": "dev",
        "rate": "examples/s",
        "left": "left",
        "warning": "warning",
    }
)
CHINESE = MappingProxyType(
    {
        "step": "步",
        "loss": "损失",
        "dev": "验证",
        "rate": "条/秒",
        "left": "剩余",
        "warning": "警告",
        "accuracy": "准确率",
    }
)
PLAIN_LINES = 10
"""Lines of progress per fit where there is no terminal and nothing else is said."""


def say(text: str = "") -> None:
    """A line of results, on standard output."""
    typer.echo(text)


def warn(message: str, word: str = "warning") -> None:
    """A warning in one line, on standard error."""
    typer.echo(f"{word}: {' '.join(message.split())}", err=True)


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Aligned columns; the last one is not padded. Han characters count as two columns."""
    every = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not every:
        return
    widths = [max(columns(row[i]) for row in every) for i in range(len(every[0]))]
    for row in every:
        cells = [cell + " " * (w - columns(cell)) for cell, w in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Console:
    """A watcher (see `recipes/watching.py`) that shows what it is told; use it in a `with` block.

    Args:
        words: the few words of a progress line, in the user's language.
        facts: whether to show facts and stages (the quickstart tells its own story).
        terminal: whether to draw a bar; by default if standard output is a terminal.
        lines: of progress per fit where there is no terminal, besides those of evaluations.
    """

    def __init__(
        self,
        words: Mapping[str, str] = ENGLISH,
        *,
        facts: bool = True,
        terminal: bool | None = None,
        lines: int = PLAIN_LINES,
    ):
        self._words, self._show_facts, self._lines = words, facts, lines
        self._terminal = sys.stdout.isatty() if terminal is None else terminal
        self._bar: Any = None
        self._tasks: dict[tuple[int, str], TaskID] = {}
        self._began: dict[tuple[int, str], tuple[float, int]] = {}
        self._dev: dict[tuple[int, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Put the bar away; what is said afterwards stands below it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # --- what a watcher is told ---------------------------------------------------------------

    def facts(self, facts: Sequence[Fact]) -> None:
        if self._show_facts:
            table([(fact.name, fact.value) for fact in facts])

    def note(self, message: str) -> None:
        if self._show_facts:
            self._line(message)

    def warning(self, message: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"{self._words['warning']}: {message}", markup=False)
        else:
            warn(message, self._words["warning"])

    def progress(self, progress: Progress) -> None:
        key = progress.fit, progress.name  # fits of a recipe follow one another under one number
        now = time.monotonic()
        began, first = self._began.setdefault(key, (now, progress.step))
        done = progress.step - first
        rate = done * progress.examples / (now - began) if done and now > began else None
        dev = progress.record.get("dev")
        if dev is not None:
            self._dev[key] = dev[progress.metric]
        figures = self._figures(progress, rate)
        if self._terminal:
            self._draw(progress, figures)
            return
        every = max(1, progress.steps // self._lines)
        if dev is not None or progress.step % every == 0 or progress.step == progress.steps:
            seconds = (progress.steps - progress.step) * (now - began) / done if done else None
            left = f"  {clock(seconds)} {self._words['left']}" if seconds is not None else ""
            name = f"{progress.name}, " if progress.fit or progress.name != "seed 0" else ""
            step = f"{self._words['step']} {progress.step}/{progress.steps}"
            self._line(f"{name}{step}  {figures}{left}")

    def _figures(self, progress: Progress, rate: float | None) -> str:
        words = self._words
        parts = [f"{words['loss']} {progress.record['loss']:.4f}"]
        best = self._dev.get((progress.fit, progress.name))
        if best is not None:
            metric = words.get(progress.metric, progress.metric)
            parts.append(f"{words['dev']} {metric} {best:.3f}")
        if rate is not None:
            parts.append(f"{rate:,.0f} {words['rate']}")
        return "  ".join(parts)

    def _draw(self, progress: Progress, figures: str) -> None:
        if self._bar is None:
            self._bar = self._new_bar()
            self._bar.start()
        key = progress.fit, progress.name
        if key not in self._tasks:
            for task in self._bar.tasks:  # what is done makes room
                self._bar.update(task.id, visible=not task.finished)
            self._tasks[key] = self._bar.add_task(
                progress.name, total=progress.steps, completed=progress.step - 1, figures=""
            )
        self._bar.update(self._tasks[key], completed=progress.step, figures=figures)

    def _new_bar(self) -> Any:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn(self._words["left"]),
        )

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)
            with suppress(OSError):  # whoever reads along should not wait for a full buffer
                sys.stdout.flush()


def clock(seconds: float) -> str:
    """Seconds as people read them: 0:07, 12:30, 3:05:00."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
