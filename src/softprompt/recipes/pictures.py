"""plots/training.png of a run, from the metrics.jsonl of its fits.

One line per seed; of a sweep one per variant, the mean over its seeds, the best ones first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from softprompt.analysis.plots import Course, Points, learning_curve
from softprompt.recipes.choice import Choice, Tried
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.prepare import Prepared
from softprompt.recipes.run_folder import METRICS, read_lines


def training_picture(prepared: Prepared, tried: Sequence[Tried], choice: Choice) -> bytes:
    """The learning curves as a PNG file."""
    metric = prepared.task.metrics[0]
    title = f"{prepared.task.name} on {Path(prepared.backbone.name).name}"
    if not prepared.settings.sweep:
        seeds = [_course(f"seed {o.seed}", [o], metric) for o in tried[choice.index].outcomes]
        return learning_curve(seeds, metric, title)
    several = " (means over seeds)" if len(prepared.settings.seeds) > 1 else ""
    courses = [
        _course(tried[place].bound.variant.name, tried[place].outcomes, metric)
        for place in choice.order
    ]
    return learning_curve(courses, metric, f"{title}: {len(tried)} variants{several}", emphasised=0)


def _course(name: str, outcomes: Sequence[Outcome], metric: str) -> Course:
    """The mean course of several fits; the kept step only of one, for each has its own."""
    loss: dict[int, list[float]] = defaultdict(list)
    dev: dict[int, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for record in read_lines(outcome.place / METRICS):
            if isinstance(record.get("loss"), float):
                loss[record["step"]].append(record["loss"])
            if isinstance(record.get("dev", {}).get(metric), float | int):
                dev[record["step"]].append(record["dev"][metric])
    kept = outcomes[0].step if len(outcomes) == 1 else None
    return Course(name, _means(loss), _means(dev), kept)


def _means(values: dict[int, list[float]]) -> Points:
    return [(step, fmean(found)) for step, found in sorted(values.items())]
