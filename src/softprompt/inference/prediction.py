"""What a prompt says of one example. Data only; `predict.py` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What a prompt says of one example.

    Args:
        id: the example's.
        label: the predicted label or own candidate; None for an illegal or free answer.
        probabilities: label to probability; empty where an answer was generated.
        text: what was generated, if anything was.
        value: the number, for a task between two poles.
        cut: tokens of the example that did not fit.
        free: whether any text is a legal answer.
    """

    id: str
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    value: float | None = None
    cut: int = 0
    free: bool = False

    @property
    def answer(self) -> str | float | None:
        """What a metric compares with the gold: value, label or free text; None: illegal."""
        if self.value is not None:
            return self.value
        return self.text if self.free else self.label

    def details(self) -> dict[str, Any]:
        """What else there is to say, as JSON values: probabilities, text, what was cut."""
        row: dict[str, Any] = {}
        if self.probabilities:
            row["probabilities"] = {k: round(p, 6) for k, p in self.probabilities.items()}
        if self.text is not None and self.text != self.answer:
            row["text"] = self.text
        if self.cut:
            row["cut"] = self.cut
        return row
