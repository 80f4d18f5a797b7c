"""How one task of a mixture is scored: written answers become its labels again, then its own metrics.

Knows texts, labels and their words; no examples or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from softprompt.data.metrics.metric import Groups, PartScore
from softprompt.data.metrics.table import score

ILLEGAL_SHARE = "illegal"


def text_score(metrics: Sequence[str], words: Mapping[str, Sequence[str]]) -> PartScore:
    """The scoring of a task whose answers are written.

    Args:
        metrics: its own, the selecting one first.
        words: label to the words that may stand for it, in the order of the labels; empty of a task
            of free text. A text that is none of them, white space aside, is an illegal output: it
            is wrong, and its share is told as `illegal`.
    """
    labels = tuple(words)

    def scored(
        predictions: Sequence[Any], golds: Sequence[Any], groups: Groups
    ) -> dict[str, float]:
        own = None if any(group is None for group in groups) else groups
        if not labels:
            return score(metrics, predictions, golds, (), own)
        found, wanted = (labels_of_texts(texts, words) for texts in (predictions, golds))
        scores = score(metrics, found, wanted, labels, own)
        return {**scores, ILLEGAL_SHARE: found.count(None) / len(found)}

    return scored


def labels_of_texts(texts: Sequence[Any], words: Mapping[str, Sequence[str]]) -> list[str | None]:
    """The label whose word a text is, white space aside; None where it is none."""
    meant = {_squeezed(word): label for label, several in words.items() for word in several}
    return [meant.get(_squeezed(text)) for text in texts]


def _squeezed(text: Any) -> str:
    return "".join(str(text).split())
