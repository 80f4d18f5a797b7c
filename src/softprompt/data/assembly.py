"""Sources, columns and labels put together: everything a `Task` consists of.

Knows how the parts depend on each other (labels may come out of train), not where rows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

from softprompt.data.columns import Columns, Kind, Labels, did_you_mean, label_map, listed
from softprompt.data.loading import Split, infer_labels, read_split
from softprompt.data.metrics import DEFAULTS
from softprompt.data.readers import FORMATS, RowSource
from softprompt.errors import UsageError


class TaskOptions(TypedDict, total=False):
    """What all ways to make a task have in common; each may be left out.

    columns: field to column, for fields whose column is called otherwise.
    labels: a list (the raw targets, in this order), a mapping raw to label, or None: the distinct
        targets of train, sorted.
    kind: "label" (default), "text" or "number".
    bounds: lowest and highest number, for kind "number".
    id: column of ids, unique within a split; left out, ids are "train:17" for line 17.
    candidates: column that lists an example's own possible answers.
    group: column that rows share which are scored together.
    strip: drop white space around texts (default True).
    skip_bad_rows: pass over bad rows and report them in `Task.skipped` (default False).
    lazy: read a split when first asked for it, not now (needs `labels`; default False).
    name, metrics, template, templates, words, language, source: see `Task`.
    """

    columns: Mapping[str, str] | None
    labels: Labels | None
    kind: Kind
    bounds: tuple[float, float] | None
    id: str | None
    candidates: str | None
    group: str | None
    strip: bool
    skip_bad_rows: bool
    lazy: bool
    name: str | None
    metrics: Sequence[str] | None
    template: str | None
    templates: Mapping[str, str] | None
    words: Mapping[str, str | Sequence[str]] | None
    language: str | None
    source: str | None


@dataclass(frozen=True)
class Parts:
    """The attributes of a `Task`, by their names."""

    name: str
    fields: tuple[str, ...]
    kind: Kind
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    metrics: tuple[str, ...]
    bounds: tuple[float, float] | None
    template: str | None
    words: Mapping[str, tuple[str, ...]] | None
    language: str | None
    source: str
    templates: Mapping[str, str]


def assemble(
    sources: Mapping[str, RowSource],
    fields: str | Sequence[str],
    target: str | None,
    **options: Unpack[TaskOptions],
) -> Parts:
    """Read the splits, and the labels out of train where none are given.

    Args:
        sources: split to source; at least one.
        fields: names of the fields.
        target: column of the target, or None.
        options: see `TaskOptions`.
    Raises:
        DataError: with file, line and field.
        UsageError: no source, no field, or options that contradict each other.
    """
    if not sources:
        raise UsageError("no data: give at least one of train, dev, test and unlabelled")
    kind = options.get("kind", "label")
    if kind not in DEFAULTS:
        raise UsageError(f"kind: expected one of {listed(DEFAULTS)}, got {kind!r}")
    given = options.get("labels")
    if given is not None and kind != "label":
        raise UsageError(f"labels are given, but the kind is {kind!r}")
    if options.get("candidates") is not None and kind != "text" and target is not None:
        raise UsageError(
            f"candidates are given, but the kind is {kind!r}; an example's own answers are texts: kind: text"
        )
    names: tuple[str, ...] = ()
    mapping: Mapping[str, str] | None = None
    if given is not None:
        names, mapping = label_map(given)
    columns = Columns(
        _field_columns(fields, options.get("columns") or {}),
        target,
        kind,
        mapping,
        options.get("bounds"),
        options.get("id"),
        options.get("candidates"),
        options.get("group"),
        options.get("strip", True),
    )
    skip = options.get("skip_bad_rows", False)
    splits: dict[str, Split] = {}
    if kind == "label" and target is not None and given is None:
        names, columns, splits = _labels_from_train(sources, columns, target, skip)
    for split, source in sources.items():
        if split not in splits:
            splits[split] = Split(partial(read_split, source, columns, split, skip))
        if not options.get("lazy", False):
            _ = splits[split].loaded
    metrics, words = options.get("metrics"), options.get("words")
    first = next(iter(sources.values())).name
    return Parts(
        name=options.get("name") or _name_from(first),
        fields=tuple(columns.fields),
        kind=kind,
        labels=names,
        splits={split: splits[split] for split in sources},
        metrics=tuple(metrics) if metrics else DEFAULTS[kind],
        bounds=options.get("bounds"),
        template=options.get("template"),
        words=None if words is None else {label: _words(words[label]) for label in words},
        language=options.get("language"),
        source=options.get("source") or first,
        templates=options.get("templates") or {},
    )


def _labels_from_train(
    sources: Mapping[str, RowSource], columns: Columns, target: str, skip: bool
) -> tuple[tuple[str, ...], Columns, dict[str, Split]]:
    """Train is read with its raw targets as labels; the other splits then must hold to them."""
    if "train" not in sources:
        raise UsageError("labels can only be inferred from train; give `labels`")
    loaded = read_split(sources["train"], columns, "train", skip)
    names = infer_labels(loaded.examples, sources["train"], target)
    splits = {"train": Split.of(loaded.examples, loaded.skipped)}
    return names, replace(columns, labels=label_map(names)[1]), splits


def _field_columns(fields: str | Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names:
        raise UsageError("fields: expected at least one")
    if len(set(names)) < len(names):
        raise UsageError(f"fields: the same one stands twice in {listed(names)}")
    for field in renamed:
        if field not in names:
            hint = did_you_mean(field, names)
            raise UsageError(f"columns: {field!r} is none of the fields {listed(names)}{hint}")
    return {name: renamed.get(name, name) for name in names}


def _words(words: str | Sequence[str]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)


def _name_from(source: Any) -> str:
    name = Path(str(source)).name
    while Path(name).suffix in (*FORMATS, ".gz", ".xz"):
        name = Path(name).stem
    return name
