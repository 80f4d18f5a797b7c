"""The unlabelled rows of a run: the task's own, what train leaves over, or text from other files.

They become the split "unlabelled", read when first asked for, and a stream that holds no rows, for
more than fits into memory. No target is read or kept. Knows settings and tasks, not what the rows
are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from softprompt.data.columns import Columns, did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.lines import Report, check_file, raise_it
from softprompt.data.loading import KEPT_MESSAGES, Loaded, Skipped, Split
from softprompt.data.readers import FileSource
from softprompt.data.sampling import draw
from softprompt.data.task import Task
from softprompt.errors import DataError, SettingsError
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.task_schema import TextFiles

UNLABELLED = "unlabelled"

Stream = Callable[[Report], Iterator[Example]]
"""Reads all rows anew, from the first; what is wrong with single rows goes to the report."""


@dataclass(frozen=True)
class Unlabelled:
    """Where the unlabelled rows of a run come from.

    Args:
        stream: all of them, before any limit.
        note: what to say of them.
        skip_bad_rows: pass over bad rows, rather than stop at the first.
    """

    stream: Stream
    note: str = ""
    skip_bad_rows: bool = False

    def rows(self) -> Iterator[Example]:
        """All rows, before any limit, one at a time.

        Raises:
            DataError: a bad row, with file, line and field, unless they are passed over.
        """
        return self.stream(_nothing if self.skip_bad_rows else raise_it)

    def split(self, limit: int | None, seed: int) -> Split:
        """The rows as a split, read when first asked for; at most `limit` of them, drawn by seed.

        Only the drawn rows are held.
        """
        return Split(partial(self._load, limit, seed))

    def _load(self, limit: int | None, seed: int) -> Loaded:
        bad: list[DataError] = []
        rows = self.stream(bad.append if self.skip_bad_rows else raise_it)
        kept = tuple(rows) if limit is None else tuple(draw(rows, limit, seed))
        if not kept:
            raise bad[0] if bad else DataError("no unlabelled rows; expected at least one")
        messages = tuple(str(error) for error in bad[:KEPT_MESSAGES])
        return Loaded(kept, Skipped(len(bad), messages))


def find_unlabelled(task: Task, read: Task, settings: RunSettings) -> Unlabelled | None:
    """The unlabelled rows that the settings name, or None where there are none.

    Args:
        task: with its dev split and limits.
        read: the same task as it was read, all of train.
    Raises:
        SettingsError: a limit without rows, no row of train left, fields that the task lacks.
        DataError: a file that is not there.
    """
    given = settings.unlabelled
    if isinstance(given, TextFiles):
        columns = Columns(_field_columns(given, task), None, strip=given.strip)
        for path in given.files:
            check_file(Path(path))
        names = ", ".join(Path(path).name for path in given.files)
        return Unlabelled(partial(_of_files, given, columns), names, given.skip_bad_rows)
    if given == "train":
        rows = _left_over(task, read)
        if not rows:
            raise SettingsError(
                f"unlabelled: task '{task.name}' has no row of train that is neither learned from "
                "nor chosen on; give a smaller train_limit or k_shot, or files of other text"
            )
        note = f"{len(rows):,} rows of train that are neither learned from nor chosen on"
        return Unlabelled(lambda report: iter(rows), note)
    if UNLABELLED in read.split_names:
        own = read.splits[UNLABELLED]
        return Unlabelled(lambda report: iter(own.examples))
    if settings.unlabelled_limit is not None:
        raise SettingsError(
            f"unlabelled_limit: task '{task.name}' has no unlabelled rows of its own; say where "
            "they are, with unlabelled: train or unlabelled: {files: …, fields: …}"
        )
    return None


def _left_over(task: Task, read: Task) -> list[Example]:
    """The rows of the whole train that are in no split of the run, without their targets."""
    # The examples themselves tell which rows have moved: ids are unique within a split alone.
    used = {id(row) for split in ("train", "dev", "test") for row in _rows(task, split)}
    return [replace(row, target=None) for row in _rows(read, "train") if id(row) not in used]


def _rows(task: Task, split: str) -> tuple[Example, ...]:
    return task.splits[split].examples if split in task.splits else ()


def _of_files(given: TextFiles, columns: Columns, report: Report) -> Iterator[Example]:
    """The rows of all files, one file after the other; ids name the file where there are several."""
    header = given.header if isinstance(given.header, bool) else tuple(given.header)
    for number, path in enumerate(given.files, start=1):
        source = FileSource(
            Path(path), None, header, given.delimiter, given.quoting, given.line_limit
        )
        for line, row in source.rows(report):
            try:
                example = columns.example(row, source.name, line, UNLABELLED)
            except DataError as error:
                report(error)
                continue
            if len(given.files) > 1:
                example = replace(example, id=f"{UNLABELLED}:{number}:{line}")
            yield example


def _field_columns(given: TextFiles, task: Task) -> dict[str, str]:
    """Field to column, in the task's order.

    Raises:
        SettingsError: a field that the task lacks, one that is not given, or too many columns.
    """
    fields = given.fields
    if fields is None:
        return {name: name for name in task.fields}
    if isinstance(fields, dict):
        for name in fields:
            if name not in task.fields:
                hint = did_you_mean(name, task.fields)
                raise SettingsError(
                    f"unlabelled.fields: '{name}' is no field of task '{task.name}'; it has "
                    f"{listed(task.fields)}{hint}"
                )
        if missing := [name for name in task.fields if name not in fields]:
            raise SettingsError(f"unlabelled.fields: no column for the field {listed(missing)}")
        return {name: fields[name] for name in task.fields}
    if set(fields) == set(task.fields):
        return {name: name for name in task.fields}
    if len(fields) != len(task.fields):
        raise SettingsError(
            f"unlabelled.fields: expected a column for each of {listed(task.fields)}, got "
            f"{listed(fields)}"
        )
    return dict(zip(task.fields, fields, strict=True))


def _nothing(error: DataError) -> None:
    """A report that passes over a bad row; `Unlabelled.split` is what counts them."""
