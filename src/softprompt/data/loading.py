"""Rows become splits: examples read once, when first asked for, with what was wrong along the way.

Knows sources and columns, not what a task is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from softprompt.data.columns import Columns, listed
from softprompt.data.examples import Example
from softprompt.data.lines import raise_it
from softprompt.data.readers import RowSource
from softprompt.errors import DataError

MOST_LABELS = 1000
KEPT_MESSAGES = 100


@dataclass(frozen=True)
class Skipped:
    """The bad rows that were passed over: how many, and what was wrong with the first hundred."""

    count: int = 0
    messages: tuple[str, ...] = ()

    def __add__(self, other: Skipped) -> Skipped:
        messages = (self.messages + other.messages)[:KEPT_MESSAGES]
        return Skipped(self.count + other.count, messages)


@dataclass(frozen=True)
class Loaded:
    """What a source gave."""

    examples: tuple[Example, ...]
    skipped: Skipped = field(default_factory=Skipped)


@dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split, read when first asked for.

    Args:
        load: reads them; called at most once.
    """

    load: Callable[[], Loaded]

    @cached_property
    def loaded(self) -> Loaded:
        return self.load()

    @property
    def examples(self) -> tuple[Example, ...]:
        return self.loaded.examples

    @property
    def skipped(self) -> Skipped:
        """Bad rows passed over; none while the split has not been read."""
        return self.__dict__["loaded"].skipped if "loaded" in self.__dict__ else Skipped()

    @staticmethod
    def of(examples: Iterable[Example], skipped: Skipped | None = None) -> Split:
        """A split of examples that are there already."""
        split = Split(_not_needed)
        split.__dict__["loaded"] = Loaded(tuple(examples), skipped or Skipped())
        return split


def _not_needed() -> Loaded:
    raise AssertionError("a split made of examples is never loaded")


def read_split(source: RowSource, columns: Columns, split: str, skip_bad_rows: bool) -> Loaded:
    """Read all rows of a source.

    Args:
        source: where the rows are.
        columns: what they mean.
        split: its name; "unlabelled" reads no targets.
        skip_bad_rows: take note of a bad row and go on, rather than stop at it.
    Raises:
        DataError: the first bad row (unless skipped), no rows, only bad rows, or an id used twice.
    """
    first: list[DataError] = []
    messages: list[str] = []
    count = 0

    def note(error: DataError) -> None:
        nonlocal count
        count += 1
        if count == 1:
            first.append(error)
        if count <= KEPT_MESSAGES:
            messages.append(str(error))

    report = note if skip_bad_rows else raise_it
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for line, row in source.rows(report):
        try:
            example = columns.example(row, source.name, line, split)
            if columns.id is not None and lines.setdefault(example.id, line) != line:
                raise DataError(
                    f"the id {example.id!r} stands on line {lines[example.id]} already; ids must "
                    "be unique within a split (leave `id` out to count rows)",
                    file=source.name,
                    line=line,
                    field=columns.id,
                )
        except DataError as error:
            report(error)
        else:
            examples.append(example)
    if not examples:
        if first:
            raise first[0]
        raise DataError("no rows; expected at least one", file=source.name)
    return Loaded(tuple(examples), Skipped(count, tuple(messages)))


def infer_labels(examples: Sequence[Example], source: RowSource, column: str) -> tuple[str, ...]:
    """The distinct targets of the training rows, sorted; whole numbers by their value.

    Raises:
        DataError: fewer than 2 distinct targets, or more than 1000.
    """
    found = {str(example.target) for example in examples}
    if len(found) < 2:
        message = f"expected at least two labels, all rows have {listed(found)}; give `labels`"
        raise DataError(message, file=source.name, field=column)
    if len(found) > MOST_LABELS:
        message = (
            f"{len(found):,} distinct targets, more than {MOST_LABELS:,} labels; "
            "set kind='text' or kind='number' if this is not a classification, or give `labels`"
        )
        raise DataError(message, file=source.name, field=column)
    if all(label.removeprefix("-").isdecimal() for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))
