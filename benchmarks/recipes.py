"""What the measurements are made with: settings per family, test sets, how much is seen.

The tables to retune; nothing here runs. A change makes other cells: the old ones are measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from softprompt.data.task import Task
from softprompt.text.tokens import Family


@dataclass(frozen=True)
class Recipe:
    """How a family is tuned.

    Args:
        prompt: the optimiser of prompt tuning; a relative rate is a share of the embeddings' RMS.
        full: the optimiser of full tuning; its rate is absolute.
        objective: how candidates are scored and judged.
    """

    prompt: Mapping[str, Any]
    full: Mapping[str, Any]
    objective: Mapping[str, Any] = field(default_factory=dict)


_FULL = {"name": "adamw", "relative": False, "weight_decay": 0.01, "clip_norm": 1.0}
_FULL |= {"schedule": "linear", "warmup": 0.06}

RECIPES: Mapping[Family, Recipe] = MappingProxyType(
    {
        "masked": Recipe(
            prompt={"name": "adamw", "learning_rate": 0.1, "schedule": "linear"},
            full={**_FULL, "learning_rate": 5e-4},
        ),
        "encoder_decoder": Recipe(
            prompt={"name": "adamw", "learning_rate": 0.1, "schedule": "linear"},
            full={**_FULL, "learning_rate": 5e-4},
            objective={"normalise": "labels"},
        ),
        "causal": Recipe(
            prompt={"name": "adamw", "learning_rate": 0.1, "schedule": "linear"},
            full={**_FULL, "learning_rate": 5e-4},
        ),
    }
)
"""Chosen by small trials on dev, never on test."""


@dataclass(frozen=True)
class Amount:
    """How much a fit sees, so that all methods see the same.

    Args:
        rows: learned rows of a prompt, P.
        steps, batch_size, evaluate_every: of every fit.
        train, dev, test: at most so many rows of each split, the same ones for all seeds.
        limit: positions of an example without its learned rows.
    """

    rows: int = 20
    steps: int = 80
    batch_size: int = 8
    evaluate_every: int = 40
    train: int = 640
    dev: int = 100
    test: int = 500
    limit: int = 40

    def cut(self, task: Task) -> Task:
        """The task with no more rows than these; which ones depends on nothing but the task."""
        for split, most in (("train", self.train), ("dev", self.dev), ("test", self.test)):
            if len(task.examples(split)) > most:
                task = task.subsample(split, most)
        return task

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


TESTS = (
    *("sst2", "ag_news", "eprstmt", "tnews"),
    *("softprompt/reviews-en", "softprompt/reviews-zh"),
    *("softprompt/topics-en", "softprompt/topics-zh"),
)
"""The test sets, in the order of the tables; templates and label words are the registry's."""

_TNEWS = "story culture entertainment sports finance house car edu tech military travel world"
_TNEWS += " stock agriculture game"
FIRST_LETTERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "tnews": dict(zip(_TNEWS.split(), "故文娱体财房汽教科军旅国股农电", strict=True)),
        "softprompt/topics-zh": {"sports": "体", "business": "财", "science": "科", "food": "美"},
    }
)
"""Label words for a causal model where the registry's are several tokens: their first letters. One
row then scores all labels; with whole words each label would need a row, 15 times the work."""


def words(test: str, family: Family) -> Mapping[str, str] | None:
    """Label words in place of the registry's, if any."""
    return FIRST_LETTERS.get(test) if family == "causal" else None
