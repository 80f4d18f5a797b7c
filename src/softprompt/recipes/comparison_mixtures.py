"""A comparison's table of a mixture of tasks: that of the mean over the tasks, and one for each of them.

So that every task has its own official metric, intervals and reference. Knows results, not statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from softprompt.data.metrics.mixed import OF_TASK
from softprompt.data.metrics.parts import labels_of_texts
from softprompt.data.task import Task
from softprompt.recipes.comparing import Compared
from softprompt.recipes.comparison_results import Answers, Result, Scored


def by_task(compared: Compared) -> list[Compared]:
    """The table itself, and of a mixture one for each task behind it."""
    return [compared, *(_of(compared, task) for task in compared.data.task.parts.values())]


def _of(compared: Compared, task: Task) -> Compared:
    return replace(
        compared,
        task=f"{compared.task}: {task.name}",
        data=replace(compared.data, task=task),
        results=tuple(_result(result, task) for result in compared.results),
    )


def _result(result: Result, task: Task) -> Result:
    return replace(result, tested=tuple(_scored(one, task) for one in result.tested))


def _scored(one: Scored, task: Task) -> Scored:
    return replace(
        one,
        metrics={name: _metrics(values, task) for name, values in one.metrics.items()},
        n={name: len(task.examples(name)) for name in one.n},
        answers={name: answers_of(answers, task) for name, answers in one.answers.items()},
    )


def _metrics(values: Mapping[str, float], task: Task) -> dict[str, float]:
    start = f"task:{task.name} "
    return {
        name.removeprefix(start): value for name, value in values.items() if name.startswith(start)
    }


def answers_of(answers: Answers, task: Task) -> Answers:
    """What a mixture's answers say of the rows of one of its tasks, with its own ids, labels and groups."""
    start = f"{task.name}{OF_TASK}"
    places = [place for place, row in enumerate(answers.ids) if row.startswith(start)]
    golds, predictions = (
        [given[place] for place in places] for given in (answers.golds, answers.predictions)
    )
    groups = [str(answers.groups[place]).partition(OF_TASK)[2] for place in places]
    if task.kind == "label":
        golds, predictions = (
            labels_of_texts(texts, task.written_words) for texts in (golds, predictions)
        )
    ids = [answers.ids[place].removeprefix(start) for place in places]
    return Answers(ids, golds, predictions, groups if all(groups) else ())
