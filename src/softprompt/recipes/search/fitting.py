"""Candidates fitted one after another, each an ordinary run on the one loaded backbone, and ranked on dev.

By the task's first metric; of equals by dev cross-entropy, then by the order in which they were given. Test
rows are seen by the best alone, when it is known. Interrupted at any moment, the same call goes on; a
candidate is known by what it asks, so its file may be edited in between.
Knows candidates, not how they were found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.metrics import find_metric
from softprompt.data.task import Task
from softprompt.errors import RunError, SettingsError, UsageError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import evaluate
from softprompt.inference.predictor import applied_prompt
from softprompt.inference.wearing import worn
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.choice import Choice, Outcomes, choose
from softprompt.recipes.outcomes import Outcome, read_outcome
from softprompt.recipes.pet.pace import Pace
from softprompt.recipes.prepare import prepare, run_answers
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import DONE, FIT, PROMPT, RunFolder, remove, write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import seen_task
from softprompt.recipes.search.candidates import Candidate, titles
from softprompt.recipes.train import train
from softprompt.recipes.watching import Part, Watcher
from softprompt.settings import read_yaml, to_yaml
from softprompt.tuning.jobs import Job, bind, job_template

TESTED = "test.json"


@dataclass(frozen=True)
class Fitted(Outcomes):
    """A candidate and what came of its fits.

    Args:
        candidate: what was fitted.
        place: its folder.
        outcomes: one per seed of the run.
    """

    candidate: Candidate
    place: Path
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Ranking:
    """Fitted candidates, the best one first.

    Args:
        fits: those that failed last.
        metric: of dev, by which they are ranked.
        choice: how many were tied at the top, and what told them apart.
        test: metrics of the best one on test, means over the seeds; empty where there is no test.
    """

    fits: Sequence[Fitted]
    metric: str
    choice: Choice
    test: Mapping[str, float]

    @property
    def best(self) -> Fitted:
        return self.fits[0]


def candidate_run(run: RunSettings, candidate: Candidate, out: Path) -> RunSettings:
    """A candidate as `softprompt train` would run it.

    Raises:
        SettingsError: words that are not words.
    """
    values = asking(run, candidate)
    values["out"] = str(out)
    values.pop("test_on", None)
    values["training"] = {**values["training"], "keep_weights": True}  # until it is not the best
    return RunSettings.read(values, "candidate")


def asking(run: RunSettings, candidate: Candidate) -> dict[str, Any]:
    """The keys of a run with a candidate's template and words in place of its own."""
    values = run.resolved()
    if candidate.template is not None:
        values["template"] = candidate.template
    if candidate.words is not None:
        values["words"] = dict(candidate.words)
    return values


def bound_candidate(
    run: RunSettings, candidate: Candidate, task: Task, backbone: Backbone
) -> Applied:
    """A candidate on the backbone with nothing learned: for zero-shot scores, and to see that it fits.

    Raises:
        UsageError: it does not fit the task or the family.
    """
    own = RunSettings.read(asking(run, candidate), "candidate")
    template = job_template(Job(task, own.method, template=own.template), backbone.family)
    answers = run_answers(own, task, template.slot_names)
    return bind(backbone, task, template, answers, own.objective, render=own.render.resolved())


def fit_candidates(
    run: RunSettings,
    candidates: Sequence[Candidate],
    home: Path,
    backbone: Backbone,
    data: RunData,
    told: Watcher,
    *,
    keep: int = 1,
) -> Ranking:
    """Fit each candidate under the run's method and settings, rank them, test the best.

    Tuned weights of all but the best so far, `keep` of them, are dropped.

    Args:
        candidates: in the order that settles what nothing else does; at least one.
        home: where the fits' folders are, numbered as they come.
        data: what `run_task` gave for the run.
        keep: how many of the best keep their weights, at least one.
    Raises:
        UsageError: a candidate that does not fit the task or the backbone; nothing was fitted.
        RunError: every fit failed, or the disk refuses.
    """
    task = seen_task(data.task)
    metric = task.metrics[0]
    higher = find_metric(metric)[0].higher_is_better
    for number, one in enumerate(candidates, start=1):
        try:
            bound_candidate(run, one, task, backbone)
        except UsageError as error:
            raise SettingsError(f"candidate {number} ({one.title}): {error}") from None
    places = _places(home, run, candidates)
    runs = [candidate_run(run, one, place) for one, place in zip(candidates, places, strict=True)]
    found: dict[int, Fitted] = {}
    for number, (one, place, own) in enumerate(zip(candidates, places, runs, strict=True)):
        outcomes = _outcomes(own, place)
        if outcomes:
            found[number] = Fitted(one, place, outcomes)
    pace, named = Pace(len(candidates) - len(found)), titles(candidates)
    for number, (one, place, own) in enumerate(zip(candidates, places, runs, strict=True)):
        if number not in found:
            title = f"fit {number + 1} of {len(candidates)}"
            told.note(f"{title}: {named[number]}{_best_so_far(found, metric, higher)}{pace.left}")
            outcomes = _fit(own, place, backbone, replace(data, task=task), Part(told, title))
            found[number] = Fitted(one, place, outcomes)
            pace.done(1)
            _keep_best(found, metric, higher, run, keep)
    _keep_best(found, metric, higher, run, keep)  # an interruption may have come before it
    ranked = [found[number] for number in range(len(candidates))]
    choice = choose(ranked, metric, higher)
    for number in choice.order[:keep]:
        fitted = ranked[number]
        if fitted.failure is None and not _whole(
            fitted, run
        ):  # others were better when it was dropped
            told.note(f"fitting one of the best once more: {fitted.candidate.title}")
            _remove(fitted.place, [FIT, DONE], len(run.seeds) > 1)
            title = f"fit {number + 1} again"
            _fit(runs[number], fitted.place, backbone, replace(data, task=task), Part(told, title))
            _remove(fitted.place, ["checkpoints"], several=True)
    best = ranked[choice.index]
    test = _tested(best, data.task, backbone)
    return Ranking([ranked[place] for place in choice.order], metric, choice, test)


