"""Several tasks as one task of free text: each row as T5 writes it, told apart by its first words.

Raffel et al. 2020, sections 2.4 and 3.5.2. Knows tasks and texts, not models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from softprompt.data.columns import listed
from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.metrics import hard
from softprompt.data.metrics.mixed import OF_TASK
from softprompt.data.metrics.parts import ILLEGAL_SHARE
from softprompt.data.mixing import LARGEST_LIMIT, Mixture, equal, proportional, tempered
from softprompt.data.task import Task
from softprompt.errors import UsageError
from softprompt.text.spell import Run, spell
from softprompt.text.template import FieldRef, Sep, Template, parse
from softprompt.text.template import Literal as Words

Rates: TypeAlias = Literal["examples", "temperature", "equal"]
TEXT = "text"
"""The one field of a mixture."""


@dataclass(frozen=True)
class Written:
    """A task and how its rows are written.

    Args:
        task: as it is alone.
        template: text and fields, nothing else; the answer follows.
    """

    task: Task
    template: Template

    def example(self, example: Example) -> Example:
        """A row as text; its id and group begin with the task's name.

        Raises:
            UsageError: a row without a target, or with answers of its own to choose from.
            TemplateError: it lacks a field.
        """
        name = self.task.name
        if example.target is None:
            raise UsageError(f"task {name!r}: example {example.id} has no target")
        if example.candidates is not None:
            raise UsageError(
                f"task {name!r} cannot be mixed: its examples bring answers to choose from, which "
                "its text does not name"
            )
        pieces = spell(self.template, example.fields, rows={}, separator="\n").main
        target = example.target
        if self.task.kind == "label":
            target = self.task.written_words[str(hard(target))][0]
        return Example(
            id=f"{name}{OF_TASK}{example.id}",
            fields={TEXT: "".join(piece.text for piece in pieces if isinstance(piece, Run))},
            target=target,
            group=name if example.group is None else f"{name}{OF_TASK}{example.group}",
        )


def written(task: Task) -> Written:
    """How a task's rows are written: by its own template where that is text and fields alone (T5's
    forms), else by T5's general rule, the task's name and `key: text` for the sorted keys.

    Raises:
        UsageError: a task of numbers, or two labels with the same word.
    """
    if task.kind == "number":
        raise UsageError(
            f"task {task.name!r} cannot be mixed: it predicts a number, and T5 writes texts; STS-B's "
            "form glue/sts_b:t5 has rounded numbers as text"
        )
    words = [word for words in task.written_words.values() for word in words]
    if len({"".join(word.split()) for word in words}) < len(words):
        raise UsageError(f"task {task.name!r} cannot be mixed: two labels have the same word")
    own = parse(task.template) if task.template else None
    if own is not None and all(isinstance(part, FieldRef | Words | Sep) for part in own.parts):
        return Written(task, own)
    name = task.name.rpartition("/")[2]
    keys = [part for key in sorted(task.fields) for part in (Words(f" {key}: "), FieldRef(key))]
    return Written(task, Template.from_parts((Words(name), *keys)))


def mixing_rates(
    sizes: Mapping[str, int],
    rates: Rates = "examples",
    limit: int | None = None,
    temperature: float | None = None,
) -> dict[str, float]:
    """The share of each task, by one of T5's three rules.

    Args:
        sizes: task to its number of training examples.
        rates: in proportion to the examples, tempered, or all alike.
        limit: K, the most that a task counts.
        temperature: T, with `temperature` and only there.
    Raises:
        UsageError: options that do not go together, or out of range.
    """
    if (temperature is not None) != (rates == "temperature"):
        raise UsageError("rates and temperature: `rates: temperature` needs one, no other takes it")
    if rates == "equal" and limit is not None:
        raise UsageError("limit: equal rates do not depend on the examples, so nothing is limited")
    if temperature is not None:
        return tempered(sizes, temperature, limit or LARGEST_LIMIT)
    return equal(sizes) if rates == "equal" else proportional(sizes, limit)


def mix_tasks(
    tasks: Sequence[Task],
    rates: Rates = "examples",
    *,
    limit: int | None = None,
    temperature: float | None = None,
    size: int | None = None,
    seed: int = 0,
    name: str = "mixture",
) -> Task:
    """One task of free text out of several, to train one prompt or one set of weights on.

    Train is drawn by `Mixture`: each task's examples in shuffled order, none again before all were
    drawn. Dev and test are those of all tasks, one after the other. Every task is scored by its own
    metrics on its own rows ("task:NAME METRIC"); the mean of their first ones selects.

    Args:
        tasks: with a train split each, names unique; in T5's form where they have one.
        rates, limit, temperature: as in `mixing_rates`.
        size: rows of train, which one epoch sees; by default the tasks' own, each counting at most
            `limit`.
        seed: of the draw.
        name: of the new task.
    Raises:
        UsageError: fewer than two tasks, one that cannot be written as text (says why), a split
            that only some have, or an option out of range.
    """
    _check(tasks, size)
    sizes = {task.name: len(task.examples("train")) for task in tasks}
    shares = mixing_rates(sizes, rates, limit, temperature)
    count = size or sum(n if limit is None else min(n, limit) for n in sizes.values())
    parts = {task.name: written(task) for task in tasks}
    splits: dict[str, Split] = {
        split: Split.of(
            one.example(row) for one in parts.values() for row in one.task.examples(split)
        )
        for split in ("train", "dev", "test")
        if split in tasks[0].split_names
    }
    splits["train"] = Split.of(_drawn(parts, Mixture(sizes, shares, seed), count))
    return Task(
        name=name,
        fields=(TEXT,),
        kind="text",
        labels=(),
        splits=splits,
        metrics=("task_mean", *(f"task:{task.name} {own}" for task in tasks for own in _own(task))),
        templates={"encoder_decoder": f"{{{TEXT}}}", "causal": f"{{{TEXT}}}"},
        language=tasks[0].language if len({task.language for task in tasks}) == 1 else None,
        source="; ".join(dict.fromkeys(task.source for task in tasks)),
        parts={task.name: task for task in tasks},
        words=None,
    )


def rows_behind(task: Task, split: str, metric: str) -> int:
    """How many rows of a split a score is of: of a mixture's "task:NAME METRIC" those of that task."""
    base, _, option = metric.partition(":")
    part = task.parts.get(option.rpartition(" ")[0]) if base == "task" else None
    return len((part or task).examples(split))


