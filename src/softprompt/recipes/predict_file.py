"""Rows of any number through a prompt: streamed in, streamed out, in their order.

Memory holds one group of rows at a time. A bad row stops the stream with its line, or, where that
is wanted, becomes a result of its own in its place.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from softprompt.data.columns import Columns, did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.lines import Report, raise_it, text_lines
from softprompt.data.readers import FileSource, Rows
from softprompt.errors import DataError, SettingsError
from softprompt.inference.predict import Prediction
from softprompt.inference.predictor import Predictor
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.run_folder import writing

GROUP = 512
"""Rows predicted at once; they are sorted by length within a group."""

STDIN = Path("/dev/stdin")


@dataclass(frozen=True)
class Result:
    """What became of one row.

    Args:
        id: the row's id, or its line.
        prediction: None where the row was bad.
        error: what was wrong with it, or None.
    """

    id: str
    prediction: Prediction | None = None
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """As one JSON object."""
        if self.prediction is None:
            return {"id": self.id, "prediction": None, "error": self.error}
        found = self.prediction
        return {"id": self.id, "prediction": found.answer, **found.details()}


@dataclass(frozen=True)
class RowFile:
    """A file of rows to predict.

    Args:
        path: a file, or `STDIN`.
        format: ".csv", ".tsv", ".jsonl", ".json", ".parquet", or ".txt" (a text a line); None goes
            by the name.
        id: column of ids, or None for line numbers.
        skip_bad_rows: whether a bad row becomes a result with `error`.
    """

    path: Path
    format: str | None = None
    id: str | None = None
    skip_bad_rows: bool = False

    def rows(self, fields: Sequence[str], report: Report) -> Rows:
        """The rows, those of a plain text as rows with the one field."""
        if self.format != ".txt" and not (self.format is None and self.path.suffix == ".txt"):
            return FileSource(self.path, self.format).rows(report)
        if len(fields) != 1:
            raise SettingsError(
                f"{self.path}: lines of plain text, but the task has the fields {listed(fields)}; "
                "give csv, tsv or jsonl"
            )
        lines = text_lines(self.path, report=report)
        return ((n, {fields[0]: text.rstrip("\r\n")}) for n, text in lines if text.strip())


def predict_file(
    predictor: Predictor, prompt: Prompt, file: RowFile, columns: Mapping[str, str] | None = None
) -> Iterator[Result]:
    """Predict the rows of a file, in order.

    Args:
        predictor: with this one prompt.
        prompt: whose fields are wanted.
        file: where the rows are.
        columns: field to column, where a column is called otherwise.
    Raises:
        DataError: the first bad row, with its line (unless bad rows are passed over).
        SettingsError: a field that the prompt does not have.
    """
    items = _items(prompt, file, columns or {})
    while group := list(islice(items, GROUP)):
        examples = [item for item in group if isinstance(item, Example)]
        found = iter(_predict(predictor, examples, file.skip_bad_rows))
        for item in group:
            yield item if isinstance(item, Result) else next(found)


def _items(prompt: Prompt, file: RowFile, renamed: Mapping[str, str]) -> Iterator[Example | Result]:
    fields = tuple(prompt.task["fields"])
    for name in renamed:
        if name not in fields:
            hint = did_you_mean(name, fields)
            raise SettingsError(f"no field '{name}'; the prompt has {listed(fields)}{hint}")
    own = prompt.answers.get("kind") == "candidates"
    columns = Columns(
        {name: renamed.get(name, name) for name in fields},
        target=None,
        id=file.id,
        candidates="candidates" if own else None,
    )
    failed: list[DataError] = []
    report: Report = failed.append if file.skip_bad_rows else raise_it
    name = "standard input" if file.path == STDIN else str(file.path)
    for line, row in file.rows(fields, report):
        yield from _failures(failed)
        try:
            example = columns.example(row, name, line, "rows")
        except DataError as error:
            report(error)
            yield from _failures(failed)
        else:
            yield example if file.id is not None else replace(example, id=str(line))
    yield from _failures(failed)


def _failures(failed: list[DataError]) -> Iterator[Result]:
    while failed:
        error = failed.pop(0)
        yield Result(id=str(error.line), error=str(error))


def _predict(
    predictor: Predictor, examples: Sequence[Example], skip_bad_rows: bool
) -> list[Result]:
    """A group at once; where a row cannot be rendered and may be passed over, one by one."""
    try:
        return [Result(p.id, p) for p in predictor.predict_examples(examples)]
    except DataError:
        if not skip_bad_rows:
            raise
    results = []
    for example in examples:
        try:
            results += [Result(p.id, p) for p in predictor.predict_examples([example])]
        except DataError as error:
            results.append(Result(example.id, error=str(error)))
    return results


def json_line(result: Result) -> str:
    """A result as a line of JSON."""
    return json.dumps(result.row(), ensure_ascii=False) + "\n"


def tsv_lines(labels: Sequence[str]) -> tuple[str, Callable[[Result], str]]:
    """The header of a table of results, and what turns a result into a line of it.

    Args:
        labels: those whose probabilities get a column.
    """

    def line(result: Result) -> str:
        found = result.prediction
        answer = "" if found is None or found.answer is None else found.answer
        shares = found.probabilities if found is not None else {}
        cells = [result.id, str(answer), *(_share(shares.get(label)) for label in labels)]
        return "\t".join(" ".join(cell.split()) for cell in cells) + "\n"

    names = ["id", "prediction", *(f"p({' '.join(label.split())})" for label in labels)]
    return "\t".join(names) + "\n", line


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


@contextmanager
def output_file(path: Path, overwrite: bool) -> Iterator[IO[str]]:
    """A text file that appears under its name only when all of it is written.

    Raises:
        SettingsError: it is there already.
        RunError: the system refuses (no space left, no permission); nothing is left behind.
    """
    if path.exists() and not overwrite:
        raise SettingsError(f"{path} is there already; give --overwrite to replace it")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
