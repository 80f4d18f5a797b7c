"""The best fits of a search predict together: their probabilities averaged (arXiv 2012.15723, section 7.2).

Left in a folder as `train` leaves one. Knows prompts and rows, not how the fits were found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from softprompt.analysis.ensembling import mean_probabilities
from softprompt.backbones.backbone import Backbone
from softprompt.data.metrics import score as score_metrics
from softprompt.data.task import Task
from softprompt.inference.predict import Prediction, predict
from softprompt.inference.predictor import applied_prompt
from softprompt.inference.wearing import worn
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.outcomes import Outcome, leave_outcome, read_outcome
from softprompt.recipes.run_folder import DONE, FIT, PROMPT, write_text
from softprompt.recipes.watching import Watcher
from softprompt.tuning.run import versions


def leave_ensemble(
    place: Path,
    members: Sequence[Path],
    backbone: Backbone,
    task: Task,
    seed: int,
    told: Watcher,
) -> Outcome:
    """Score the mean of the members on dev and on what is scored at the end; read where that stands.

    Args:
        members: folders of fits with their prompts, at least one.
        task: with its evaluation splits.
    """
    known = read_outcome(place)
    if known is not None and (place / DONE).is_file():
        return known
    splits = [name for name in task.split_names if name not in ("train", "unlabelled")]
    made: dict[str, dict[str, Sequence[Prediction]]] = {split: {} for split in splits}
    learned = 0
    for number, folder in enumerate(members, start=1):
        told.note(f"ensemble: member {number} of {len(members)}")
        prompt = Prompt.load(folder / PROMPT, backbone.identity)
        learned += int(json.loads((folder / FIT).read_text(encoding="utf-8"))["n_learned"])
        with worn(backbone, prompt):
            applied = [applied_prompt(backbone, prompt, worn=True)]
            for split in splits:
                items = [(0, row) for row in task.examples(split)]
                made[split][folder.name] = predict(backbone, applied, items)
    joint = {split: mean_probabilities(own).predictions for split, own in made.items()}
    metrics = {}
    for split, predictions in joint.items():
        rows = task.examples(split)
        given, golds = [one.answer for one in predictions], [row.target for row in rows]
        groups = [row.group for row in rows]
        parts = task.part_scores
        metrics[split] = dict(
            score_metrics(task.metrics, given, golds, task.labels, groups, parts=parts)
        )
    outcome = Outcome(
        place=place,
        seed=seed,
        metrics=metrics,
        n={split: len(own) for split, own in joint.items()},
        cut={split: sum(one.cut > 0 for one in own) for split, own in joint.items()},
        step=0,
        looks=0,
        n_learned=learned,
        alarms=[],
    )
    leave_outcome(outcome, joint, task)
    record = {"scores": {f"seed {seed}": metrics}, "versions": versions()}
    write_text(place / DONE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return outcome
