"""From files of text to documents, one at a time: plain text, JSON lines, Parquet, hub data sets.

A document is a tuple of paragraphs: stripped, none empty, each one line (a line feed or carriage
return ends it, whatever the format). Knows formats, not what the text is for. Memory holds one
document, or one batch of a Parquet file, never a file.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from softprompt.data.jsonrows import json_lines
from softprompt.data.lines import check_file, raise_it, text_lines
from softprompt.errors import DataError

Document = tuple[str, ...]
BadLine = Callable[[DataError], None]
"""What is done about one line or row: raise the error, or take note of it."""
Reader = Callable[[Path, str, BadLine], Iterator[Document]]
"""(file, field of the text, what to do about a bad line) to documents."""

HUB = "hub:"
LINE_LIMIT = 1 << 28
"""Longest line in bytes: a book on one line is read, a file of noise does not fill the memory."""
ROWS_AT_ONCE = 64
MESSAGES = 10
"""Bad lines of one file that are reported one by one; the rest as a number."""
_LINE_END = re.compile(r"[\r\n]")  # not str.splitlines: U+0085 is a stray "…" in many a web page


def name_of(path: Path) -> str:
    """A corpus file's name without its ending."""
    return next((path.name.removesuffix(e) for e in ENDINGS if path.name.endswith(e)), path.name)


def corpus_files(folder: Path) -> dict[str, Path]:
    """The corpus files of a folder by name, sorted.

    Raises:
        DataError: no such folder, no corpus file in it, or two that differ in their ending only.
    """
    if not folder.is_dir():
        raise DataError("expected a folder of text, found none", str(folder))
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(ENDINGS):
            continue
        if (twin := found.get(name_of(path))) is not None:
            message = f"two files with one name, {twin.name} and {path.name}; rename one"
            raise DataError(message, str(folder))
        found[name_of(path)] = path
    if not found:
        raise DataError(f"no corpus here: expected files ending in {_endings()}", str(folder))
    return found


def read_documents(
    place: Path | str,
    field: str = "text",
    damaged: Literal["stop", "skip"] = "stop",
    report: Callable[[str], None] = warnings.warn,
) -> Iterator[Document]:
    """Stream the documents of a file or of a hub data set.

    Args:
        place: a file with one of `ENDINGS`, or `hub:owner/name[:configuration][:split]` (split
            `train` if none is named; `hub:owner/name::test` names a split alone).
        field: the key or column of the text in JSON lines, Parquet and hub data sets. Its value is
            a text, or a list of texts: the paragraphs.
        damaged: what becomes of what cannot be read. `stop`: the error is raised. `skip`: a bad
            line of JSON (row of Parquet) is left out, and of an archive that is cut short or a text
            that is not UTF-8 the rest; never without a word to `report`.
        report: called with each message about what was left out.
    Raises:
        DataError: at once, whatever `damaged` says: no such file, an unknown ending, a hub name of
            the wrong form. While reading: see `damaged`; a hub that cannot be reached always stops.
    """
    if str(place).startswith(HUB):
        return _documents(
            partial(_hub_documents, HubPlace.parse(str(place)), field), damaged, report
        )
    path = Path(place)
    ending = next((e for e in ENDINGS if path.name.endswith(e)), None)
    if ending is None:
        raise DataError(f"unknown ending, expected {_endings()}", str(path))
    if not path.is_file():
        raise DataError("no such file", str(path))
    return _documents(partial(_READERS[ending], path, field), damaged, report)


def _documents(
    read: Callable[[BadLine], Iterator[Document]],
    damaged: Literal["stop", "skip"],
    report: Callable[[str], None],
) -> Iterator[Document]:
    if damaged == "stop":
        yield from read(raise_it)
        return
    number, left_out = 0, 0

    def take_note(error: DataError) -> None:
        nonlocal left_out
        left_out += 1
        if left_out <= MESSAGES:
            report(f"{error}; left out")

    try:
        for document in read(take_note):
            number += 1
            yield document
    except _Unreachable:
        raise
    except DataError as error:
        report(f"{error}; the rest is left out, {number:,} documents were read before it")
    if left_out > MESSAGES:
        report(f"{left_out - MESSAGES:,} more bad lines were left out, {left_out:,} in all")


def paragraphs(texts: Iterable[str]) -> Document:
    """The lines of the texts that hold more than space, stripped."""
    return tuple(line for text in texts for raw in _LINE_END.split(text) if (line := raw.strip()))


