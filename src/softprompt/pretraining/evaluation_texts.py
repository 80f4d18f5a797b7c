"""A folder of labelled data becomes evaluation sets: every longer text in every file that tests.

Knows file formats, not tasks: a text is any string value, at any depth, in any column, but for
spans of a text around it. Files for training are told by their names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt.data.delimited import cut_rows
from softprompt.data.lines import LINE_LIMIT, open_bytes, text_lines
from softprompt.data.readers import SEPARATORS, iter_rows
from softprompt.errors import DataError
from softprompt.pretraining.overlap import EvaluationSet, OverlapRule

TRAINING = ("train", "unlabel")
"""A file whose name holds one of these is not for evaluation (train.tsv, unlabeled.json)."""
DESCRIPTIONS = ("label_",)
"""A file whose name begins so describes labels (label_index.json) and holds no texts."""
SHORTEST = min(OverlapRule().whole_text, OverlapRule().whole_chinese)
"""Shorter texts overlap with nothing, whatever their language."""


def evaluation_sets(folder: Path, without: Sequence[str] = ()) -> Iterator[EvaluationSet]:
    """The evaluation texts of each data file below a folder, in order of name.

    All files of a known format are taken but those for training; a data set that comes as one file
    (all of it may be used for evaluation) is therefore taken whole. Sets without any text long
    enough are passed over.

    Args:
        folder: files as .tsv, .csv, .jsonl, .json, .parquet or .txt, at any depth.
        without: folders or files below `folder` that are left out, as `lama` or `squad/dev.json`.
    Returns:
        Sets named by their path without its ending, as `sst2/test`.
    Raises:
        DataError: no such folder, no evaluation file in it, a name in `without` that is not there,
            or a file that cannot be read, with its line.
    """
    if not folder.is_dir():
        raise DataError("expected a folder of evaluation data, found none", file=str(folder))
    for name in without:
        if not (folder / name).exists():
            raise DataError(
                f"'{name}' is to be left out but is not there; name a folder or file in it",
                file=str(folder),
            )
    found = False
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not is_evaluation_file(path) or any(place.is_relative_to(name) for name in without):
            continue
        found = True
        texts = dict.fromkeys(text for text in file_texts(path) if len(text) >= SHORTEST)
        if texts:
            yield EvaluationSet(place.with_suffix("").as_posix(), tuple(texts))
    if not found:
        endings = ", ".join(_READERS)
        raise DataError(
            f"no evaluation file here: expected {endings} without 'train' in the name",
            file=str(folder),
        )


def is_evaluation_file(path: Path) -> bool:
    """Whether the name is that of a data file which is not for training."""
    name = path.name.lower()
    return (
        path.suffix.lower() in _READERS
        and not any(word in name for word in TRAINING)
        and not name.startswith(DESCRIPTIONS)
        and path.is_file()
    )


def file_texts(path: Path) -> Iterator[str]:
    """Every string value in a file, headings included, as they stand.

    Raises:
        DataError: empty, not UTF-8, malformed; with file and line.
    """
    yield from _READERS[path.suffix.lower()](path)


def _cells(path: Path) -> Iterator[str]:
    """Cells are not counted: a heading or none, every row may be as long as it likes."""
    delimiter, quoting = SEPARATORS[path.suffix.lower()]
    for _, cells in cut_rows(text_lines(path), delimiter, quoting, str(path), LINE_LIMIT):
        yield from cells


def _rows(path: Path) -> Iterator[str]:
    for _, row in iter_rows(path):
        yield from _strings(row)


def _json(path: Path) -> Iterator[str]:
    """One value in the whole file (SQuAD's form), or one object a line."""
    with open_bytes(path) as stream:
        content = stream.read()
    try:
        whole = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        yield from (text for _, row in iter_rows(path, format=".jsonl") for text in _strings(row))
    else:
        yield from _strings(whole)


def _lines(path: Path) -> Iterator[str]:
    """Lines, cut at tabs (MRPC) and at double bars (E2E)."""
    for _, line in text_lines(path):
        for cell in line.rstrip("\r\n").split("\t"):
            yield from cell.split("||")


def _strings(value: Any, enclosing: tuple[str, ...] = ()) -> Iterator[str]:
    """String values at any depth; keys of objects are not texts.

    A string that stands in a text of an enclosing object is a span of it and no text of its own:
    SQuAD's answers are names, and every page that says "the University of Cambridge" would overlap.
    """
    if isinstance(value, str):
        if not any(value in text for text in enclosing):
            yield value
    elif isinstance(value, Mapping):
        texts = tuple(inner for inner in value.values() if isinstance(inner, str))
        for inner in value.values():
            yield from _strings(inner, enclosing if isinstance(inner, str) else enclosing + texts)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, enclosing)


_READERS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    ".tsv": _cells,
    ".csv": _cells,
    ".jsonl": _rows,
    ".json": _json,
    ".parquet": _rows,
    ".txt": _lines,
}