def write_best(path: Path, run: RunSettings, candidate: Candidate, said: str = "") -> None:
    """The run with a candidate's template and words, for `softprompt train`.

    Args:
        said: how it was chosen, a comment in the file.
    Raises:
        RunError: the disk refuses.
    """
    values = asking(run, candidate)
    del values["out"]
    comment = "".join(f"# {line}\n" for line in said.splitlines())
    write_text(path, comment + to_yaml(values))


# --- folders ----------------------------------------------------------------------------------


def _places(home: Path, run: RunSettings, candidates: Sequence[Candidate]) -> list[Path]:
    """The folder of each candidate: where it was begun before, or the next free number."""
    known: dict[str, Path] = {}
    for path in sorted(home.glob(f"*/{CONFIG}")):
        config = read_yaml(path)
        known[Candidate(config.get("template"), config.get("words")).key] = path.parent
    numbered = [path for path in home.glob("*") if path.name.isdecimal()]
    for path in numbered:  # of a fit that was killed while it wrote its first file
        remove(*path.glob(f".{CONFIG}.*.partial"))
    taken = [int(path.name) for path in numbered if any(path.iterdir())]
    following = max(taken, default=0) + 1
    found = []
    for one in candidates:
        values = asking(run, one)
        key = Candidate(values["template"], values["words"]).key
        if key not in known:
            known[key] = home / f"{following:03}"
            following += 1
        found.append(known[key])
    return found


def _outcomes(own: RunSettings, place: Path) -> list[Outcome]:
    """What came of a candidate's fits; none while one of them is not finished."""
    several = len(own.seeds) > 1
    read = [read_outcome(RunFolder(place).seed(seed, several)) for seed in own.seeds]
    there = [outcome for outcome in read if outcome is not None]
    ended = RunFolder(place).finished or any(outcome.failure for outcome in there)
    return there if ended and len(there) == len(read) else []


def _fit(
    own: RunSettings, place: Path, backbone: Backbone, data: RunData, told: Watcher
) -> list[Outcome]:
    prepared = prepare(own, backbone, data)
    try:
        train(own, told, prepared=prepared)
    except RunError:
        if not _outcomes(own, place):
            raise  # not a loss that is no number, which is an outcome like others
    return _outcomes(own, place)


def _remove(place: Path, names: Sequence[str], several: bool) -> None:
    homes = [place, *place.glob("seed-*")] if several else [place]
    remove(*(home / name for home in homes for name in names))


# --- the best ---------------------------------------------------------------------------------


def _best_so_far(found: Mapping[int, Fitted], metric: str, higher: bool) -> str:
    sound = [one for one in found.values() if one.failure is None]
    if not sound:
        return ""
    best = sound[choose(sound, metric, higher).index]
    return (
        f"; best so far: dev {metric} {fmean(best.values('dev', metric)):.3f} in {best.place.name}"
    )


def _keep_best(
    found: Mapping[int, Fitted], metric: str, higher: bool, run: RunSettings, keep: int
) -> None:
    """Drop what only training needed, and all tuned weights but those of the best so far."""
    order = sorted(found)
    if all(found[number].failure for number in order):
        return
    ranked = choose([found[number] for number in order], metric, higher).order
    best = {order[place] for place in ranked[:keep]}
    for number in order:
        names = ["checkpoints"]
        if number not in best and run.method.opens_weights:
            names.append(PROMPT)
        _remove(found[number].place, names, several=True)


def _prompts(one: Fitted) -> list[Path]:
    return [outcome.place / PROMPT for outcome in one.outcomes]


def _whole(one: Fitted, run: RunSettings) -> bool:
    return all(path.is_dir() for path in _prompts(one))


def _tested(best: Fitted, task: Task, backbone: Backbone) -> dict[str, float]:
    """The best one's metrics on test, means over the seeds; kept in its folder."""
    if "test" not in task.split_names:
        return {}
    path = best.place / TESTED
    if path.is_file():
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return known
    rows = task.examples("test")
    each: list[Mapping[str, float]] = []
    for folder in _prompts(best):
        prompt = Prompt.load(folder, backbone.identity)
        with worn(backbone, prompt):
            applied = applied_prompt(backbone, prompt, worn=True)
            each.append(
                evaluate(
                    backbone, applied, rows, task.metrics, task.labels, parts=task.part_scores
                ).metrics
            )
    found = {name: fmean(one[name] for one in each) for name in each[0]}
    write_text(path, json.dumps(found, indent=2) + "\n")
    return found
