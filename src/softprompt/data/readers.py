"""Files and tables become rows: `(line, {column: value})`, one at a time.

Knows formats, not tasks. Cells of text formats are strings; JSON and Parquet keep their types.
The line is where a row starts, as a text editor counts; Parquet and data frames count rows from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from softprompt.data.delimited import cut_rows, named_rows
from softprompt.data.jsonrows import is_array, json_array, json_lines
from softprompt.data.lines import LINE_LIMIT, OPENERS, Report, check_file, raise_it, text_lines
from softprompt.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]
Rows = Iterator[tuple[int, Row]]
PARQUET_BATCH = 1024
SEPARATORS = {".csv": (",", True), ".tsv": ("\t", False)}
"""Suffix to (delimiter, whether quotes enclose cells): GLUE's tab-separated files do not quote."""
FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


class RowSource(Protocol):
    """Anything that rows can be drawn from, with a name for messages."""

    @property
    def name(self) -> str: ...

    def rows(self, report: Report) -> Rows: ...


@dataclass(frozen=True)
class FileSource:
    """The rows of one file.

    Args:
        path: `.csv`, `.tsv`, `.jsonl`, `.json` (one object a line, or one array), each also as
            `.gz` or `.xz`, or `.parquet`.
        format: a suffix of `FORMATS`, where the file's own name does not tell.
        header: for csv and tsv: True, the first row names the columns; False, columns are "1", "2",
            …; names, the file has no header and these are its columns.
        delimiter: for csv and tsv, where it is not the usual one.
        quoting: whether quotes enclose cells; by default in csv, not in tsv.
        line_limit: longest line, row or array element in bytes.
    """

    path: Path
    format: str | None = None
    header: bool | tuple[str, ...] = True
    delimiter: str | None = None
    quoting: bool | None = None
    line_limit: int = LINE_LIMIT

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self, report: Report = raise_it) -> Rows:
        """Stream the rows; what is wrong with single rows goes to `report`.

        Raises:
            DataError: the file is missing, empty, or cannot be read as a whole.
            UsageError: a format that is not known.
        """
        suffix = self.format or _format_of(self.path)
        check_file(self.path)
        if suffix == ".parquet":
            return _parquet_rows(self.path)
        if suffix in (".jsonl", ".json"):
            array = suffix == ".json" and is_array(self.path)
            return (json_array if array else json_lines)(self.path, self.line_limit, report)
        if suffix not in SEPARATORS:
            known = ", ".join(FORMATS)
            raise UsageError(f"{self.path}: unknown format {suffix!r}; expected one of {known}")
        delimiter, quoting = SEPARATORS[suffix]
        delimiter = self.delimiter or delimiter
        quoting = quoting if self.quoting is None else self.quoting
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise UsageError(f"delimiter: expected one character, got {delimiter!r}")
        lines = text_lines(self.path, self.line_limit, report)
        cells = cut_rows(lines, delimiter, quoting, self.name, self.line_limit, report)
        return named_rows(cells, self.header, self.name, report)


@dataclass(frozen=True)
class FrameSource:
    """The rows of a pandas data frame; the line is the row's place, from 1."""

    frame: pandas.DataFrame
    name: str = "data frame"

    def rows(self, report: Report = raise_it) -> Rows:
        names = [str(column) for column in self.frame.columns]
        columns = [self.frame.iloc[:, place] for place in range(len(names))]
        for number, cells in enumerate(zip(*columns, strict=True), start=1):
            yield number, dict(zip(names, cells, strict=True))


def iter_rows(
    path: str | Path,
    *,
    format: str | None = None,
    header: bool | Sequence[str] = True,
    delimiter: str | None = None,
    quoting: bool | None = None,
    line_limit: int = LINE_LIMIT,
    report: Report = raise_it,
) -> Rows:
    """Stream `(line, {column: value})` from a file; the arguments are those of `FileSource`.

    Args:
        report: called with each bad row; by default it raises.
    Raises:
        DataError: with file and line.
    """
    names = header if isinstance(header, bool) else tuple(header)
    source = FileSource(Path(path), format, names, delimiter, quoting, line_limit)
    return source.rows(report)


def _format_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(f"{path}: cannot tell the format by the name; expected one of {known}")
    return suffixes[-1]


def _parquet_rows(path: Path) -> Rows:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        message = f"cannot be read as Parquet after row {number}: {error}"
        raise DataError(message, file=str(path)) from error
