"""Load a task by its name: find its files and read them as its entry in `known_tasks.py` says.

Knows files and labels, not templates' insides or models. Nothing is downloaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from softprompt.data.assembly import assemble
from softprompt.data.columns import did_you_mean, listed
from softprompt.data.known_tasks import TASKS, TaskEntry, TaskFile
from softprompt.data.lines import Report
from softprompt.data.readers import FileSource, Rows, RowSource
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError

FOLDER_VARIABLE = "SOFTPROMPT_DATA"


def load_task(
    name: str, folder: str | Path | None = None, variant: str | None = None, dev_seed: int = 0
) -> Task:
    """The task called `name`; its splits are read when first asked for.

    Args:
        name: one of `TASKS`.
        folder: the data folder, or the task's own folder in it. Left out: the environment variable
            SOFTPROMPT_DATA. Not used for tasks that the package ships.
        variant: another choice of files; "eprstmt" and "tnews" have "0" to "4", FewCLUE's five
            splits, and by default train on all five.
        dev_seed: for tasks without a dev file: which rows leave train for it.
    Raises:
        UsageError: no such task or variant, or no folder given.
        DataError: a file is not where it should be, or has a bad row.
    """
    if name not in TASKS:
        hint = did_you_mean(name, TASKS)
        raise UsageError(f"unknown task {name!r}; known: {listed(TASKS)}{hint}")
    entry = TASKS[name]
    files = entry.files
    if variant is not None:
        if variant not in entry.variants:
            known = listed(entry.variants) or "none"
            raise UsageError(f"task {name!r} has no variant {variant!r}; known: {known}")
        files = entry.variants[variant]
    return read_entry(replace(entry, files=files), folder, dev_seed)


def read_entry(entry: TaskEntry, folder: str | Path | None = None, dev_seed: int = 0) -> Task:
    """The task of an entry, in the table or not; arguments and errors as in `load_task`."""
    paths = _shipped_paths(entry) if entry.shipped else _paths(entry, folder)
    sources: dict[str, RowSource] = {
        split: _EntrySource(path, entry.files[split], entry) for split, path in paths.items()
    }
    task = Task.of(
        assemble(
            sources,
            entry.fields,
            entry.target,
            labels=entry.labels,
            kind=entry.kind,
            bounds=entry.bounds,
            lazy=True,
            name=entry.name,
            metrics=entry.metrics,
            template=entry.template,
            templates=entry.templates,
            words=entry.words,
            language=entry.language,
            source=entry.source,
        )
    )
    if entry.dev_fraction is not None and "dev" not in task.splits:
        task = task.with_dev_from_train(fraction=entry.dev_fraction, seed=dev_seed)
    return task


@dataclass(frozen=True)
class _EntrySource:
    """The rows of one file, with columns called as the fields are."""

    path: Path
    file: TaskFile
    entry: TaskEntry

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self, report: Report) -> Rows:
        renamed = {**self.entry.columns, **self.file.columns}
        source = FileSource(self.path, header=self.file.header, quoting=self.file.quoting)
        for line, row in source.rows(report):
            cells = dict(row)
            for name in self.entry.fields:
                column = renamed.get(name, name)
                if column in cells:
                    cells[name] = cells[column]
                if self.entry.clean is not None and isinstance(cells.get(name), str):
                    cells[name] = self.entry.clean(cells[name])
            yield line, cells


def _shipped_paths(entry: TaskEntry) -> dict[str, Path]:
    from importlib import resources

    root = Path(str(resources.files("softprompt"))) / "assets" / "data"
    paths = {split: root / file.path for split, file in entry.files.items()}
    for path in paths.values():
        if not path.is_file():
            message = "missing from this installation of softprompt; install it again"
            raise DataError(message, file=str(path))
    return paths


def _paths(entry: TaskEntry, folder: str | Path | None) -> dict[str, Path]:
    expected = next(iter(entry.files.values())).path
    root = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not root:
        hub = f' (or Task.from_hub("{entry.hub}", …))' if entry.hub else ""
        raise UsageError(
            f"the files of {entry.name} are not shipped; give folder=…, or set "
            f"{FOLDER_VARIABLE}; expected <folder>/{expected}{hub}"
        )
    base, drop = Path(root).expanduser(), 0
    if folder is not None:  # it may be the task's own folder: leading parts of the path fall away
        parts = Path(expected).parts
        found = [n for n in range(len(parts)) if base.joinpath(*parts[n:]).is_file()]
        drop = found[0] if found else 0
    paths: dict[str, Path] = {}
    for split, file in entry.files.items():
        path = base.joinpath(*Path(file.path).parts[drop:])
        if path.is_file():
            paths[split] = path
        elif not file.optional:
            raise DataError(
                f"there is no such file; {entry.name} needs it for the split {split!r}: "
                f"expected <folder>/{file.path}",
                file=str(path),
            )
    return paths