def _text_documents(path: Path, field: str, bad: BadLine) -> Iterator[Document]:
    """A paragraph a line, a blank line between documents. Any bad line ends the reading: between
    lines nothing tells a damaged document from a whole one."""
    check_file(path)
    lines: list[str] = []
    for _, line in text_lines(path, LINE_LIMIT, raise_it):
        if line.strip():
            lines.append(line)
        elif lines:
            yield paragraphs(lines)
            lines = []
    if lines:
        yield paragraphs(lines)


def _json_documents(path: Path, field: str, bad: BadLine) -> Iterator[Document]:
    """A document a line."""
    for number, row in json_lines(path, LINE_LIMIT, bad):
        yield from _row(row, field, bad, str(path), number)


def _parquet_documents(path: Path, field: str, bad: BadLine) -> Iterator[Document]:
    """A document a row; the rows are decoded a batch at a time."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    check_file(path)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if field not in names:
                raise _no_field(field, names, str(path), None)
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=[field]):
                for row in batch.to_pylist():
                    number += 1
                    yield from _row(row, field, bad, f"{path}, row {number}", None)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"cannot be read as Parquet after row {number}: {error}; is it whole?"
        raise DataError(message, str(path)) from error


def _row(
    row: Mapping[str, Any], field: str, bad: BadLine, file: str, line: int | None
) -> Iterator[Document]:
    """The document of one row, if it holds one; what is wrong with it goes to `bad`."""
    if field not in row:
        bad(_no_field(field, list(row), file, line))
        return
    value = row[field]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
        bad(DataError(f"expected a text or a list of texts, got {shown}", file, line, field))
        return
    try:
        document = paragraphs(texts)
        "".join(document).encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        bad(DataError(f"holds half a character ({half} alone), not text", file, line, field))
        return
    if document:
        yield document


def _no_field(field: str, there: list[str], file: str, line: int | None) -> DataError:
    names = ", ".join(f"'{name}'" for name in there) or "none"
    message = f"no field '{field}'; there: {names}; say which one by the setting text_field"
    return DataError(message, file, line)


class _Unreachable(DataError):
    """The hub cannot be read: no damage of a file, so nothing is skipped."""


@dataclass(frozen=True)
class HubPlace:
    """A data set of the Hugging Face Hub: whose and which, its configuration, its split."""

    name: str
    config: str | None
    split: str

    @classmethod
    def parse(cls, text: str) -> HubPlace:
        """Read `hub:owner/name[:configuration][:split]`.

        Raises:
            DataError: another form.
        """
        name, *rest = text.removeprefix(HUB).split(":")
        if name.count("/") != 1 or not all(name.split("/")) or len(rest) > 2:
            form = "hub:owner/name[:configuration][:split]"
            raise DataError(f"expected {form}, for example hub:allenai/c4:en:train", text)
        config, split = [*rest, "", ""][:2]
        return cls(name, config or None, split or "train")

    def __str__(self) -> str:
        return f"{HUB}{self.name}:{self.config or ''}:{self.split}"

    @property
    def revision(self) -> str:
        """The commit that the hub has now, to be told from later ones.

        Raises:
            DataError: the hub cannot be reached or knows no such data set.
        """
        from huggingface_hub import HfApi

        with self._reached():
            return str(HfApi().dataset_info(self.name, timeout=10).sha)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """What goes wrong between here and the hub, in one sentence."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # each library below has its own tree of errors
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            message = f"cannot be read from the hub ({first}); check the name and the connection"
            raise _Unreachable(message, str(self)) from error


def _hub_documents(place: HubPlace, field: str, bad: BadLine) -> Iterator[Document]:
    """A document a row, fetched as they are asked for."""
    import datasets

    with place._reached():
        rows = iter(
            datasets.load_dataset(place.name, place.config, split=place.split, streaming=True)
        )
    number = 0
    while True:
        with place._reached():
            row = next(rows, None)
        if row is None:
            return
        number += 1
        yield from _row(row, field, bad, f"{place}, row {number}", None)


def _endings() -> str:
    return f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        ".txt": _text_documents,
        ".txt.xz": _text_documents,
        ".txt.gz": _text_documents,
        ".jsonl": _json_documents,
        ".jsonl.xz": _json_documents,
        ".jsonl.gz": _json_documents,
        ".parquet": _parquet_documents,
    }
)
ENDINGS = tuple(_READERS)
"""What the name of a corpus file ends in."""
