"""Load a task by its name: find its files and read them as its entry in `known_tasks.py` says.

Knows files and labels, not templates' insides or models. Nothing is downloaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from softprompt.data.assembly import assemble
from softprompt.data.columns import did_you_mean, label_map, listed
from softprompt.data.known_tasks import TASKS, TaskEntry, TaskFile
from softprompt.data.lines import LINE_LIMIT, OPENERS, Report
from softprompt.data.metrics import DEFAULTS
from softprompt.data.normalising import normalised_words
from softprompt.data.readers import FileSource, Row, Rows, RowSource
from softprompt.data.splitting import dev_from_train
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError

FOLDER_VARIABLE = "SOFTPROMPT_DATA"
TEST_SEED = 0
"""Of a test set that comes out of train: one for all runs, or their scores could not be compared."""
LONGEST = 64 * LINE_LIMIT
"""Official files have longer lines than a user's own should: whole passages with their questions."""


def load_task(
    name: str,
    folder: str | Path | None = None,
    variant: str | None = None,
    dev_seed: int = 0,
    form: str | None = None,
) -> Task:
    """The task called `name`; its splits are read when first asked for.

    Args:
        name: one of `TASKS`, with `:t5` behind it for that form.
        folder: the data folder, or the task's own folder in it. Left out: the environment variable
            SOFTPROMPT_DATA. Not used for tasks that the package ships.
        variant: another choice of files; "eprstmt" and "tnews" have "0" to "4", FewCLUE's five
            splits, and by default train on all five.
        dev_seed: for tasks without a dev file: which rows leave train for it.
        form: another way to ask; "t5" has the text-to-text form of Raffel et al. 2020.
    Raises:
        UsageError: no such task, variant or form, or no folder given.
        DataError: a file is not where it should be, or has a bad row.
    """
    entry = find_entry(name) if form is None else in_form(find_entry(name), form)
    files = entry.files
    if variant is not None:
        if variant not in entry.variants:
            known = listed(entry.variants) or "none"
            raise UsageError(f"task {name!r} has no variant {variant!r}; known: {known}")
        files = entry.variants[variant]
    return read_entry(replace(entry, files=files), folder, dev_seed)


def find_entry(name: str) -> TaskEntry:
    """The entry called `name`, in the form that stands behind a colon ("super_glue/rte:t5").

    Raises:
        UsageError: no such task or form.
    """
    base, colon, form = name.partition(":")
    if base not in TASKS:
        hint = did_you_mean(base, TASKS)
        raise UsageError(f"unknown task {base!r}; known: {listed(TASKS)}{hint}")
    return in_form(TASKS[base], form) if colon else TASKS[base]


def text_form(name: str) -> str:
    """The name of a task's text-to-text form, where it has one; else the name itself.

    Raises:
        UsageError: no such task or form.
    """
    return f"{name}:t5" if "t5" in find_entry(name).forms else name


def is_known(name: str) -> bool:
    """Whether this is the name of a task of the tables, with or without a form."""
    return name.partition(":")[0] in TASKS


def in_form(entry: TaskEntry, form: str) -> TaskEntry:
    """An entry asked another way; it is called by both names.

    Raises:
        UsageError: it has no such form.
    """
    if form not in entry.forms:
        known = listed(entry.forms) or "none"
        raise UsageError(f"task {entry.name!r} has no form {form!r}; known: {known}")
    return replace(entry.in_form(entry.forms[form]), name=f"{entry.name}:{form}")


