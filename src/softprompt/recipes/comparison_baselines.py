"""The baselines of a comparison that are no runs: majority class, bag of words, linear probe.

Each is fitted once for each split of a task's data and kept beside the cells; read again while the data
are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softprompt.analysis.baselines import Baseline, bag_of_words, majority
from softprompt.analysis.probe import linear_probe
from softprompt.backbones.backbone import Backbone
from softprompt.data.metrics import hard
from softprompt.data.task import Task
from softprompt.errors import UsageError
from softprompt.recipes.comparison_results import Answers, Result, Scored
from softprompt.recipes.comparison_rows import BASELINE_LABELS
from softprompt.recipes.run_folder import write_text

ON_TEXT: Mapping[str, Callable[[Task], Baseline]] = {
    "majority": majority,
    "bag_of_words": bag_of_words,
}
_CHOSEN = {"majority": "", "bag_of_words": "C of the regression"}


def baseline(
    name: str, tasks: Mapping[tuple[int, int], Task], backbone: Backbone | None, home: Path
) -> Result:
    """A baseline's row.

    Args:
        name: of `BASELINE_LABELS`, but zero-shot, which is a run.
        tasks: (split, seed) to the task with this split of its data.
        backbone: of a linear probe.
        home: folder of its files.
    Returns:
        A row that says why where the task has no labels.
    """
    label = BASELINE_LABELS[name]
    chosen = _CHOSEN.get(name, "C of the regression")
    tested: list[Scored] = []
    for (split, seed), task in tasks.items():
        try:
            record = _record(name, task, backbone, home / f"{name}-{split}.json")
        except UsageError as error:
            return Result(label, "baseline", name, "none", "", (), refused=str(error))
        if "dev" not in task.split_names:
            chosen = ""
        tested.append(_tested(split, seed, task, record))
    return Result(label, "baseline", name, "dev" if chosen else "none", chosen, tested)


def _record(name: str, task: Task, backbone: Backbone | None, path: Path) -> dict[str, Any]:
    data = {s: task.content_hash(s) for s in ("train", "dev", "test") if s in task.split_names}
    key = {"data": data, "backbone": backbone.identity.weights if backbone is not None else None}
    if path.is_file():
        try:
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            known = {}
        if known.get("of") == key:
            return known
    found = linear_probe(backbone, task) if backbone is not None else ON_TEXT[name](task)
    record = {
        "of": key,
        "metrics": {split: dict(values) for split, values in found.metrics.items()},
        "n": dict(found.n),
        "settings": dict(found.settings),
        "test": [str(one) for one in found.predictions.get("test", ())],
        "dev": [str(one) for one in found.predictions.get("dev", ())],
    }
    write_text(path, json.dumps(record, ensure_ascii=False) + "\n")
    return record


def _tested(split: int, seed: int, task: Task, record: Mapping[str, Any]) -> Scored:
    name = "test" if "test" in task.split_names else "dev"
    answers: dict[str, Answers] = {}
    if record[name]:
        examples = task.examples(name)
        golds = [hard(example.target) for example in examples]
        groups = [example.group for example in examples] if examples[0].group is not None else ()
        answers[name] = Answers([example.id for example in examples], golds, record[name], groups)
    return Scored(split, seed, record["metrics"], record["n"], answers)
