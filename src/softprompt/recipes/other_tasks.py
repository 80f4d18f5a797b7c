"""The test sets of other tasks as further splits of a task, in its own fields and labels.

Knows tasks, not settings or files: what is learned on one task is scored on others as it is, so their
rows must read as the task's own do. Nothing is chosen on these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from softprompt.data.columns import did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import SettingsError


@dataclass(frozen=True)
class Other:
    """A task that another is scored on.

    Args:
        task: as it was read.
        name: in reports; two of one name are one given twice.
        labels: each of its labels to the one that the trained task has for it, or None where both
            have the same ones.
    """

    task: Task
    name: str
    labels: Mapping[str, str] | None = None


def with_others(
    task: Task, others: Sequence[Other], limit: int | None, seed: int
) -> tuple[Task, tuple[str, ...], list[str]]:
    """The task with the test sets of others as further splits, `on NAME`.

    Fields of other names take the task's own, in their order. A task without a test set gives its
    dev set, for nothing is chosen here.

    Args:
        task: what is trained.
        limit: at most so many rows of each; None for all.
        seed: which rows are drawn.
    Returns:
        The task, the names of the splits, and what was decided on the way.
    Raises:
        SettingsError: one given twice, or without a test and a dev split; other labels, another
            number of fields.
    """
    found: dict[str, list[Example]] = {}
    notes: list[str] = []
    for other in others:
        name = f"on {other.name}"
        _check_alike(task, other)
        split = "test" if "test" in other.task.split_names else "dev"
        if split not in other.task.split_names or name in found:
            problem = "is given twice" if name in found else "has neither a test nor a dev split"
            raise SettingsError(f"test_on: task '{other.name}' {problem}")
        rows = other.task.examples(split)
        if limit is not None and limit < len(rows):
            rows = other.task.subsample(split, limit, seed).examples(split)
        if set(other.task.fields) != set(task.fields):
            pairs = zip(task.fields, other.task.fields, strict=True)
            notes.append(f"{name}: {', '.join(f'{b} as {a}' for a, b in pairs)}")
            rows = [_renamed(row, task.fields, other.task.fields) for row in rows]
        if other.labels is not None:
            notes.append(f"{name}: {', '.join(f'{b} as {a}' for b, a in other.labels.items())}")
            rows = [_relabelled(row, other.labels) for row in rows]
        found[name] = rows
        notes.append(f"{name}: {len(rows):,} rows of its {split} split")
    return (task.with_splits(**found) if found else task), tuple(found), notes


def _check_alike(task: Task, other: Other) -> None:
    """Refuse a task that the prompt of another cannot be scored on.

    Raises:
        SettingsError: other labels, or another number of fields.
    """
    name, there = other.name, other.task.labels
    if other.task.kind != task.kind or (other.labels is not None and task.kind != "label"):
        theirs = "labels" if other.labels is not None else f"targets of the kind {other.task.kind}"
        raise SettingsError(
            f"test_on: task '{name}' is given with {theirs}, '{task.name}' has targets of the kind "
            f"{task.kind}; expected the same"
        )
    if other.labels is not None:
        for label in other.labels:
            if label not in there:
                hint = did_you_mean(label, there) or f"; it has {listed(there)}"
                raise SettingsError(f"test_on: task '{name}' has no label '{label}'{hint}")
        if missing := [label for label in there if label not in other.labels]:
            raise SettingsError(
                f"test_on: labels of task '{name}': none is given for {listed(missing)}"
            )
        there = tuple(dict.fromkeys(other.labels.values()))
    if set(there) != set(task.labels):
        what = "becomes" if other.labels is not None else "has the labels"
        raise SettingsError(
            f"test_on: task '{name}' {what} {listed(there) or 'none'}, "
            f"'{task.name}' has {listed(task.labels) or 'none'}; expected the same ones"
            f"{_pairs(other, task)}"
        )
    if len(other.task.fields) != len(task.fields):
        raise SettingsError(
            f"test_on: task '{name}' has the fields {listed(other.task.fields)}, '{task.name}' "
            f"has {listed(task.fields)}; expected as many"
        )


def _pairs(other: Other, task: Task) -> str:
    """What to write where labels of other names mean the same; which does is the user's to say."""
    if other.labels is not None or not 0 < len(task.labels) <= len(other.task.labels):
        return ""
    return (
        f"; if they mean the same, say which: {{task: {other.task.name}, "
        f"labels: {{{other.task.labels[0]}: …, …}}}}"
    )


def _renamed(row: Example, fields: Sequence[str], theirs: Sequence[str]) -> Example:
    return replace(row, fields={a: row.fields[b] for a, b in zip(fields, theirs, strict=True)})


def _relabelled(row: Example, labels: Mapping[str, str]) -> Example:
    """The row with the task's own labels; shares of labels that become one are added."""
    if isinstance(row.target, str):
        return replace(row, target=labels[row.target])
    if not isinstance(row.target, Mapping):
        return row
    shares = dict.fromkeys(labels.values(), 0.0)
    for label, share in row.target.items():
        shares[labels[label]] += share
    return replace(row, target=shares)
