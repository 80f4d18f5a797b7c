"""Several prompts of one task on one backbone: their mean, the best by dev, and what they say together.

Lester et al. 2021, section 6: N prompts are N models at the cost of one backbone. All of them predict in
shared batches; the best is chosen, and votes are weighed, on dev alone. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from softprompt.analysis.calibration import Calibration, calibration
from softprompt.analysis.ensembling import (
    EnsembleTable,
    ensemble_table,
    majority_vote,
    mean_probabilities,
)
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.metrics import score
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.evaluate import gold
from softprompt.inference.predict import Prediction
from softprompt.inference.predictor import Predictor, applied_prompt
from softprompt.prompts.prompt import Prompt
from softprompt.tuning.jobs import labelled

AT_ONCE = 512
"""Examples whose predictions by all prompts are made in one call."""


@dataclass(frozen=True)
class Together:
    """What several prompts are worth.

    Args:
        table: mean, best and ensembles on the test split.
        predictions: of the ensemble, one per example: mean of probabilities, or a vote where answers
            were generated.
        calibrations: by member and ensemble, on the test split; empty where answers were generated.
        split, n, metric: what was scored.
    """

    table: EnsembleTable
    predictions: Sequence[Prediction]
    calibrations: Mapping[str, Calibration]
    split: str
    n: int
    metric: str


def member_folders(given: Iterable[Path]) -> dict[str, Path]:
    """Prompt folders by name; a run folder of several seeds stands for the prompts of its seeds.

    Raises:
        SettingsError: a folder without a prompt, or fewer than two prompts.
    """
    found: dict[str, Path] = {}
    for folder in given:
        seeds = sorted(folder.glob("seed-*/prompt/prompt.json"))
        inner = [folder / "prompt.json", folder / "prompt" / "prompt.json"]
        files = seeds or [path for path in inner if path.is_file()][:1]
        if not files:
            raise SettingsError(f"{folder}: holds no prompt, and no seed-…/prompt of a run")
        for path in files:
            name = path.parent.parent.name if seeds else folder.name
            while name in found:
                name += "'"
            found[name] = path.parent
    if len(found) < 2:
        raise SettingsError(
            f"{len(found)} prompt given, an ensemble needs at least two: train with "
            "'seeds=[0,1,2,3,4]', or name several folders"
        )
    return found


def ensemble(
    backbone: Backbone, prompts: Mapping[str, Prompt], task: Task, split: str = "test"
) -> Together:
    """Score prompts and their ensembles.

    Args:
        prompts: name to prompt, all of this task and learned on this backbone.
        task: with a dev split and the split that is scored.
        split: what is scored; not dev, which chooses.
    Raises:
        SettingsError: a task without one of the splits, or dev asked for.
        UsageError: prompts with different labels.
    """
    for name in ("dev", split):
        if name not in task.split_names:
            raise SettingsError(
                f"task '{task.name}' has no split '{name}'; the best prompt is chosen on dev, and "
                f"scored on {split}"
            )
    if split == "dev":
        raise SettingsError("--split dev: the best prompt is chosen there; score another split")
    predictor = Predictor(backbone, prompts)
    applied = applied_prompt(backbone, next(iter(prompts.values())))
    metric = task.metrics[0]

    def scored(found: Mapping[str, Sequence[Prediction]], where: str) -> dict[str, float]:
        rows = labelled(task, where)
        golds, groups = [row.target for row in rows], [row.group for row in rows]
        parts = task.part_scores

        def worth(own: Sequence[Prediction]) -> float:
            given = [p.answer for p in own]
            return score([metric], given, golds, task.labels, groups, parts=parts)[metric]

        return {name: worth(own) for name, own in found.items()}

    dev = scored(_predicted(predictor, labelled(task, "dev")), "dev")
    examples = labelled(task, split)
    members = _predicted(predictor, examples)
    golds = [gold(example.target, applied) for example in examples]
    ranked = all(one.probabilities for own in members.values() for one in own)
    joint = mean_probabilities(members) if ranked else majority_vote(members)
    calibrations: dict[str, Calibration] = {}
    if ranked and task.kind == "label":
        for name, own in {**members, "ensemble": joint.predictions}.items():
            calibrations[name] = calibration([p.probabilities for p in own], golds)
    return Together(
        table=ensemble_table(
            members,
            [example.target for example in examples],
            metric,
            dev,
            task.labels,
            [example.group for example in examples],
            task.part_scores,
        ),
        predictions=joint.predictions,
        calibrations=calibrations,
        split=split,
        n=len(examples),
        metric=metric,
    )


def _predicted(predictor: Predictor, examples: Sequence[Example]) -> dict[str, list[Prediction]]:
    """Every prompt's predictions for all examples, all prompts in shared batches."""
    names = list(predictor.prompts)
    found: dict[str, list[Prediction]] = {name: [] for name in names}
    source = iter(examples)
    while group := list(islice(source, AT_ONCE)):
        items = [(name, example) for name in names for example in group]
        answers = predictor.predict_pairs(items)
        for number, name in enumerate(names):
            found[name] += answers[number * len(group) : (number + 1) * len(group)]
    return found
