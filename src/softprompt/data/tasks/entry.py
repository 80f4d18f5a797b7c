"""What is written down of a task before any file is read: its files, its columns, how it is asked.

Knows no rows and no benchmark; the tables beside this file are made of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from softprompt.data.columns import Kind
from softprompt.data.lines import Report
from softprompt.data.readers import Row, Rows

Layout = Callable[[Path, Report], Rows]
"""Reads a file that is no table and has no object a line; see `layouts.py`."""

Unfold = Callable[[Row, str], Iterable[Row]]
"""One record of a file, and its split, become the rows of the task; see `unfolding.py`."""


@dataclass(frozen=True)
class TaskFile:
    """One file of a task.

    Args:
        path: below the data folder, in the layout of the official files; `.gz` or `.xz` may follow.
        header: as in `FileSource`.
        quoting: as in `FileSource`.
        columns: field to column, where this file calls it otherwise.
        optional: a task without this file is whole.
        layout: what reads it, where it is none of the formats of `FileSource`.
        target: its column of the target, where it is not the task's.
        format: a suffix of `FORMATS`, where its own name does not tell.
        otherwise: the file that is read in its place where it is not there.
        without: files whose rows are left out of this one, as far as they are there: the same texts
            but for spaces, punctuation and case, in any order of the fields.
    """

    path: str
    header: bool | tuple[str, ...] = True
    quoting: bool | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    layout: Layout | None = None
    target: str | None = None
    format: str | None = None
    otherwise: TaskFile | None = None
    without: tuple[TaskFile, ...] = ()

    @property
    def choices(self) -> tuple[TaskFile, ...]:
        """This file and those that may stand in for it, in the order they are looked for."""
        return (self, *(self.otherwise.choices if self.otherwise else ()))


@dataclass(frozen=True)
class TaskEntry:
    """All that is known of a task before its files are read.

    Args:
        name: as `load_task` takes it.
        files: split to file.
        fields, target, labels, kind, bounds, metrics, template, templates, language, source: as in
            `Task`; `labels` maps the files' own values to the names used here.
        words: label to its word or words; of a number, those of its lower and its upper end.
        columns: field to column, for all files.
        candidates, group, id: columns, as in `TaskOptions`.
        strip: as in `TaskOptions`.
        hub: the data set's name on the Hugging Face Hub, for messages.
        shipped: the files lie in the package, not in the data folder.
        clean: what to do to every field before it is read.
        unfold: what a record holds, where it is not one row.
        dev_fraction: where there is no dev file, how much of train becomes dev.
        test_fraction: where there is no test file, how much of train becomes test, whatever the
            seed; before dev is taken.
        variants: name to other files, in place of `files`.
        forms: name to another way to ask, such as "t5".
        benchmark: what `softprompt list tasks` puts it under.
        note: what a reader of a score must know: what stands for a hidden test set, and the like.
    """

    name: str
    files: Mapping[str, TaskFile]
    fields: tuple[str, ...]
    target: str
    labels: Mapping[str, str] | tuple[str, ...] | None = None
    words: Mapping[str, str | tuple[str, ...]] | None = None
    template: str | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    source: str = ""
    kind: Kind = "label"
    bounds: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    candidates: str | None = None
    group: str | None = None
    id: str | None = None
    strip: bool = True
    hub: str | None = None
    shipped: bool = False
    clean: Callable[[str], str] | None = None
    unfold: Unfold | None = None
    dev_fraction: float | None = None
    test_fraction: float | None = None
    variants: Mapping[str, Mapping[str, TaskFile]] = field(default_factory=dict)
    forms: Mapping[str, Form] = field(default_factory=dict)
    benchmark: str = "other"
    note: str = ""

    def in_form(self, form: Form) -> TaskEntry:
        """This task asked another way."""
        changes: dict[str, Any] = {
            name: value
            for name in ("kind", "target", "metrics", "unfold", "labels", "fields", "id", "group")
            if (value := getattr(form, name)) is not None
        }
        if form.kind is not None and form.kind != "label":
            changes.update(labels=None, bounds=None)
        candidates = self.candidates if form.kind is None else None
        return replace(
            self,
            template=form.template,
            templates=dict(form.templates),
            words=form.words,
            candidates=candidates,
            forms={},
            **changes,
        )


@dataclass(frozen=True)
class Form:
    """Another way to ask a task: its text, its words, and, where they differ, what is asked for.

    Args:
        template: the text; without `{mask}` the answer follows it (encoder-decoder, causal).
        templates: family of backbones to its own.
        words: as in `TaskEntry`.
        source: paper and section.
        kind, target, metrics, labels, fields, unfold, id, group: in place of the entry's; None keeps
            it. With a kind of its own the examples' own candidates fall away.
    """

    template: str
    words: Mapping[str, str | tuple[str, ...]] | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    kind: Kind | None = None
    target: str | None = None
    metrics: tuple[str, ...] | None = None
    labels: Mapping[str, str] | tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    unfold: Unfold | None = None
    id: str | None = None
    group: str | None = None


def asked(cloze: str, question: str, decoder: str = "") -> dict[str, Any]:
    """Templates for all families: a cloze, and a text after which the answer comes.

    Args:
        cloze: for masked models, with `{mask}`.
        question: without it: a causal model goes on with a word, an encoder-decoder answers.
        decoder: what its decoder begins with; where it is given (Chinese, where an answer that
            begins a text would have a space before it), no space stands before the answer.
    """
    if decoder:
        causal = f"{question}{decoder}{{mask}}"
        return {
            "template": cloze,
            "templates": {
                "causal": causal,
                "encoder_decoder": f"{question}{{decoder}}{decoder}{{mask}}",
            },
        }
    return {
        "template": cloze,
        "templates": {"causal": f"{question} {{mask}}", "encoder_decoder": question},
    }
