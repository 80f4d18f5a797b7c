"""A run from settings to a folder: prompt, metrics, predictions, picture, report.

Composes the public parts; prints nothing. Interrupted at any moment, the same call goes on from the
last checkpoint and leaves what an uninterrupted run would have left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt.analysis.baselines import Baseline, majority
from softprompt.analysis.plots import Course, learning_curve
from softprompt.data.examples import Example
from softprompt.errors import UsageError
from softprompt.inference.predict import Prediction
from softprompt.recipes.prepare import Prepared, make_jobs, prepare, run_facts
from softprompt.recipes.report import write_report
from softprompt.recipes.run_folder import (
    DONE,
    METRICS,
    PLOTS,
    PREDICTIONS,
    PROMPT,
    REPORT,
    RunFolder,
    write_bytes,
    write_lines,
    write_text,
)
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.watching import Progress, Silent, Watcher
from softprompt.tuning.fit import Fit
from softprompt.tuning.run import Job, Run, fit_many, versions


@dataclass(frozen=True)
class Trained:
    """What a run leaves in memory; the folder holds the same.

    Args:
        folder: the run folder.
        prepared: settings, task, backbone.
        runs: one per seed, in the order of the settings.
        prompts: the saved prompt folders; none of a method that opens the backbone's weights.
        baseline: the majority class, for tasks with labels.
    """

    folder: Path
    prepared: Prepared
    runs: Sequence[Run]
    prompts: Sequence[Path]
    baseline: Baseline | None


def train(
    settings: RunSettings,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    prepared: Prepared | None = None,
) -> Trained:
    """Train, evaluate, save.

    Args:
        settings: with `out`, the run folder; an unfinished run there is gone on with.
        watcher: is told facts, steps and warnings.
        overwrite: begin anew where a run stands already.
        prepared: what `prepare(settings)` gave, to spare doing it again.
    Raises:
        UsageError: settings, data or backbone that do not fit; nothing was written.
        RunError: the loss is not a number, or the disk refuses; the last checkpoint is kept.
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
    folders = {seed: folder.seed(seed, several) for seed in settings.seeds}
    data = {
        s: prepared.task.content_hash(s) for s in prepared.task.split_names if s != "unlabelled"
    }
    with _released(folder):
        if folder.claim(settings.resolved(), data, overwrite):
            told.note(f"going on with the run in {folder.path}")
        runs = _run(prepared, make_jobs(prepared, folders), told)
    return _leave(folder, prepared, runs, list(folders.values()), told)


@contextmanager
def _released(folder: RunFolder) -> Iterator[None]:
    """A setting that only the method itself could refuse leaves no folder behind."""
    try:
        yield
    except UsageError:
        folder.release()
        raise


def _run(prepared: Prepared, jobs: Sequence[Job], told: Watcher) -> list[Run]:
    """All seeds in shared batches; one after the other where the backbone is opened."""
    numbers = {job.seed: number for number, job in enumerate(jobs)}
    metric = prepared.task.metrics[0]
    alarmed: set[tuple[int, str]] = set()

    def report(fit: Fit, record: Mapping[str, Any]) -> None:
        name = f"seed {fit.seed}"
        for alarm in fit.alarms if "dev" in record else ():
            if (fit.seed, alarm.kind) not in alarmed:
                alarmed.add((fit.seed, alarm.kind))
                told.warning(f"{name}, step {fit.step}: {alarm.message}")
        told.progress(
            Progress(
                fit=numbers[fit.seed],
                name=name,
                step=fit.step,
                steps=fit.settings.steps,
                examples=fit.settings.batch_size,
                metric=metric,
                record=record,
            )
        )

    if prepared.settings.method.opens_weights:
        return [fit_many(prepared.backbone, [job], report)[0] for job in jobs]
    return fit_many(prepared.backbone, jobs, report)


def _leave(
    folder: RunFolder,
    prepared: Prepared,
    runs: Sequence[Run],
    places: Sequence[Path],
    told: Watcher,
) -> Trained:
    """Write everything; `done.json` comes last, so a folder without it is not finished."""
    split = "test" if "test" in prepared.task.split_names else "dev"
    prompts: list[Path] = []
    for run, place in zip(runs, places, strict=True):
        if not prepared.settings.method.opens_weights:
            run.prompt.save(place / PROMPT, overwrite=(place / PROMPT).is_dir())
            prompts.append(place / PROMPT)
        if split in run.evaluations:
            examples = prepared.task.examples(split)
            predictions = run.evaluations[split].predictions
            rows = [prediction_row(*pair) for pair in zip(predictions, examples, strict=True)]
            write_lines(place / PREDICTIONS, [{"split": split, **row} for row in rows])
    if prepared.settings.method.opens_weights:
        told.warning(
            f"{prepared.settings.method.name} is a baseline here: scores and predictions are kept, "
            "the tuned weights are not"
        )
    courses = [
        _course(f"seed {seed}", place / METRICS, prepared.task.metrics[0], run.step)
        for seed, place, run in zip(prepared.settings.seeds, places, runs, strict=True)
    ]
    title = f"{prepared.task.name} on {Path(prepared.backbone.name).name}"
    picture = learning_curve(courses, prepared.task.metrics[0], title)
    write_bytes(folder.path / PLOTS / "training.png", picture)
    baseline = majority(prepared.task) if prepared.task.kind == "label" else None
    write_text(folder.path / REPORT, write_report(prepared, runs, baseline))
    scores = {
        f"seed {seed}": run.metrics for seed, run in zip(prepared.settings.seeds, runs, strict=True)
    }
    done = {"scores": scores, "versions": versions()}
    write_text(folder.path / DONE, json.dumps(done, indent=2, ensure_ascii=False) + "\n")
    return Trained(folder.path, prepared, runs, prompts, baseline)


def prediction_row(prediction: Prediction, example: Example | None = None) -> dict[str, Any]:
    """A prediction as one JSON object: id, label or text or value, probabilities, what was cut."""
    row: dict[str, Any] = {"id": prediction.id, "prediction": prediction.answer}
    if example is not None:
        target = example.target
        row["target"] = list(target) if isinstance(target, tuple) else target
    return row | prediction.details()


def _course(name: str, path: Path, metric: str, kept: int) -> Course:
    loss: list[tuple[int, float]] = []
    dev: list[tuple[int, float]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if isinstance(record.get("loss"), float):
                loss.append((record["step"], record["loss"]))
            if "dev" in record:
                dev.append((record["step"], record["dev"][metric]))
    return Course(name, loss, dev, kept)
