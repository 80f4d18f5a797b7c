"""What a metric is: a function of predictions and golds, and the kinds of target it is for.

All but the correlations lie in 0 to 1; higher is better. Two decisions hold for all:
- an illegal output (None) is wrong: no class for accuracy, the opposite class for a binary F1, the
  number of the golds' range farthest from the gold for a correlation;
- where a metric is not defined (all predictions alike, all golds alike) it is 0.0, so that a model
  that collapsed never wins a selection, and no warning is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from softprompt.data.columns import Kind
from softprompt.errors import UsageError

Labels = Sequence[str]
Groups = Sequence[str | None]
PartScore = Callable[[Sequence[Any], Sequence[Any], Groups], Mapping[str, float]]
"""Predictions, golds and groups of one task of a mixture to its own scores, the selecting one first."""


@dataclass(frozen=True)
class Given:
    """What a metric looks at.

    Args:
        predictions: one per row; None for an illegal output.
        golds: one target per row.
        labels: the task's, in order.
        option: what stands behind the colon of a name: "f1:yes" gives "yes".
        groups: which rows belong together, or None.
        parts: of a mixture of tasks, how each is scored, by name; see `mixed.py`.
    """

    predictions: Sequence[Any]
    golds: Sequence[Any]
    labels: Labels = ()
    option: str | None = None
    groups: Groups | None = None
    parts: Mapping[str, PartScore] = field(default_factory=dict)

    @property
    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Each prediction with its gold."""
        return zip(self.predictions, self.golds, strict=True)


@dataclass(frozen=True)
class Metric:
    """One metric: its function, the kinds of target it is for, and which way is up.

    Calling it takes predictions, golds, the labels in order, and for f1 the positive label (by
    default the last), and gives a number.

    Args:
        function: of what is given.
        kinds: of target.
        higher_is_better: which way is up.
        grouped: it needs the rows' groups.
        needs: a library that an extra installs.
        check: refuses labels and an option that it could not work with.
    """

    function: Callable[[Given], float]
    kinds: tuple[Kind, ...]
    higher_is_better: bool = True
    grouped: bool = False
    needs: str | None = None
    check: Callable[[Labels, str | None], object] | None = None

    def __call__(
        self,
        predictions: Sequence[Any],
        golds: Sequence[Any],
        labels: Labels = (),
        positive: str | None = None,
        groups: Groups | None = None,
        *,
        parts: Mapping[str, PartScore] | None = None,
    ) -> float:
        if len(predictions) != len(golds):
            raise UsageError(f"{len(predictions)} predictions for {len(golds)} golds")
        if not golds:
            raise UsageError("no rows to score")
        if any(gold is None for gold in golds):
            raise UsageError("a row without a target cannot be scored")
        if groups is not None and len(groups) != len(golds):
            raise UsageError(f"{len(groups)} groups for {len(golds)} golds")
        return float(
            self.function(Given(predictions, golds, labels, positive, groups, parts or {}))
        )
