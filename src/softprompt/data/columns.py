"""How one row becomes one example: which column is which field, and what its target may be.

Knows cells and examples, not files: where a row stands is given to it for the messages.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from softprompt.data.examples import Example, Target
from softprompt.data.readers import Row
from softprompt.errors import DataError, UsageError

Kind = Literal["label", "text", "number"]
KINDS: tuple[Kind, ...] = ("label", "text", "number")
Labels = Sequence[Any] | Mapping[Any, str]
SHOWN = 20


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """A suggestion to put behind an error message, or '' where nothing is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower().strip(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first twenty of them."""
    quoted = [repr(name) for name in names]
    more = f", … ({len(quoted)} in all)" if len(quoted) > SHOWN else ""
    return ", ".join(quoted[:SHOWN]) + more


def is_missing(value: Any) -> bool:
    """None, not-a-number, and pandas' marks of a missing value."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def plain(value: Any) -> Any:
    """NumPy scalars and arrays, as data frames hold them, become Python values."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def as_text(value: Any) -> str:
    """A cell as text: true and false as JSON writes them, whole numbers without '.0'."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def label_map(labels: Labels) -> tuple[tuple[str, ...], dict[str, str]]:
    """What a user gives as `labels` becomes the label names in order, and raw text to label.

    Args:
        labels: a list: the raw targets are the labels, and keep this order. A mapping: raw to
            label; the labels are ordered as they first appear.
    Raises:
        UsageError: fewer than two labels, or one given twice.
    """
    if isinstance(labels, str):
        raise UsageError(f"labels: expected a list or a mapping, got the text {labels!r}")
    pairs = labels.items() if isinstance(labels, Mapping) else [(raw, raw) for raw in labels]
    raw_to_label = {as_text(plain(raw)).strip(): as_text(label) for raw, label in pairs}
    if len(raw_to_label) < len(pairs):
        raise UsageError(f"labels: the same one stands twice in {listed(map(str, labels))}")
    names = tuple(dict.fromkeys(raw_to_label.values()))
    if len(names) < 2:
        raise UsageError(f"labels: expected at least two, got {list(names)}")
    return names, raw_to_label


@dataclass(frozen=True)
class Columns:
    """From a row to an example.

    Args:
        fields: field name to column name.
        target: the target's column; None reads no targets.
        kind: what a target is.
        labels: raw text to label for kind "label"; None takes the raw text for the label.
        bounds: lowest and highest number allowed, for kind "number".
        id: column of the ids; None counts rows ("train:17" stands on line 17).
        candidates: column that lists the example's own possible answers.
        group: column whose value rows share that are scored together.
        strip: drop white space around texts. GLUE's SST-2 has it at every end.
    """

    fields: Mapping[str, str]
    target: str | None
    kind: Kind = "label"
    labels: Mapping[str, str] | None = None
    bounds: tuple[float, float] | None = None
    id: str | None = None
    candidates: str | None = None
    group: str | None = None
    strip: bool = True

    def example(self, row: Row, file: str, line: int, split: str) -> Example:
        """Build one example; in the split "unlabelled" no target is read.

        Raises:
            DataError: a column or value is missing, the label is not known, the number is none or
                out of bounds; with file, line and field.
        """
        at = _Place(row, file, line)
        fields = {field: self._field(at, field, column) for field, column in self.fields.items()}
        if not any(fields.values()):
            raise at.error("every field of the row is empty; expected text", next(iter(fields)))
        target: Target = None
        if self.target is not None and split != "unlabelled":
            target = TARGETS[self.kind](self, at, at.value(self.target, "the target"))
        ident = f"{split}:{line}" if self.id is None else as_text(at.value(self.id, "the id"))
        candidates = None
        if self.candidates is not None:
            value = at.value(self.candidates, "the candidates")
            if not isinstance(value, list) or not value:
                message = f"expected a list of candidates, got {value!r}"
                raise at.error(message, self.candidates)
            candidates = tuple(self._text(as_text(item)) for item in value)
        group = None if self.group is None else as_text(at.value(self.group, "the group"))
        return Example(ident, fields, target, candidates, group)

    def _field(self, at: _Place, field: str, column: str) -> str | tuple[str, ...]:
        value = at.value(column, f"field {field!r}")
        if isinstance(value, list):
            return tuple(self._text(as_text(item)) for item in value)
        return self._text(as_text(value))

    def _text(self, text: str) -> str:
        return text.strip() if self.strip else text


@dataclass(frozen=True)
class _Place:
    """A row and where it stands, so that errors can say so."""

    row: Row
    file: str
    line: int

    def value(self, column: str, role: str) -> Any:
        try:
            value = plain(self.row[column])
        except KeyError:
            raise self._no_column(column, role) from None
        if is_missing(value):
            raise self.error(f"the value is missing; expected {role}", column)
        return value

    def error(self, message: str, column: str) -> DataError:
        return DataError(message, file=self.file, line=self.line, field=column)

    def _no_column(self, column: str, role: str) -> DataError:
        there = [str(name) for name in self.row]
        hint = did_you_mean(column, there)
        for separator in ("\t", ";", ","):
            if len(there) == 1 and separator in there[0]:
                hint = f"; cells seem to be separated by {separator!r}: set delimiter={separator!r}"
        message = f"no such column, wanted for {role}; the columns are {listed(there)}{hint}"
        return self.error(message, column)


def _label_target(columns: Columns, at: _Place, value: Any) -> Target:
    column = columns.target or ""
    if isinstance(value, dict):
        return _distribution(columns, at, value)
    if isinstance(value, list):
        message = f"expected one label, got the list {value!r}; for free text set kind='text'"
        raise at.error(message, column)
    raw = as_text(value).strip()
    if not raw:
        raise at.error("the value is empty; expected a label", column)
    if columns.labels is None:
        return raw
    if raw not in columns.labels:
        known = list(columns.labels)
        message = f"unknown label {raw!r}; known: {listed(known)}{did_you_mean(raw, known)}"
        raise at.error(message, column)
    return columns.labels[raw]


def _distribution(columns: Columns, at: _Place, value: dict[str, Any]) -> Target:
    """Soft targets, as PET's ensembles write them: label to probability."""
    column = columns.target or ""
    if columns.labels is None:
        raise at.error("a distribution over labels needs `labels` to be given", column)
    shares: dict[str, float] = {}
    for raw, share in value.items():
        if raw not in columns.labels:
            hint = did_you_mean(raw, columns.labels)
            raise at.error(f"unknown label {raw!r}; known: {listed(columns.labels)}{hint}", column)
        if isinstance(share, bool) or not isinstance(share, int | float) or not share >= 0:
            raise at.error(f"expected a probability for {raw!r}, got {share!r}", column)
        shares[columns.labels[raw]] = shares.get(columns.labels[raw], 0.0) + float(share)
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-3):
        message = f"expected probabilities that sum to 1, got {sum(shares.values()):.4g}"
        raise at.error(message, column)
    return shares


def _text_target(columns: Columns, at: _Place, value: Any) -> Target:
    column = columns.target or ""
    golds = value if isinstance(value, list) else [value]
    texts = tuple(columns._text(as_text(gold)) for gold in golds if not is_missing(gold))
    if not texts or not all(texts):
        raise at.error("a target text is empty; expected text", column)
    return texts if isinstance(value, list) else texts[0]


def _number_target(columns: Columns, at: _Place, value: Any) -> Target:
    column = columns.target or ""
    try:
        number = math.nan if isinstance(value, bool | list | dict) else float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise at.error(f"expected a number, got {value!r}", column)
    if columns.bounds is not None and not columns.bounds[0] <= number <= columns.bounds[1]:
        low, high = columns.bounds
        raise at.error(f"expected a number from {low:g} to {high:g}, got {number:g}", column)
    return number


TARGETS = {"label": _label_target, "text": _text_target, "number": _number_target}