def _own(task: Task) -> tuple[str, ...]:
    """A task's metrics, and of one with labels the share of answers that are none of its words."""
    return (*task.metrics, ILLEGAL_SHARE) if task.kind == "label" else task.metrics


def _drawn(parts: Mapping[str, Written], mixture: Mixture, count: int) -> list[Example]:
    """The rows of train; what is drawn again has the number of the time behind its id."""
    made = {
        name: [one.example(row) for row in one.task.examples("train")]
        for name, one in parts.items()
    }
    seen: dict[tuple[str, int], int] = {}
    rows: list[Example] = []
    for drawn in mixture.draw(count):
        seen[drawn] = seen.get(drawn, 0) + 1
        row = made[drawn[0]][drawn[1]]
        rows.append(row if seen[drawn] == 1 else replace(row, id=f"{row.id} ×{seen[drawn]}"))
    return rows


def _check(tasks: Sequence[Task], size: int | None) -> None:
    names = [task.name for task in tasks]
    if len(tasks) < 2 or len(set(names)) < len(names):
        raise UsageError(f"expected two or more tasks of different names, got {listed(names)}")
    if size is not None and size < 1:
        raise UsageError(f"size: expected at least 1, got {size}")
    for task in tasks:
        if OF_TASK in task.name:
            raise UsageError(f"task {task.name!r}: a name without {OF_TASK!r} is expected")
        if task.parts:
            raise UsageError(f"task {task.name!r} is a mixture already; name its tasks")
        if "train" not in task.split_names:
            raise UsageError(f"task {task.name!r} has no train split, so nothing can be learned")
    for split in ("dev", "test"):
        has = [task.name for task in tasks if split in task.split_names]
        if has and len(has) < len(tasks):
            lacks = [name for name in names if name not in has]
            raise UsageError(
                f"task {listed(lacks)} has no {split} split, {listed(has)} has one; the mean is over "
                "all tasks: give it one, or leave it out"
            )
