"""Which solved examples of train a job shows in front of its questions, and whether they fit.

Knows examples and renderings, not models or methods by name.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from softprompt.data.examples import Example
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.inference.demonstrations import (
    POOL,
    FixedShots,
    NearestShots,
    Shots,
    balanced,
)
from softprompt.methods.method import Showing
from softprompt.text.answers import FreeText
from softprompt.text.parts import Demo, Start
from softprompt.text.spell import Demonstration
from softprompt.text.template import Template
from softprompt.tuning.lessons import gold_words

LOOKED_AT = 20
"""Examples that are rendered beforehand to see how many demonstrations fit."""


def with_demonstrations(template: Template) -> Template:
    """The template with a place for demonstrations: its own, or in front."""
    parts = template.parts
    if any(isinstance(part, Demo) for part in parts):
        return template
    first = 1 if parts and isinstance(parts[0], Start) else 0
    return Template.from_parts((*parts[:first], Demo(), *parts[first:]))


def show(
    showing: Showing, applied: Applied, train: Sequence[Example], seed: int
) -> tuple[Applied, str | None]:
    """The same prompt, with demonstrations out of train.

    Args:
        showing: how many, and which; all are `POOL` rows at most, drawn evenly over the labels.
        train: labelled.
        seed: of which are drawn, and their order.
    Returns:
        The prompt, and, where the limit leaves no room for all of them, how many it has on average.
    Raises:
        SettingsError: train has too few, or the limit leaves no room for a single one.
    """
    k = min(len(train), POOL) if showing.k is None else showing.k
    if len(train) < k:
        raise SettingsError(
            f"method.demonstrations: {k} of a train split of {len(train)} rows; expected at most "
            "so many, or all"
        )
    if showing.by == "similarity" and (
        applied.objective.pmi or applied.objective.calibration == "contextual"
    ):
        raise SettingsError(
            "objective: pmi and calibration ask without content behind the demonstrations that all "
            "questions share; with demonstrations_by: similarity each has its own"
        )
    shots: Shots
    if showing.by == "random":
        chosen = balanced(train, k, seed)
        shots = FixedShots(tuple(_solved(example, applied) for example in chosen))
    else:
        pool = train if len(train) <= POOL else balanced(train, POOL, seed)
        shots = NearestShots(tuple(_solved(example, applied) for example in pool), k)
    shown = replace(applied, shots=shots)
    return shown, _room(shown, k, train[:LOOKED_AT])


def _solved(example: Example, applied: Applied) -> Demonstration:
    return Demonstration(example.fields, gold_words(example, applied))


def _room(applied: Applied, k: int, examples: Sequence[Example]) -> str | None:
    fit = statistics.mean(_n_shown(applied, example) for example in examples)
    limit = applied.renderer.settings.limit
    if fit < 0.5:
        raise SettingsError(
            f"method.demonstrations: the limit of {limit} positions leaves no room for a single one "
            "beside the question; shorten the template or the texts, or use a backbone with more "
            "positions"
        )
    offered = statistics.mean(len(applied.shown(example)) for example in examples)
    if fit >= offered:  # of all the nearest an example is offered one less, itself
        return None
    return f"of {k} demonstrations {fit:.1f} fit on average into {limit} positions; the others are left out"


def _n_shown(applied: Applied, example: Example) -> int:
    if isinstance(applied.answers, FreeText):
        return applied.source(example).demonstrations
    return applied.render(example).demonstrations
