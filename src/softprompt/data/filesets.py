"""The files of a task, one a split: the options that say how they are written.

Knows which option belongs to which format, not what the rows mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from softprompt.data.assembly import TaskOptions
from softprompt.data.columns import did_you_mean
from softprompt.data.lines import LINE_LIMIT
from softprompt.data.readers import FileSource, RowSource
from softprompt.errors import UsageError

SPLITS = ("train", "dev", "test", "unlabelled")


class FileOptions(TaskOptions, total=False):
    """The other files of a task, and all of `TaskOptions`.

    dev, test, unlabelled: a file each; targets of `unlabelled` are not read.
    """

    dev: str | Path | None
    test: str | Path | None
    unlabelled: str | Path | None


class LineOptions(FileOptions, total=False):
    """`FileOptions`, and for text formats:

    line_limit: longest line or row in bytes (default 1 MiB).
    """

    line_limit: int


class TableOptions(LineOptions, total=False):
    """`LineOptions`, and for tables of text:

    header: True: the first row names the columns. False: they are called "1", "2", … A list: the
        file has no header, and these are its columns.
    delimiter: one character; by default a comma in csv, a tab in tsv.
    quoting: whether quotes enclose cells; by default in csv, not in tsv.
    """

    header: bool | Sequence[str]
    delimiter: str | None
    quoting: bool | None


def file_sources(
    suffix: str, allowed: type, train: str | Path | None, options: Mapping[str, Any]
) -> tuple[dict[str, RowSource], TaskOptions]:
    """One source per file given, and the options that are left for the task.

    Args:
        suffix: the format of all the files, whatever they are called.
        allowed: the options class of that format.
        train: the training file, or None.
        options: as the user gave them.
    Raises:
        UsageError: an option that the format does not have.
    """
    check_options(options, allowed)
    header = options.get("header", True)
    if isinstance(header, str):
        raise UsageError(f"header: expected True, False or a list of names, got {header!r}")
    files = {**options, "train": train}
    sources: dict[str, RowSource] = {
        split: FileSource(
            Path(files[split]),
            suffix,
            header if isinstance(header, bool) else tuple(header),
            options.get("delimiter"),
            options.get("quoting"),
            options.get("line_limit", LINE_LIMIT),
        )
        for split in SPLITS
        if files.get(split) is not None
    }
    left = {name: options[name] for name in options if name in TaskOptions.__annotations__}
    return sources, cast(TaskOptions, left)


def check_options(options: Mapping[str, Any], allowed: type) -> None:
    """Refuse what no option is called, which `**options` alone would let pass in silence."""
    for name in options:
        if name not in allowed.__annotations__:
            hint = did_you_mean(name, allowed.__annotations__)
            raise UsageError(f"unknown option {name!r}{hint}")
