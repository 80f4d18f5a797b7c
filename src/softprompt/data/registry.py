"""The tasks known by name: where their files lie, and what is in them.

Adding a task is one entry of `TASKS`. A complete one, for files that lie in `<folder>/cr/`, without
a header, label first:

    TaskEntry(
        name="cr",
        files={
            "train": TaskFile("cr/train.csv", header=("label", "text")),
            "test": TaskFile("cr/test.csv", header=("label", "text")),
        },
        fields=("text",),
        target="label",
        labels={"0": "negative", "1": "positive"},
        words={"negative": "terrible", "positive": "great"},
        template="{text} It was {mask}.",
        language="en",
        source="Hu and Liu 2004, customer reviews; research use",
        dev_fraction=0.2,
    )

Knows files and labels, not templates' insides or models. Nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from softprompt.data.assembly import assemble
from softprompt.data.columns import Kind, did_you_mean, listed
from softprompt.data.lines import Report
from softprompt.data.readers import FileSource, Rows, RowSource
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError

FOLDER_VARIABLE = "SOFTPROMPT_DATA"


@dataclass(frozen=True)
class TaskFile:
    """One file of a task.

    Args:
        path: below the data folder, in the layout of the official files.
        header: as in `FileSource`.
        quoting: as in `FileSource`.
        columns: field to column, where this file calls it otherwise.
        optional: a task without this file is whole.
    """

    path: str
    header: bool | tuple[str, ...] = True
    quoting: bool | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class TaskEntry:
    """All that is known of a task before its files are read.

    Args:
        name: as `load_task` takes it.
        files: split to file.
        fields, target, labels, kind, bounds, metrics, template, language, source: as in `Task`;
            `labels` maps the files' own values to the names used here.
        words: label to its word or words.
        columns: field to column, for all files.
        hub: the data set's name on the Hugging Face Hub, for messages.
        shipped: the files lie in the package, not in the data folder.
        clean: what to do to every field before it is read.
        dev_fraction: where there is no dev file, how much of train becomes dev.
        variants: name to other files, in place of `files`.
    """

    name: str
    files: Mapping[str, TaskFile]
    fields: tuple[str, ...]
    target: str
    labels: Mapping[str, str] | tuple[str, ...] | None = None
    words: Mapping[str, str | tuple[str, ...]] | None = None
    template: str | None = None
    language: str | None = None
    source: str = ""
    kind: Kind = "label"
    bounds: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    hub: str | None = None
    shipped: bool = False
    clean: Callable[[str], str] | None = None
    dev_fraction: float | None = None
    variants: Mapping[str, Mapping[str, TaskFile]] = field(default_factory=dict)


def without_backslashes(text: str) -> str:
    """AG News marks line ends and dollar signs by a backslash; PET and OpenPrompt read a space."""
    return text.replace("\\", " ")


SENTIMENT_EN = {"negative": "terrible", "positive": "great"}
TOPICS = ("sports", "business", "science", "food")


def _shipped(
    name: str, labels: tuple[str, ...], words: tuple[str, ...], template: str
) -> TaskEntry:
    files = {split: TaskFile(f"{name}/{split}.jsonl") for split in ("train", "dev", "test")}
    return TaskEntry(
        name=f"softprompt/{name}",
        files=files,
        fields=("text",),
        target="label",
        labels=labels,
        words=dict(zip(labels, words, strict=True)),
        template=template,
        language=name[-2:],
        source="written for softprompt and shipped with it, under its licence",
        shipped=True,
    )


def _eprstmt(train: str, dev: str | None = None) -> dict[str, TaskFile]:
    files = {"train": train, "dev": dev, "test": "test_public"}
    made = {
        split: TaskFile(f"fewclue/eprstmt/{name}.json") for split, name in files.items() if name
    }
    made["unlabelled"] = TaskFile("fewclue/eprstmt/unlabeled.json", optional=True)
    return made


_ENTRIES = (
    TaskEntry(
        name="sst2",
        files={
            "train": TaskFile("sst2/train.tsv"),
            "dev": TaskFile("sst2/dev.tsv"),
            "test": TaskFile("sst2/test-labeled.tsv", optional=True),
        },
        fields=("text",),
        columns={"text": "sentence"},
        target="label",
        labels={"0": "negative", "1": "positive"},
        words=SENTIMENT_EN,
        template="{text} It was {mask}.",
        language="en",
        source="SST-2 (Socher et al. 2013), GLUE: phrases in train, sentences in dev; research use",
        hub="stanfordnlp/sst2",
    ),
    TaskEntry(
        name="ag_news",
        files={
            "train": TaskFile("ag_news/train.tsv", header=("text", "label"), quoting=True),
            "test": TaskFile(
                "ag_news/test.csv",
                header=("label", "title", "description"),
                columns={"text": "description"},
            ),
        },
        fields=("text",),
        target="label",
        labels={
            **{"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"},
            **{name: name for name in ("World", "Sports", "Business", "Sci/Tech")},
        },
        words={"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Tech"},
        template="[ Category: {mask} ] {text}",
        language="en",
        source="AG News (Zhang et al. 2015), descriptions without titles; research use",
        hub="fancyzhx/ag_news",
        clean=without_backslashes,
        dev_fraction=0.1,
    ),
    TaskEntry(
        name="eprstmt",
        files=_eprstmt("train_few_all"),
        fields=("text",),
        columns={"text": "sentence"},
        target="label",
        labels=("Negative", "Positive"),
        words={"Negative": "差", "Positive": "好"},
        template="{text}。总体评价是{mask}的。",
        language="zh",
        source="FewCLUE EPRSTMT (Xu et al. 2021), product reviews; research use",
        dev_fraction=0.2,
        variants={str(n): _eprstmt(f"train_{n}", f"dev_{n}") for n in range(5)},
    ),
    _shipped(
        "reviews-en", ("negative", "positive"), ("terrible", "great"), "{text} It was {mask}."
    ),
    _shipped("reviews-zh", ("negative", "positive"), ("差", "好"), "{text}总体评价是{mask}的。"),
    _shipped("topics-en", TOPICS, TOPICS, "{text} This is about {mask}."),
    _shipped(
        "topics-zh", TOPICS, ("体育", "财经", "科学", "美食"), "这是一条关于{mask}的新闻：{text}"
    ),
)
TASKS: Mapping[str, TaskEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def load_task(
    name: str, folder: str | Path | None = None, variant: str | None = None, dev_seed: int = 0
) -> Task:
    """The task called `name`; its splits are read when first asked for.

    Args:
        name: one of `TASKS`.
        folder: the data folder, or the task's own folder in it. Left out: the environment variable
            SOFTPROMPT_DATA. Not used for tasks that the package ships.
        variant: another choice of files; "eprstmt" has "0" to "4", FewCLUE's five splits, and
            by default trains on all five.
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
