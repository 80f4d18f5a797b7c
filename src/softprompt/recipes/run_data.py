"""The task of a run: read by name or from the user's own files, with its dev split and limits.

Knows settings and tasks, not backbones or templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softprompt.data.columns import listed
from softprompt.data.examples import Example
from softprompt.data.lines import check_file
from softprompt.data.loading import Skipped
from softprompt.data.metrics.mixed import task_of
from softprompt.data.mixture import mix_tasks
from softprompt.data.registry import load_task, text_form
from softprompt.data.sampling import balanced
from softprompt.data.splitting import coarse_label
from softprompt.data.task import Task
from softprompt.errors import DataError, SettingsError, UsageError
from softprompt.recipes.other_tasks import Other, with_others
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.task_schema import FileTask, MixTask, NamedTask
from softprompt.recipes.unlabelled_rows import UNLABELLED, Unlabelled, find_unlabelled

DEV_SHARE, MOST_DEV = 0.1, 1_000
_READERS = {
    ".csv": Task.from_csv,
    ".tsv": Task.from_tsv,
    ".jsonl": Task.from_jsonl,
    ".json": Task.from_jsonl,
    ".parquet": Task.from_parquet,
}
_TEXT_OPTIONS = ("line_limit",)
_TABLE_OPTIONS = ("header", "delimiter", "quoting")


@dataclass(frozen=True)
class RunData:
    """The data of a run.

    Args:
        task: with its dev split and limits.
        notes: what was decided on the way.
        skipped: bad rows that were passed over.
        shifted: splits of the task that are the test sets of others (`test_on`).
        unlabelled: where the unlabelled rows come from, all of them before `unlabelled_limit`;
            the split "unlabelled" has those of the run.
    """

    task: Task
    notes: tuple[str, ...]
    skipped: Skipped
    shifted: tuple[str, ...] = ()
    unlabelled: Unlabelled | None = None


def run_task(settings: RunSettings) -> RunData:
    """The task of a run with its dev split and limits, and what was decided on the way.

    Raises:
        UsageError: no such task, a file or an option that is wrong, more rows asked than there are.
    """
    if isinstance(settings.task, MixTask):
        return _mixed(settings.task, settings)
    return _shaped(_read(settings.task, settings), settings)


def _read(given: str | FileTask, settings: RunSettings) -> Task:
    if isinstance(given, str):
        return load_task(given, settings.data, settings.variant, settings.data_seed)
    task = file_task(given)
    if settings.variant is not None:
        raise SettingsError(
            f"variant: '{settings.variant}' was asked for, task '{task.name}' is read from files of its "
            "own, which have none; leave it out"
        )
    return task


def _mixed(mix: MixTask, settings: RunSettings) -> RunData:
    """Several tasks as one; each first takes its dev split and its limits as it does alone."""
    if settings.test_on:
        raise SettingsError(
            "test_on: a mixture is scored on its own tasks, one by one; leave it out"
        )
    if settings.unlabelled is not None or settings.unlabelled_limit is not None:
        raise SettingsError("unlabelled: a mixture has no unlabelled rows; leave it out")
    if settings.train_limit == 0:
        raise SettingsError("train_limit: a mixture is drawn from rows of train; give at least 1")
    found: list[RunData] = []
    for given in mix.mix:
        task = _read(text_form(given) if isinstance(given, str) else given, settings)
        # dev_size is for the tasks that have no dev of their own.
        has_dev = "dev" in task.split_names
        keeps_it = has_dev and ("test" in task.split_names or not settings.test_on_dev)
        own = settings.model_copy(update={"dev_size": None}) if keeps_it else settings
        found.append(_shaped(task, own))
    tasks = [one.task for one in found]
    made = mix_tasks(
        tasks,
        mix.rates,
        limit=mix.limit,
        temperature=mix.temperature,
        size=mix.size,
        seed=settings.data_seed,
        name=mix.name,
    )
    drawn = Counter(task_of(example.group) for example in made.examples("train"))
    notes = [f"{one.task.name}: {note}" for one in found for note in one.notes]
    for task in tasks:
        n, rows = drawn[task.name], len(task.examples("train"))
        share = n / drawn.total()
        notes.append(f"{task.name}: {n:,} rows of train ({share:.0%}), drawn from its {rows:,}")
    return RunData(made, tuple(notes), sum((one.skipped for one in found), Skipped()))


def _shaped(task: Task, settings: RunSettings) -> RunData:
    """A task with the dev split and the limits that the settings ask for."""
    notes: list[str] = []
    read = task
    skipped = task.skipped  # splits that are made of others do not remember theirs
    if "train" not in task.split_names:
        if settings.train_limit != 0:
            raise SettingsError(f"task '{task.name}' has no train split, so nothing can be learned")
        task = task.with_splits(train=())
    if settings.k_shot is not None:
        if task.kind == "text":
            raise SettingsError(
                f"k_shot: rows are counted for each label, and the answers of task '{task.name}' are texts; "
                "use train_limit and dev_limit"
            )
        own_dev, own_test = ("dev" in task.split_names, "test" in task.split_names)
        tested = "dev" if own_dev and not own_test else None
        try:
            task = task.few_shot(settings.k_shot, settings.data_seed, test=tested)
        except UsageError as error:
            raise SettingsError(f"k_shot: task '{task.name}': {error}") from None
        notes.append(f"{settings.k_shot} rows per label for train and for dev, drawn from train")
        if own_dev:
            kept = "it is test here" if tested else "set aside"
            notes.append(f"dev: the task's own is no dev under k_shot, {kept}")
    elif settings.test_on_dev and "test" not in task.split_names and "dev" in task.split_names:
        task, note = _with_dev(_tested_on_dev(task), settings)
        notes += ["test: the task's dev file", *([note] if note else [])]
    elif "dev" not in task.split_names:
        task, note = _with_dev(task, settings)
        notes += [note] if note else []
    elif settings.dev_size == 0:
        task, note = _without_dev(task)
        notes.append(note)
    elif settings.dev_size is not None:
        raise SettingsError(
            f"dev_size: task '{task.name}' has a dev split of its own; use dev_limit for fewer rows"
        )
    task = _limited(task, settings, notes)
    unlabelled = find_unlabelled(task, read, settings)
    if unlabelled is not None:
        limit = settings.unlabelled_limit
        split = unlabelled.split(limit, settings.data_seed)
        if settings.unlabelled is not None or limit is not None:
            task = replace(task, splits={**task.splits, UNLABELLED: split})
            drawn = f", at most {limit:,} of them" if limit is not None else ""
            notes.append(f"unlabelled: {unlabelled.note or 'rows of the task'}{drawn}")
    task, shifted, said = with_others(
        task, _others(settings), settings.test_limit, settings.data_seed
    )
    notes += said
    return RunData(task, tuple(notes), skipped, shifted, unlabelled)


def _limited(task: Task, settings: RunSettings, notes: list[str]) -> Task:
    """The task with no more rows of each split than the settings say."""
    limits = {"train": settings.train_limit, "dev": settings.dev_limit, "test": settings.test_limit}
    if settings.train_balanced and settings.train_limit is None:
        raise SettingsError("train_balanced: give train_limit, the number of rows to be spread")
    for split, limit in limits.items():
        if limit is None or split not in task.split_names:
            continue
        rows = task.examples(split)
        if limit >= len(rows) > 0:
            continue
        how = ""
        if limit == 0:
            task = task.with_splits(**{split: ()})
        elif split == "train" and settings.train_balanced:
            kept = balanced(_labels(task, rows), limit, settings.data_seed)
            task, how = task.with_splits(train=[rows[i] for i in kept]), ", spread over the labels"
        else:
            try:
                task = task.subsample(split, limit, settings.data_seed)
            except UsageError as error:
                raise SettingsError(f"{split}_limit: {error}") from None
        notes.append(f"{split}: {len(task.examples(split)):,} of {len(rows):,} rows{how}")
    return task


def _labels(task: Task, rows: Sequence[Example]) -> list[str]:
    """What rows are spread over: their labels, or the halves of their numbers.

    Raises:
        SettingsError: free-text targets, or numbers without bounds.
    """
    try:
        label = coarse_label(task.kind, task.bounds)
        return [label(row) for row in rows]
    except UsageError:
        raise SettingsError(
            "train_balanced: rows are spread over labels, or over the halves of numbers with "
            f"bounds; task '{task.name}' has free-text targets or no bounds"
        ) from None


def _others(settings: RunSettings) -> list[Other]:
    """The tasks that the run is scored on too; their labels are looked at by `with_others`."""
    found: list[Other] = []
    for given in settings.test_on:
        if isinstance(given, MixTask):
            raise SettingsError("test_on: a mixture is to be trained on; name its tasks one by one")
        if isinstance(given, FileTask):
            task = file_task(given)
            found.append(Other(task, task.name))
            continue
        named = NamedTask(task=given) if isinstance(given, str) else given
        task = load_task(named.task, settings.data, named.variant, settings.data_seed)
        of = f" ({named.variant})" if named.variant is not None else ""
        found.append(Other(task, f"{task.name}{of}", named.labels))
    return found


def file_task(files: FileTask) -> Task:
    """A task from the user's own files.

    Raises:
        UsageError: a file, column or value that is wrong, with file and line.
    """
    paths = {split: getattr(files, split) for split in ("train", "dev", "test")}
    there = {split: path for split, path in paths.items() if path is not None}
    if not there:
        raise SettingsError("task: no file given, expected at least train")
    formats = {split: _format(path) for split, path in there.items()}
    if len(set(formats.values())) > 1:
        raise SettingsError(f"task: files of one format expected, got {listed(formats.values())}")
    task = _read_files(files, next(iter(formats.values())), paths)
    if files.unlabelled is None:
        return task
    check_file(Path(files.unlabelled))
    alone = files.model_copy(
        update={"target": None, "labels": None, "metrics": None, "kind": "label"}
    )
    own = {UNLABELLED: files.unlabelled, "train": None, "lazy": True}
    read = _read_files(alone, _format(files.unlabelled), own)
    return replace(task, splits={**task.splits, UNLABELLED: read.splits[UNLABELLED]})


def _read_files(files: FileTask, suffix: str, splits: Mapping[str, Any]) -> Task:
    """A task from files of one format, with the options that it has."""
    given = files.model_dump(exclude={"train", "dev", "test", UNLABELLED})
    fields = given.pop("fields")
    if suffix not in (".csv", ".tsv"):
        for name in _TABLE_OPTIONS:
            given.pop(name)
    if suffix == ".parquet":
        for name in _TEXT_OPTIONS:
            given.pop(name)
    if isinstance(fields, dict):
        given["columns"], fields = fields, list(fields)
    reader: Any = _READERS[suffix]
    task: Task = reader(fields=fields, **given, **splits)
    return task


def _with_dev(task: Task, settings: RunSettings) -> tuple[Task, str]:
    n = len(task.examples("train"))
    if settings.dev_size == 0 or (settings.dev_size is None and settings.train_limit == 0):
        return task, ""  # zero labelled rows are zero
    size = settings.dev_size
    if size is None:
        size = min(MOST_DEV, max(1, round(DEV_SHARE * n)))
    if n < 2:
        raise DataError("train holds a single row, expected at least two (one for dev)")
    try:
        made = task.with_dev_from_train(size=size, seed=settings.data_seed)
    except UsageError as error:
        raise SettingsError(f"dev_size: {error}") from None
    taken = len(made.examples("dev"))
    return made, f"dev: {taken:,} rows taken out of train (labels in proportion)"


def _without_dev(task: Task) -> tuple[Task, str]:
    """The task without its dev split, on which nothing is to be chosen: where there is no test, it
    is one."""
    if "test" in task.split_names:
        return task.without_split("dev"), "dev: left out (dev_size: 0)"
    return _tested_on_dev(task), "test: the task's dev rows (dev_size: 0)"


def _tested_on_dev(task: Task) -> Task:
    """The task with its dev split for its test split."""
    bare = task.without_split("dev")
    return replace(bare, splits={**bare.splits, "test": task.splits["dev"]})


def _format(path: str) -> str:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix not in (".gz", ".xz")]
    if not suffixes or suffixes[-1] not in _READERS:
        raise SettingsError(
            f"task: cannot tell the format of {path} by its name, expected one of "
            f"{', '.join(_READERS)}"
        )
    return suffixes[-1]