def read_entry(entry: TaskEntry, folder: str | Path | None = None, dev_seed: int = 0) -> Task:
    """The task of an entry, in the table or not; arguments and errors as in `load_task`."""
    sources: dict[str, RowSource] = (
        {**_shipped_sources(entry)} if entry.shipped else {**_sources(entry, folder)}
    )
    task = Task.of(
        assemble(
            sources,
            entry.fields,
            entry.target,
            labels=entry.labels,
            kind=entry.kind,
            bounds=entry.bounds,
            id=entry.id,
            candidates=entry.candidates,
            group=entry.group,
            strip=entry.strip,
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
    if "train" not in task.splits:
        return task
    if entry.test_fraction is not None and "test" not in task.splits:
        by_label = task.kind == "label"
        stay, gone = dev_from_train(
            task.examples("train"), None, entry.test_fraction, TEST_SEED, by_label=by_label
        )
        task = task.with_splits(train=stay, test=gone)
    if entry.dev_fraction is not None and "dev" not in task.splits:
        task = task.with_dev_from_train(fraction=entry.dev_fraction, seed=dev_seed)
    return task


@dataclass(frozen=True)
class _EntrySource:
    """The rows of one file, with columns called as the fields are."""

    path: Path
    file: TaskFile
    entry: TaskEntry
    split: str
    without: tuple[_EntrySource, ...] = ()

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self, report: Report) -> Rows:
        held = {self._text(row) for source in self.without for _, row in source.rows(report)}
        for line, row in self._named(report):
            if not held or self._text(row) not in held:
                yield line, row

    def _text(self, row: Row) -> tuple[str, ...]:
        """What rows are compared by: letters and digits of the fields, in any order of them."""
        values = (str(row.get(name, "")) for name in self.entry.fields)
        return tuple(sorted("".join(normalised_words(value)) for value in values))

    def _named(self, report: Report) -> Rows:
        entry = self.entry
        renamed = {**entry.columns, **self.file.columns}
        if self.file.target is not None:
            renamed[entry.target] = self.file.target
        for line, row in self._records(report):
            cells = dict(row)
            for name in (*entry.fields, entry.target):
                column = renamed.get(name, name)
                if column in row:
                    cells[name] = row[column]
                if name in entry.fields and entry.clean and isinstance(cells.get(name), str):
                    cells[name] = entry.clean(cells[name])
            yield line, cells

    def _records(self, report: Report) -> Rows:
        file, unfold = self.file, self.entry.unfold
        if file.layout is not None:
            records = file.layout(self.path, report)
        else:
            source = FileSource(
                self.path, file.format, file.header, quoting=file.quoting, line_limit=LONGEST
            )
            records = source.rows(report)
        if unfold is None:
            yield from records
            return
        for line, record in records:
            try:
                made = list(unfold(record, self.split))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                message = f"not in the layout of {self.entry.name}: {error!r}"
                report(DataError(message, file=self.name, line=line))
                continue
            for row in made:
                yield line, row


def _shipped_sources(entry: TaskEntry) -> dict[str, _EntrySource]:
    from importlib import resources

    root = Path(str(resources.files("softprompt"))) / "assets" / "data"
    found = {}
    for split, file in entry.files.items():
        found[split] = _EntrySource(root / file.path, file, entry, split)
        if not found[split].path.is_file():
            message = "missing from this installation of softprompt; install it again"
            raise DataError(message, file=found[split].name)
    return found


def first_file(entry: TaskEntry) -> str:
    """The file that tells a user where the files of a task belong, below the data folder."""
    needed = [file for file in entry.files.values() if not file.optional]
    return (needed or list(entry.files.values()))[0].path


def task_without_rows(name: str) -> Task:
    """A known task as its entry describes it; its files are not needed.

    Raises:
        UsageError: no such task or form.
    """
    entry = find_entry(name)
    words = {k: (w,) if isinstance(w, str) else tuple(w) for k, w in (entry.words or {}).items()}
    return Task(
        name=entry.name,
        fields=entry.fields,
        kind=entry.kind,
        labels=label_map(entry.labels)[0] if entry.labels is not None else (),
        splits={},
        metrics=entry.metrics or DEFAULTS[entry.kind],
        bounds=entry.bounds,
        template=entry.template,
        words=words or None,
        language=entry.language,
        source=entry.source,
        templates=entry.templates,
    )


def _sources(entry: TaskEntry, folder: str | Path | None) -> dict[str, _EntrySource]:
    expected = first_file(entry)
    root = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not root:
        hub = f' (or Task.from_hub("{entry.hub}", …))' if entry.hub else ""
        raise UsageError(
            f"the files of {entry.name} are not shipped; give folder=…, or set "
            f"{FOLDER_VARIABLE}; expected <folder>/{expected}{hub}"
        )
    base, drop = Path(root).expanduser(), 0
    if folder is not None:  # it may be the task's own folder: leading parts of the path fall away
        drop = next((n for n in _drops(entry) if _any_there(entry, base, n)), 0)
    found: dict[str, _EntrySource] = {}
    for split, file in entry.files.items():
        places = [
            (there(base.joinpath(*Path(one.path).parts[drop:])), one)
            for one in (file.choices if drop == 0 else (file,))
        ]
        read = [(path, one) for path, one in places if path.is_file() and not _left_out(path, one)]
        if read:
            path, one = read[0]
            apart = [(there(base / other.path), other) for other in one.without]
            without = [_EntrySource(*other, entry, split) for other in apart if other[0].is_file()]
            found[split] = _EntrySource(path, one, entry, split, tuple(without))
        elif not file.optional:
            raise DataError(
                f"there is no such file; {entry.name} needs it for the split {split!r}: "
                f"expected <folder>/{file.path}",
                file=str(places[0][0]),
            )
    if not found:
        raise DataError(
            f"none of the files of {entry.name} is there: expected <folder>/{expected}",
            file=str(base),
        )
    return found


def _left_out(path: Path, file: TaskFile) -> bool:
    return file.optional and path.stat().st_size == 0


def there(path: Path) -> Path:
    """The file, or the packed one beside where it should be; the path itself if there is none."""
    packed = (path.with_name(path.name + ending) for ending in OPENERS)
    return path if path.is_file() else next((one for one in packed if one.is_file()), path)


def missing_files(entry: TaskEntry, folder: Path, variant: str | None = None) -> list[str]:
    """What a task's files in a folder lack, below it; of a choice of optional ones alone, all."""
    files = entry.files if variant is None else entry.variants[variant]
    gone = [
        file
        for file in files.values()
        if not any(there(folder / one.path).is_file() for one in file.choices)
    ]
    needed = [file.path for file in gone if not file.optional]
    return needed or ([file.path for file in gone] if len(gone) == len(files) else [])


def _drops(entry: TaskEntry) -> range:
    return range(max(len(Path(file.path).parts) for file in entry.files.values()))


def _any_there(entry: TaskEntry, base: Path, drop: int) -> bool:
    parts = (Path(file.path).parts[drop:] for file in entry.files.values())
    return any(there(base.joinpath(*left)).is_file() for left in parts if left)
