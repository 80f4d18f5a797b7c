"""The classes that want words: a task's labels or the two ends of a number, their training rows, and the words
that stand for them now. Knows tasks and bound templates, no models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.recipes.search.words.ranking import Gold
from softprompt.text.answers import POLES


def classes_of(task: Task) -> list[str]:
    """The classes that want words; of a number its two ends."""
    if task.kind == "label" and not task.parts:
        return list(task.labels)
    if task.kind == "number" and task.bounds is not None:
        return list(task.words or POLES)
    raise SettingsError(
        f"task '{task.name}': label words are searched for tasks with labels, or with a number between "
        "bounds; its answers are of another kind"
    )


def gold_of(task: Task, labels: Sequence[str]) -> Gold:
    """What the training rows ask for.

    Raises:
        SettingsError: a row without a target, or with a distribution; a class without rows.
    """
    rows = task.examples("train")
    if task.kind == "number":
        assert task.bounds is not None
        low, high = task.bounds
        targets = [row.target for row in rows]
        if not all(isinstance(target, int | float) for target in targets):
            raise SettingsError(f"task '{task.name}': a training row has no number")
        values = (np.array(targets, dtype=np.float64) - low) / (high - low)
        values = np.clip(values, 0.0, 1.0)
        classes = (values >= 0.5).astype(np.int64)
    else:
        values = None
        known = {label: number for number, label in enumerate(labels)}
        bad = next((row for row in rows if row.target not in known), None)
        if bad is not None:
            raise SettingsError(
                f"task '{task.name}': training row {bad.id} has no label of {', '.join(labels)}"
            )
        classes = np.array([known[str(row.target)] for row in rows], dtype=np.int64)
    counts = np.bincount(classes, minlength=len(labels))
    if not counts.all():
        raise SettingsError(
            f"task '{task.name}': no training row of '{labels[int(counts.argmin())]}', whose words would be "
            "searched for"
        )
    return Gold(classes, len(labels), values)


def own_words(current: Applied, example: Example) -> list[tuple[str, int | None]]:
    """The word that stands for each class now, and its token: of several words the first of one token, else the
    first, and None.

    Args:
        current: the run's template with its own words, the task's, or the labels themselves.
        example: in which they are tokenised.
    """
    found: dict[int, tuple[str, int | None]] = {}
    candidates = current.answers.candidates(None)
    for candidate, ids in zip(candidates, current.candidate_ids(example), strict=True):
        token = ids[0] if len(ids) == 1 else None
        known = found.setdefault(candidate.label, (candidate.words[0], token))
        if known[1] is None and token is not None:
            found[candidate.label] = (candidate.words[0], token)
    return [found[number] for number in range(len(found))]


def own_tokens(own: Sequence[tuple[str, int | None]]) -> list[int]:
    """The tokens of `own_words`.

    Raises:
        SettingsError: a class has no word of one token.
    """
    tokens = [token for _, token in own if token is not None]
    if len(tokens) < len(own):
        raise SettingsError(
            "neighbours: the run's own words have neighbours where each is one token here; give such words, "
            "or leave neighbours out"
        )
    return tokens
