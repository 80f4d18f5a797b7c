"""The tasks of a run file: a name, the user's own files, or several tasks as one.

Knows values, not files or folders; `run_data.py` reads what they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from softprompt.data.columns import as_text
from softprompt.data.mixture import Rates
from softprompt.settings import Settings


def text_keys(value: Any) -> Any:
    """YAML reads `0: negative` with a number for key; names are texts."""
    return {as_text(key): v for key, v in value.items()} if isinstance(value, Mapping) else value


def _number_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


VariantName = Annotated[str | None, BeforeValidator(_number_name)]
"""Another choice of a task's files; some are called by numbers, such as the seed of a split."""


def text_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Reading(Settings):
    """How the rows of files are read."""

    header: bool | list[str] = Field(
        default=True, description="csv, tsv: false, or the columns' names"
    )
    delimiter: str | None = Field(default=None, description="csv, tsv: one character")
    quoting: bool | None = Field(default=None, description="csv, tsv: whether quotes enclose cells")
    line_limit: int = Field(default=1 << 20, ge=1, description="longest line in bytes")
    strip: bool = Field(default=True, description="drop white space around texts")
    skip_bad_rows: bool = Field(default=False, description="pass over bad rows and count them")


class FileTask(Reading):
    """A task from your own files; relative paths are relative to the run file."""

    train: str | None = Field(
        default=None, description="csv, tsv, jsonl, json or parquet (.gz, .xz too)"
    )
    dev: str | None = Field(
        default=None, description="selects the step that is kept; else out of train"
    )
    test: str | None = Field(default=None, description="seen once, at the end")
    unlabelled: str | None = Field(
        default=None, description="rows of the same fields whose target is not read"
    )
    fields: Annotated[list[str] | dict[str, str], BeforeValidator(text_list)] = Field(
        description="text columns, or a mapping of field name to column"
    )
    target: str = Field(description="column of the target")
    labels: Annotated[list[Any] | dict[str, str] | None, BeforeValidator(text_keys)] = Field(
        default=None,
        description="list, or mapping raw value: label; else the distinct targets of train",
    )
    kind: Literal["label", "text", "number"] = Field(
        default="label", description="what the target is"
    )
    bounds: tuple[float, float] | None = Field(
        default=None, description="lowest and highest number"
    )
    metrics: Annotated[list[str] | None, BeforeValidator(text_list)] = Field(
        default=None, description="the first one selects (accuracy, macro_f1, f1, matthews, …)"
    )
    name: str | None = Field(default=None, description="of the task; else the file's")
    language: str | None = Field(default=None, description="en, zh, …")
    id: str | None = Field(default=None, description="column of ids")
    candidates: str | None = Field(default=None, description="column of an example's own answers")
    group: str | None = Field(default=None, description="column of rows that are scored together")


class TextFiles(Reading):
    """Unlabelled text from any files; relative paths are relative to the run file."""

    files: Annotated[list[str], BeforeValidator(text_list)] = Field(
        min_length=1, description="a path or several, in the formats of task.train"
    )
    fields: Annotated[list[str] | dict[str, str] | None, BeforeValidator(text_list)] = Field(
        default=None,
        description="{field: column}, or columns in the order of the task's fields; else columns "
        "called as the fields",
    )


class MixTask(Settings):
    """Several tasks as one, each row as T5 writes it; see `data/mixture.py`."""

    mix: list[str | FileTask] = Field(
        min_length=2, description="names (in T5's form where they have one), or your own files"
    )
    rates: Rates = Field(
        default="examples",
        description="how often each is drawn: by its examples, tempered, equally",
    )
    limit: int | None = Field(default=None, ge=1, description="K, the most that a task counts")
    temperature: float | None = Field(default=None, ge=1, description="T of rates: temperature")
    size: int | None = Field(
        default=None, ge=1, description="rows of train; else the tasks' own, up to limit each"
    )
    name: str = Field(default="mixture", description="in reports")


class NamedTask(Settings):
    """A task of the tables to be scored on, with what a bare name cannot say."""

    task: str = Field(description="its name")
    variant: VariantName = Field(default=None, description="other files of it")
    labels: Annotated[dict[str, str] | None, BeforeValidator(text_keys)] = Field(
        default=None,
        description="each of its labels: the trained task's for it, where they are not the same",
    )


def _task_kind(value: Any) -> str:
    mixed = isinstance(value, MixTask) or (isinstance(value, Mapping) and "mix" in value)
    return "str" if isinstance(value, str) else "MixTask" if mixed else "FileTask"


AnyTask = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[FileTask, Tag("FileTask")]
    | Annotated[MixTask, Tag("MixTask")],
    Discriminator(_task_kind),
]


def _other_kind(value: Any) -> str:
    named = isinstance(value, NamedTask) or (isinstance(value, Mapping) and "task" in value)
    return "NamedTask" if named else _task_kind(value)


AnyOther = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[NamedTask, Tag("NamedTask")]
    | Annotated[FileTask, Tag("FileTask")]
    | Annotated[MixTask, Tag("MixTask")],
    Discriminator(_other_kind),
]
"""A task that another is scored on."""


def _text_kind(value: Any) -> str:
    return "str" if isinstance(value, str) else "TextFiles"


AnyText = Annotated[
    Annotated[Literal["train"], Tag("str")] | Annotated[TextFiles, Tag("TextFiles")],
    Discriminator(_text_kind),
]


def task_title(task: str | FileTask | MixTask) -> str:
    """What a task of a file is called: its name, or its first file's."""
    if isinstance(task, str):
        return task
    return task.name or (Path(task.train or "task").stem if isinstance(task, FileTask) else "")
