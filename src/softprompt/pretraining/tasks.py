"""Labelled tasks as text-to-text examples, to be mixed into pretraining.

Each task is told apart by its name in front, its fields follow by name in alphabetical order, the
label is said as it is written (Raffel et al. 2019, section 2.4 and appendix D).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softprompt.data.corruption import Pair
from softprompt.data.examples import Example
from softprompt.data.registry import load_task
from softprompt.errors import DataError
from softprompt.pretraining.settings import TasksSettings


def task_pairs(
    settings: TasksSettings, tokenizer: Any, length: int
) -> list[tuple[float, Sequence[Pair]]]:
    """The training rows of each task with its weight.

    Args:
        settings: names and weights.
        tokenizer: of transformers.
        length: most tokens of an input; what is beyond is cut off.
    Raises:
        DataError: a task whose targets are no text.
    """
    found: list[tuple[float, Sequence[Pair]]] = []
    for name, weight in settings.rates.items():
        if not weight:
            continue
        task = load_task(name, folder=None if settings.folder is None else Path(settings.folder))
        pairs = [
            Pair(
                _ids(tokenizer, text_of(name, example))[:length],
                _ids(tokenizer, said(name, example)),
            )
            for example in task.examples("train")
        ]
        found.append((weight, pairs))
    return found


def text_of(name: str, example: Example) -> str:
    """The input of an example, as `sst2 sentence: …`."""
    fields = [
        f"{field}: {value if isinstance(value, str) else ' '.join(value)}"
        for field, value in sorted(example.fields.items())
    ]
    return " ".join([name.rpartition("/")[2], *fields])


def said(name: str, example: Example) -> str:
    """What is to be said of an example."""
    if not isinstance(example.target, str):
        raise DataError(
            f"{name}: the target of {example.id} is {example.target!r}, expected a label or a text"
        )
    return example.target


def _ids(tokenizer: Any, text: str) -> Any:
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return np.asarray(ids, dtype=np.int64)
