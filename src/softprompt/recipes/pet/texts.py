"""Texts that the models of an ensemble wrote: kept on disk, and what they say together.

Where answers are written there are no label scores to average, so the models vote. PET's code lets them vote
on whether the span was meant (arXiv 2009.07118, Winograd schemas); here they vote on the text, which needs no
span: a model speaks for every text that means the same as its own, one's words among the other's.
Knows texts and weights, no models.
Dimensions: M models, N examples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from softprompt.data.metrics.texts import same_meant
from softprompt.errors import RunError
from softprompt.recipes.run_folder import write_text


def voted(texts: Sequence[Sequence[str]], weights: Sequence[float]) -> list[str]:
    """For each example the text with the most weight behind it, `[N]`; the first model's on ties.

    Args:
        texts: of each model, `[M][N]`.
        weights: one for each model.
    Raises:
        ValueError: no model, or weights that are not one for each.
    """
    if not texts or len(weights) != len(texts):
        raise ValueError(f"{len(texts)} models, {len(weights)} weights")
    return [_winner(own, weights) for own in zip(*texts, strict=True)]


def _winner(texts: Sequence[str], weights: Sequence[float]) -> str:
    behind = [
        sum(
            weight
            for other, weight in zip(texts, weights, strict=True)
            if other == one or same_meant(other, one)
        )
        for one in texts
    ]
    return texts[max(range(len(texts)), key=behind.__getitem__)]


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """Write what a model wrote on a split, in one motion."""
    write_text(path, json.dumps(list(texts), ensure_ascii=False) + "\n")


def read_texts(path: Path) -> list[str]:
    """Read it.

    Raises:
        RunError: it is not as it was written.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}; begin anew with --overwrite") from None
    return [str(one) for one in found]
