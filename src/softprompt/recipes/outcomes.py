"""What came of a fit, in the fit's own folder and back: prompt, predictions, and `fit.json` last.

A folder with a `fit.json` holds a finished fit: it is read, never fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import RunError
from softprompt.inference.predict import Prediction
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.run_folder import FIT, PREDICTIONS, PROMPT, write_lines, write_text
from softprompt.tuning.run import Run


@dataclass(frozen=True)
class Outcome:
    """The scores of a fit and what else a report says of it.

    Args:
        place: its folder.
        seed: its seed.
        metrics: split to metric to value.
        n: split to number of examples.
        cut: split to how many of them lost tokens.
        step: which step was kept.
        looks: how many evaluations on dev there were.
        n_learned: how many parameters were learned.
        alarms: what looked wrong at the last evaluation.
        failure: why it stopped before its end; then there are no metrics and no prompt.
    """

    place: Path
    seed: int
    metrics: Mapping[str, Mapping[str, float]]
    n: Mapping[str, int]
    cut: Mapping[str, int]
    step: int
    looks: int
    n_learned: int
    alarms: Sequence[str]
    failure: str | None = None

    @property
    def prompt(self) -> Prompt:
        """The saved prompt.

        Raises:
            PromptError: there is none (the method opens the backbone's weights).
        """
        return Prompt.load(self.place / PROMPT)


def write_outcome(place: Path, seed: int, run: Run, task: Task, *, prompt: bool) -> Outcome:
    """Write all that a fit leaves.

    Args:
        place: its folder.
        prompt: whether there is a prompt to save.
    Raises:
        RunError: the disk refuses.
    """
    if prompt and run.failure is None:
        run.prompt.save(place / PROMPT, overwrite=(place / PROMPT).is_dir())
    outcome = Outcome(
        place=place,
        seed=seed,
        metrics={split: dict(values) for split, values in run.metrics.items()},
        n={split: evaluation.n for split, evaluation in run.evaluations.items()},
        cut={split: evaluation.cut for split, evaluation in run.evaluations.items()},
        step=run.step,
        looks=len(run.history),
        n_learned=run.n_learned,
        alarms=[alarm.message for alarm in run.alarms],
        failure=run.failure,
    )
    made = {split: evaluation.predictions for split, evaluation in run.evaluations.items()}
    return leave_outcome(outcome, made, task)


def leave_outcome(
    outcome: Outcome, predictions: Mapping[str, Sequence[Prediction]], task: Task
) -> Outcome:
    """Write `predictions.jsonl`, and `fit.json` last.

    Args:
        predictions: split to those of its examples; of dev they are written where there is no test.
    Raises:
        RunError: the disk refuses.
    """
    unseen = "test" if "test" in task.split_names else "dev"
    rows = [
        {"split": split, **prediction_row(*pair)}
        for split, made in predictions.items()
        if split == unseen or split not in ("dev", "test")
        for pair in zip(made, task.examples(split), strict=True)
    ]
    if rows:
        write_lines(outcome.place / PREDICTIONS, rows)
    record = {key: value for key, value in asdict(outcome).items() if key != "place"}
    write_text(outcome.place / FIT, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return outcome


def read_outcome(place: Path) -> Outcome | None:
    """What `write_outcome` left; None where the fit is not finished.

    Raises:
        RunError: `fit.json` is not as it was written.
    """
    path = place / FIT
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        expected = {field.name for field in fields(Outcome)} - {"place"}
        if set(record) != expected:
            raise ValueError(f"expected the keys {', '.join(sorted(expected))}")
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read: {error}; delete it to fit again") from None
    return Outcome(place=place, **record)


def prediction_row(prediction: Prediction, example: Example | None = None) -> dict[str, Any]:
    """A prediction as one JSON object: id, label or text or value, target and group, probabilities,
    what was cut."""
    row: dict[str, Any] = {"id": prediction.id, "prediction": prediction.answer}
    if example is not None:
        target = example.target
        row["target"] = list(target) if isinstance(target, tuple) else target
        if example.group is not None:
            row["group"] = example.group
    return row | prediction.details()
