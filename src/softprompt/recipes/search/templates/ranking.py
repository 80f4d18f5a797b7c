"""Which templates a backbone can be asked with, and how good each is on train before any training.

LM-BFF fine-tunes every candidate; a pass over train for each is cheap, and says which are worth it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.metrics import find_metric
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.inference.evaluate import evaluate
from softprompt.recipes.pet.pace import Pace
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import Search
from softprompt.recipes.search.candidates import Candidate, read_candidates, write_candidates
from softprompt.recipes.search.fitting import bound_candidate


def usable(
    run: RunSettings, found: Sequence[Candidate], task: Task, backbone: Backbone
) -> tuple[list[Candidate], dict[str, int]]:
    """Those that the backbone can be asked with, and why the others cannot, counted.

    Raises:
        SettingsError: none can.
    """
    fitting: list[Candidate] = []
    unfit: dict[str, int] = {}
    for one in found:
        try:
            bound_candidate(run, one, task, backbone).render(task.examples("train")[0])
            fitting.append(one)
        except UsageError as error:
            reason = f"cannot be used on the backbone ({error})"
            unfit[reason] = unfit.get(reason, 0) + 1
    if not fitting:
        raise SettingsError(
            f"none of {len(found)} templates is left for {backbone.name}: {listed_reasons(unfit)}"
        )
    return fitting, unfit


def ranked(search: Search, found: Sequence[Candidate]) -> list[Candidate]:
    """By the first metric on train without any training, then by cross-entropy, then as they came."""
    task, told = search.task, search.told
    metric, rows = task.metrics[0], task.examples("train")
    sign = -1.0 if find_metric(metric)[0].higher_is_better else 1.0
    place = search.folder.work / "zero-shot.jsonl"
    known = {one.key: one.scores for one in read_candidates(place)} if place.is_file() else {}
    pace = Pace(sum(one.key not in known for one in found))
    done: list[Candidate] = []
    best = math.inf
    for number, one in enumerate(found, start=1):
        scores = known.get(one.key)
        if scores is None:
            applied = bound_candidate(search.run, one, task, search.backbone)
            made = evaluate(
                search.backbone,
                applied,
                rows,
                task.metrics,
                task.labels,
                both_ways=False,
                parts=task.part_scores,
            ).metrics
            scores = {**one.scores, f"train {metric}": made[metric]}
            if "loss" in made:
                scores["train cross-entropy"] = made["loss"]
            pace.done(1)
        done.append(Candidate(one.template, one.words, scores))
        if sign * scores[f"train {metric}"] < best:
            best = sign * scores[f"train {metric}"]
            told.note(
                f"template {number} of {len(found)}: {one.title}  train {metric} {sign * best:.3f}, the "
                f"best so far{pace.left}"
            )
        if one.key not in known:
            write_candidates(place, done)
    return sorted(done, key=lambda one: _order(one.scores, metric, sign))


def _order(scores: Mapping[str, Any], metric: str, sign: float) -> tuple[float, float]:
    score, loss = scores[f"train {metric}"], scores.get("train cross-entropy", 0.0)
    return (math.inf if math.isnan(score) else sign * score), loss


def listed_reasons(dropped: Mapping[str, int]) -> str:
    """`2 the same template once more; 1 …`."""
    return "; ".join(f"{count} {reason}" for reason, count in dropped.items())
