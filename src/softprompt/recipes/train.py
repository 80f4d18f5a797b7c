"""A run from settings to a folder: prompt, metrics, predictions, picture, report.

Composes the public parts; prints nothing. Interrupted at any moment, the same call goes on from the
last checkpoint and leaves what an uninterrupted run would have left. A sweep is a run of several
variants; an ordinary run has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softprompt.analysis.baselines import Baseline, majority
from softprompt.data.metrics import find_metric
from softprompt.errors import UsageError
from softprompt.recipes.choice import Choice, Tried, choose
from softprompt.recipes.facts import run_facts
from softprompt.recipes.following import Following, FollowingSweep
from softprompt.recipes.outcomes import Outcome, read_outcome, write_outcome
from softprompt.recipes.pictures import training_picture
from softprompt.recipes.prepare import Bound, Prepared, make_jobs, prepare
from softprompt.recipes.report import selection, write_report
from softprompt.recipes.run_folder import (
    DONE,
    METRICS,
    PLOTS,
    PREDICTIONS,
    PROMPT,
    REPORT,
    RunFolder,
    write_bytes,
    write_text,
)
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.watching import Silent, Watcher
from softprompt.tuning.jobs import Job, make_fit
from softprompt.tuning.run import fit_many, versions

TOGETHER = 16
"""Fits trained together at most; further ones follow in groups. A step of so many fills the parts that a
token budget cuts it into (at 32 examples of 40 tokens each, two and a half of the default 8192), and more
of them gain no time: on a CPU a step of 1, 16 and 32 fits took 0.35, 0.38 and 0.37 s per fit. What grows
with their number stays small: learned rows, optimiser states, the checkpoint that holds them all, and the
work that an interruption between two checkpoints costs."""


@dataclass(frozen=True)
class Trained:
    """What a run leaves in memory; the folder holds the same.

    Args:
        folder: the run folder.
        prepared: settings, task, backbone.
        tried: the variants and what came of each; one of an ordinary run.
        choice: which of them is the best on dev.
        prompts: the run's prompt folders, one per seed, of a sweep the chosen variant's; none of a
            method that opens the backbone's weights and does not keep them.
        baseline: the majority class, for tasks with labels.
    """

    folder: Path
    prepared: Prepared
    tried: Sequence[Tried]
    choice: Choice
    prompts: Sequence[Path]
    baseline: Baseline | None

    @property
    def chosen(self) -> Bound:
        """The variant that was chosen; of an ordinary run the run itself."""
        return self.tried[self.choice.index].bound

    @property
    def runs(self) -> Sequence[Outcome]:
        """The chosen variant's fits, one per seed, in the order of the settings."""
        return self.tried[self.choice.index].outcomes


def train(
    settings: RunSettings,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    prepared: Prepared | None = None,
) -> Trained:
    """Train, evaluate, save; of a sweep every variant, and choose the best on dev.

    Args:
        settings: with `out`, the run folder; an unfinished run there is gone on with.
        watcher: is told facts, steps and warnings.
        overwrite: begin anew where a run stands already.
        prepared: what `prepare(settings)` gave, to spare doing it again.
    Raises:
        UsageError: settings, data or backbone that do not fit; nothing was written.
        RunError: the loss is not a number (of a sweep: in every variant), or the disk refuses; the
            last checkpoint is kept.
    """
    told = watcher or Silent()
    folder = RunFolder(Path(settings.out or "run"))
    folder.check(overwrite)
    if prepared is None:
        told.note(f"loading {settings.backbone}")
        prepared = prepare(settings)
        told.facts(run_facts(prepared))
        for warning in prepared.warnings:
            told.warning(warning)
    several = len(settings.seeds) > 1
    names = [one.variant.name for one in prepared.variants]
    places = {(n, seed): folder.fit(n, seed, several) for n in names for seed in settings.seeds}
    data = {
        s: prepared.task.content_hash(s) for s in prepared.task.split_names if s != "unlabelled"
    }
    configs = {
        one.variant.name: one.settings.resolved() for one in prepared.variants if one.variant.name
    }
    with _released(folder):
        if folder.claim(settings.resolved(), data, overwrite, configs):
            told.note(f"going on with the run in {folder.path}")
        found = _run(prepared, make_jobs(prepared, places), told)
    tried = [
        Tried(one, [found[places[one.variant.name, seed]] for seed in settings.seeds])
        for one in prepared.variants
    ]
    return _leave(folder, prepared, tried, told)


@contextmanager
def _released(folder: RunFolder) -> Iterator[None]:
    """A setting that only the method itself could refuse leaves no folder behind."""
    try:
        yield
    except UsageError:
        folder.release()
        raise


def groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs that are fitted together: in order, at most `TOGETHER`, and alone those that open the backbone."""
    found: list[list[Job]] = []
    for job in jobs:
        alone = job.method.opens_weights
        full = not found or len(found[-1]) == TOGETHER or found[-1][0].method.opens_weights
        if alone or full:
            found.append([job])
        else:
            found[-1].append(job)
    return found


def _run(prepared: Prepared, jobs: Sequence[Job], told: Watcher) -> dict[Path, Outcome]:
    """Fit all jobs, group after group; what stands in a fit's folder is not fitted again."""
    following = (FollowingSweep if prepared.settings.sweep else Following)(jobs, told)
    planned = groups(jobs)
    found = {place: read_outcome(place) for place in _places(jobs)}
    if not any(found.values()):
        _try_later_ones(prepared, planned)
    for group in planned:
        if all(found[place] for place in _places(group)):
            continue
        following.begin(group)
        runs = fit_many(prepared.backbone, group, following, keep_failures=True)
        following.end()
        for job, place, run in zip(group, _places(group), runs, strict=True):
            prompt = not job.method.opens_weights or run.prompt.weights is not None
            found[place] = write_outcome(place, job.seed, run, prepared.task, prompt=prompt)
    return {place: outcome for place, outcome in found.items() if outcome is not None}


def _places(jobs: Sequence[Job]) -> list[Path]:
    return [job.folder for job in jobs if job.folder is not None]


def _try_later_ones(prepared: Prepared, planned: Sequence[Sequence[Job]]) -> None:
    """What only a method itself refuses is found before the first group has trained for hours."""
    seen = {id(job.method) for group in planned[:1] for job in group}
    for job in (job for group in planned[1:] for job in group):
        if id(job.method) not in seen and not job.method.opens_weights:
            seen.add(id(job.method))
            make_fit(prepared.backbone, job)


def _leave(folder: RunFolder, prepared: Prepared, tried: Sequence[Tried], told: Watcher) -> Trained:
    """Write everything; `done.json` comes last, so a folder without it is not finished.

    Raises:
        RunError: no variant was carried to its end.
    """
    settings = prepared.settings
    higher = find_metric(prepared.task.metrics[0])[0].higher_is_better
    choice = choose(tried, prepared.task.metrics[0], higher)
    best = tried[choice.index]
    several = len(settings.seeds) > 1
    places = [folder.seed(seed, several) for seed in settings.seeds]
    if settings.sweep:
        for outcome, place in zip(best.outcomes, places, strict=True):
            _hand_on(outcome, place, selection(prepared, tried))
    opened = [one.bound.settings for one in tried if one.bound.settings.method.opens_weights]
    for name in dict.fromkeys(s.method.name for s in opened if not s.training.keep_weights):
        told.warning(
            f"{name}: scores and predictions are kept, the tuned weights are not; "
            "training.keep_weights=true keeps them"
        )
    write_bytes(folder.path / PLOTS / "training.png", training_picture(prepared, tried, choice))
    parts = prepared.task.parts.values() or [prepared.task]
    counted = all(part.kind == "label" for part in parts)
    baseline = majority(prepared.task) if counted else None
    write_text(folder.path / REPORT, write_report(prepared, tried, choice, baseline))
    done: dict[str, Any] = {
        "scores": {f"seed {outcome.seed}": outcome.metrics for outcome in best.outcomes}
    }
    if settings.sweep:
        done["sweep"] = _summary(prepared.task.metrics[0], tried, choice)
    done["versions"] = versions()
    write_text(folder.path / DONE, json.dumps(done, indent=2, ensure_ascii=False) + "\n")
    prompts = [place / PROMPT for place in places if (place / PROMPT).is_dir()]
    return Trained(folder.path, prepared, tried, choice, prompts, baseline)


def _hand_on(outcome: Outcome, place: Path, chosen_by: str) -> None:
    """Copy what the chosen fit left to where an ordinary run has it; its scores say how it was chosen."""
    for name in (METRICS, PREDICTIONS):
        if (outcome.place / name).is_file():
            write_bytes(place / name, (outcome.place / name).read_bytes())
    if (outcome.place / PROMPT).is_dir():
        prompt = outcome.prompt
        scores = [{**score, "selection": chosen_by} for score in prompt.scores]
        copy = replace(prompt, scores=scores)
        copy.save(place / PROMPT, overwrite=(place / PROMPT).is_dir())


def _summary(metric: str, tried: Sequence[Tried], choice: Choice) -> Mapping[str, Any]:
    """The sweep in `done.json`: the dev scores of all, the test scores of none."""
    best = tried[choice.index].bound.variant
    return {
        "chosen": best.name,
        "values": best.values,
        "tied": choice.tied,
        "settled": choice.settled,
        "dev": {one.bound.variant.name: one.values("dev", metric) for one in tried},
    }
