"""What one labelled (or unlabelled) row is, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Target = str | float | tuple[str, ...] | Mapping[str, float] | None
"""A label, a number, several gold texts, a distribution over labels, or unknown."""


@dataclass(frozen=True)
class Example:
    """One row of a task.

    Args:
        id: unique within its split.
        fields: name to text, or to a list of texts.
        target: a label, a number, several gold texts, a distribution over labels, or None.
        candidates: the example's own possible answers (COPA, ReCoRD, ChID), or None.
        group: what rows are scored together (MultiRC's question), or None.
    """

    id: str
    fields: Mapping[str, str | tuple[str, ...]]
    target: Target = None
    candidates: tuple[str, ...] | None = None
    group: str | None = None
