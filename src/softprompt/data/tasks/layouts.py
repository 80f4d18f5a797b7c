"""Files that are no tables: question answering in SQuAD's JSON, parallel lines, numbered objects.

Each function reads one file into rows. Knows layouts, not tasks or splits. A number in a message
counts rows from 1 where a file is one JSON value.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from softprompt.data.delimited import cut_rows
from softprompt.data.jsonrows import json_lines
from softprompt.data.lines import LINE_LIMIT, Report, open_bytes, text_lines
from softprompt.data.readers import FileSource, Rows
from softprompt.errors import DataError

LONG = 64 * LINE_LIMIT
"""MRQA's longest contexts, and whole documents for summaries."""


def squad(path: Path, report: Report) -> Rows:
    """SQuAD's JSON (also XQuAD, CMRC 2018, COVID-QA): one row per question.

    Columns: id, title, paragraph (its number), context, question, answers (the texts, each once).
    Questions without an
    answer (SQuAD 2.0's) are passed over.
    """
    number = paragraphs = 0
    for article in _part(_json(path), "data", path, "data[]"):
        for paragraph in _part(article, "paragraphs", path, "data[].paragraphs[]"):
            paragraphs += 1
            for question in _part(paragraph, "qas", path, "paragraphs[].qas[]"):
                number += 1
                try:
                    texts = [answer["text"] for answer in question.get("answers", ())]
                    row = {
                        "id": str(question.get("id", number)),
                        "title": article.get("title", ""),
                        "paragraph": str(paragraphs),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": list(dict.fromkeys(texts)),
                    }
                except (KeyError, TypeError, AttributeError) as error:
                    message = f"expected context, question and answers[].text, got no {error}"
                    report(DataError(message, file=str(path), line=number))
                    continue
                if row["answers"]:
                    yield number, row


def mrqa(path: Path, report: Report) -> Rows:
    """MRQA 2019: a header, then one context a line with its questions (Fisch et al. 2019)."""
    for line, record in json_lines(path, LONG, report):
        if "header" in record:
            continue
        for question in record.get("qas", ()):
            try:
                yield (
                    line,
                    {
                        "id": str(question["qid"]),
                        "paragraph": str(line),
                        "context": record["context"],
                        "question": question["question"],
                        "answers": list(dict.fromkeys(question["answers"])),
                    },
                )
            except (KeyError, TypeError) as error:
                message = f"expected context and qas[] with qid, question and answers, no {error}"
                report(DataError(message, file=str(path), line=line))


def numbered(path: Path, report: Report) -> Rows:
    """One JSON object of objects, `{"0": {…}, "1": {…}}`: one row for each, in order."""
    found = _json(path)
    if not isinstance(found, dict):
        raise DataError("expected one object of numbered objects", file=str(path))
    for number, row in enumerate(found.values(), start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            report(DataError(f"expected an object, got {row!r}", file=str(path), line=number))


def sides(separator: str, left: str = "source", right: str = "target") -> Callable[..., Rows]:
    """Lines of two texts with a separator between them: `source||target`."""

    def read(path: Path, report: Report) -> Rows:
        for line, text in text_lines(path, LONG, report):
            if not text.strip():
                continue
            first, found, second = text.partition(separator)
            if found:
                yield line, {left: first.strip(), right: second.strip()}
            else:
                message = f"expected two texts with {separator!r} between them"
                report(DataError(message, file=str(path), line=line))

    return read


def references(separator: str, left: str = "source", right: str = "target") -> Callable[..., Rows]:
    """As `sides`, but lines with the same source become one row with all their targets."""

    def read(path: Path, report: Report) -> Rows:
        grouped: dict[str, tuple[int, list[str]]] = {}
        for line, row in sides(separator, left, right)(path, report):
            grouped.setdefault(row[left], (line, []))[1].append(row[right])
        for source, (line, targets) in grouped.items():
            yield line, {left: source, right: targets}

    return read


def parallel(ending: str) -> Callable[..., Rows]:
    """Two files, line by line: `train.en` and, beside it, the same name with another ending."""

    def read(path: Path, report: Report) -> Rows:
        # `train.en.gz` stands beside `train.de.gz`: only the language's ending changes.
        packed = path.suffix if path.suffix in (".gz", ".xz") else ""
        other = path.with_suffix("") if packed else path
        other = other.with_suffix(ending)
        other = other.with_name(other.name + packed)
        targets = text_lines(other, LONG, report)
        number = 0
        for number, text in text_lines(path, LONG, report):
            there = next(targets, None)
            if there is None:
                message = f"{other.name} ends before its line {number}; both need as many lines"
                raise DataError(message, file=str(path), line=number)
            if text.strip() and there[1].strip():
                yield number, {"source": text.strip(), "target": there[1].strip()}
        if next(targets, None) is not None:
            message = f"{other.name} goes on after line {number}; both need as many lines"
            raise DataError(message, file=str(path), line=number)

    return read


def last_cell(path: Path, report: Report) -> Rows:
    """A tsv whose rows have more cells than its header: the last name is the last cell's (SNLI as
    LM-BFF has it, where up to five annotators stand before the gold label)."""
    rows = cut_rows(text_lines(path, LONG, report), "\t", False, str(path), LONG, report)
    header = next(rows, (0, []))[1]
    for line, cells in rows:
        if len(cells) < len(header):
            message = f"expected at least {len(header)} columns, got {len(cells)}"
            report(DataError(message, file=str(path), line=line))
        else:
            named = dict(zip(header[:-1], cells, strict=False))
            yield line, {**named, header[-1]: cells[-1]}


def labelled_csv(first: int = 0, end: int | None = None) -> Callable[..., Rows]:
    """A csv with a column `label`: its labelled rows from `first` up to `end`, counted from 0.

    Of a label "-" the annotators did not agree; such rows are passed over, as GLUE does.
    """

    def read(path: Path, report: Report) -> Rows:
        rows = FileSource(path, ".csv", line_limit=LONG).rows(report)
        agreed = ((line, row) for line, row in rows if row.get("label") != "-")
        yield from islice(agreed, first, end)

    return read


def _json(path: Path) -> Any:
    with open_bytes(path) as stream:
        try:
            return json.loads(stream.read())
        except (ValueError, RecursionError) as error:
            raise DataError(f"malformed JSON: {error}", file=str(path)) from None


def _part(value: Any, key: str, path: Path, where: str) -> list[Any]:
    part = value.get(key) if isinstance(value, dict) else None
    if not isinstance(part, list):
        raise DataError(f"expected SQuAD's layout with the list {where}", file=str(path))
    return part
