"""Small tasks and fits over the tiny models: what the tests of inference, methods and tuning share.

A row's label is decided by one word in it, so that the tasks can be learned.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.task import Task
from softprompt.inference.predictor import Predictor
from softprompt.methods.method import Method
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import Job, make_fit, training_settings
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import Run
from softprompt.tuning.run import fit as fit_one
from tests.tiny_models import save_checkpoint

FAMILIES = ("bert", "t5-1.1", "gpt2")
"""One tiny model of each family."""

DECISIVE = {"positive": ("good", "fine", "funny"), "negative": ("bad", "dull", "slow")}
FILLER = [
    "the",
    "a",
    "film",
    "movie",
    "plot",
    "story",
    "book",
    "scene",
    "it",
    "was",
    "is",
    "very",
    "so",
    "this",
    "that",
    "one",
    "two",
    "says",
]
WORDS = {"positive": ("great",), "negative": ("awful",)}

Backbones = Callable[..., Backbone]


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Backbones:
    """`backbones("bert", precision="float64")`: a tiny backbone, made and loaded once."""
    home = tmp_path_factory.mktemp("models")
    made: dict[tuple[str, str], Backbone] = {}

    def of(name: str, precision: str = "float32") -> Backbone:
        if not (home / name).is_dir():
            save_checkpoint(name, home / name)
        if (name, precision) not in made:
            made[name, precision] = load_backbone(home / name, precision=precision, device="cpu")
        return made[name, precision]

    return of


def rows(n: int, seed: int = 0, most: int = 6) -> list[Example]:
    """n labelled rows of 2 to `most` + 1 words, labels in turn."""
    draw = random.Random(seed)
    made = []
    for number in range(n):
        label = list(DECISIVE)[number % 2]
        words = draw.choices(FILLER, k=draw.randint(1, most))
        words.insert(draw.randint(0, len(words)), draw.choice(DECISIVE[label]))
        made.append(Example(f"{seed}-{number}", {"text": " ".join(words)}, label))
    return made


def mood(n: int = 20, dev: int = 8, test: int = 0, seed: int = 0, **changes: Any) -> Task:
    """A label task with the fields `text`; no `dev` or `test` split where 0 rows are asked for."""
    sizes = {"train": n, "dev": dev, "test": test}
    splits = {s: rows(k, seed * 3 + i) for i, (s, k) in enumerate(sizes.items()) if k}
    facts: dict[str, Any] = {
        "name": "mood",
        "fields": ("text",),
        "kind": "label",
        "labels": tuple(DECISIVE),
        "splits": {name: Split.of(examples) for name, examples in splits.items()},
        "metrics": ("accuracy",),
        "template": "{text} it was {mask}.",
        "words": WORDS,
    }
    return Task(**{**facts, **changes})


def task_of(examples: Mapping[str, Sequence[Example]], **facts: Any) -> Task:
    """A task from examples."""
    splits = {name: Split.of(given) for name, given in examples.items()}
    return Task(**{"name": "toy", "labels": (), "splits": splits, **facts})


def job(
    task: Task | None = None,
    method: Method | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    **given: Any,
) -> Job:
    """A short fit of the mood task with 3 rows of prompt, all of it settable."""
    method = method or PromptTuning(length=3)
    short = {"steps": 6, "batch_size": 4, "evaluate_every": 2, "checkpoint_every": 2}
    settings = training_settings(method, {**short, **(training or {})})
    return Job(task or mood(), method, training=settings, **given)


def fits_of(backbone: Backbone, jobs: Sequence[Job]) -> list[Fit]:
    return [make_fit(backbone, one) for one in jobs]


def gradients(backbone: Backbone, fits: Sequence[Fit]) -> list[tuple[float, Tensor]]:
    """Each fit's loss and gradient of its next step, all in shared batches; no step is taken."""
    losses = Loop(backbone, fits).backward({n: fit.draw() for n, fit in enumerate(fits)})
    found = []
    for number, fit in enumerate(fits):
        (parameter,) = fit.parameters.values()
        assert parameter.grad is not None
        found.append((losses[number]["loss"], parameter.grad.clone()))
        parameter.grad = None
    return found


def saved_as_learned(
    backbone: Backbone, method: Method, folder: Path, training: Mapping[str, Any]
) -> Run:
    """Fit the mood task, save the prompt, and check that what is read back predicts as the run did."""
    task = mood(test=6)
    run = fit_one(backbone, task, method, training=training)
    run.prompt.save(folder)
    found = Predictor(backbone, {"mood": folder}).predict(
        [("mood", example.fields) for example in task.examples("test")]
    )
    for prediction, wanted in zip(found, run.evaluations["test"].predictions, strict=True):
        assert prediction.label == wanted.label
        assert prediction.probabilities == pytest.approx(wanted.probabilities, abs=1e-6)
    return run


def learned(fit: Fit) -> Tensor:
    """A copy of all that was learned, as one vector."""
    return torch.cat([p.detach().flatten().clone() for p in fit.parameters.values()])


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
