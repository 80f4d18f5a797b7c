"""What each row of a prompt does for its scores: the row is silenced and the scores are taken again.

A silenced row is replaced by the mean of the vocabulary's embeddings. It is not taken out: that would
move all text by a position, and change what is measured by that too. Other stand-ins have a meaning of
their own: the pad's embedding is often untrained, or T5's decoder start. Rows can stand in for each
other, so contributions need not add up, and several rows at once may matter where none alone does.
Knows prompts bound to a backbone and labelled examples.
Dimensions: P rows, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.metrics import PartScore
from softprompt.errors import PromptError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import evaluate
from softprompt.inference.questions import questions

AT_A_TIME = 16_384
"""Vocabulary rows averaged at once: memory, never numbers."""


@dataclass(frozen=True)
class Contribution:
    """What is lost when a row is silenced.

    Args:
        row: counted from 0; None: all rows at once.
        metric: drop of the task's first metric (positive: the row helps).
        log_p: drop of the mean log-probability of the right label, in nats; None where answers are
            generated.
        changed: how many predictions become others.
    """

    row: int | None
    metric: float
    log_p: float | None
    changed: int


@dataclass(frozen=True)
class Contributions:
    """The contribution of each row on one set of examples.

    Args:
        name: the metric's.
        value: with all rows.
        n: how many examples.
        rows: one entry for each row, in order.
        all_rows: with every row silenced.
    """

    name: str
    value: float
    n: int
    rows: tuple[Contribution, ...]
    all_rows: Contribution


def contributions(
    backbone: Backbone,
    applied: Applied,
    examples: Sequence[Example],
    metrics: Sequence[str],
    labels: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, of: None,
    parts: Mapping[str, PartScore] | None = None,
) -> Contributions:
    """Silence each row in turn.

    Args:
        applied: a prompt with rows, bound to the backbone.
        examples: labelled; they are rendered once and run P + 2 times.
        metrics: the first one counts.
        labels: the task's, for metrics that need them.
        report: told how many of how many rows are done.
        parts: how each task of a mixture is scored.
    Raises:
        PromptError: a prompt without rows.
        DataError: no examples, or one without a target.
    """
    rows = applied.addition.rows
    if rows is None:
        raise PromptError("this prompt has no rows whose contribution could be measured")
    silent = mean_embedding(backbone).to(rows)
    asked = questions([applied], [(0, example) for example in examples])

    def scored(changed: Tensor) -> tuple[float, float | None, list[str | float | None]]:
        found = evaluate(
            backbone,
            applied.with_addition(replace(applied.addition, rows=changed)),
            examples,
            metrics[:1],
            labels,
            asked=asked,
            both_ways=False,
            parts=parts,
        )
        loss = found.metrics.get("loss")
        return found.metrics[metrics[0]], loss, [p.answer for p in found.predictions]

    value, loss, answers = scored(rows)

    def without(row: int | None) -> Contribution:
        changed = rows.clone()
        changed[slice(None) if row is None else row] = silent
        its_value, its_loss, its_answers = scored(changed)
        lost = None if loss is None or its_loss is None else its_loss - loss
        moved = sum(a != b for a, b in zip(answers, its_answers, strict=True))
        return Contribution(row, value - its_value, lost, moved)

    found = []
    for row in range(len(rows)):
        found.append(without(row))
        report(row + 1, len(rows))
    return Contributions(metrics[0], value, len(examples), tuple(found), without(None))


def mean_embedding(backbone: Backbone) -> Float[Tensor, " E"]:
    """The mean of the vocabulary's embeddings as the network receives them, special tokens aside."""
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    ids = [number for number in range(size) if number not in tokenizer.special]
    total = torch.zeros(backbone.width, dtype=torch.float64)
    for start in range(0, len(ids), AT_A_TIME):
        total += backbone.rows(ids[start : start + AT_A_TIME]).double().cpu().sum(dim=0)
    return (total / len(ids)).float()
