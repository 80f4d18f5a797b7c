"""What a run should shout about: one class only, illegal outputs, a loss that does not fall.

Pure functions from what an evaluation saw to alarms; who shows them, and how often, is the loop's
matter (an alarm's `kind` tells whether it was shown before). Thresholds stand here, by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ONE_CLASS = "one_class"
ILLEGAL_LABELS = "illegal_labels"
LOSS_NOT_FINITE = "loss_not_finite"
LOSS_NOT_FALLING = "loss_not_falling"
DEMONSTRATIONS_LEFT_OUT = "demonstrations_left_out"

ONE_CLASS_SHARE = 0.99
ILLEGAL_SHARE = 0.05
LEAST_FALL = 0.01  # of the first loss
NOTHING_LEFT = 0.01  # nats; a loss that begins below this has nowhere to fall


@dataclass(frozen=True)
class Alarm:
    """`kind` for programs, `message` for people: what was seen and what to try."""

    kind: str
    message: str


def check_predictions(
    predictions: Sequence[str | None], golds: Sequence[str], labels: Sequence[str]
) -> list[Alarm]:
    """Look at one evaluation of a label task.

    Args:
        predictions: a label, an illegal output as it came, or None for an output that is unknown.
        golds: the right labels, as many.
        labels: the legal ones; empty (a task of text or numbers) means nothing to check.
    Raises:
        ValueError: predictions and golds differ in number.
    """
    pairs = list(zip(predictions, golds, strict=True))
    if not pairs or not labels:
        return []
    return [*_one_class(predictions, golds, labels), *_illegal(predictions, labels)]


def check_loss(history: Sequence[float], evaluations: int = 5) -> list[Alarm]:
    """Look at the losses of all evaluations so far, the first one at the start.

    Args:
        history: losses in nats, oldest first.
        evaluations: how many must be there before a loss that has not fallen is called so; the
            alarm then stays until one of them is 1 % below the first.
    """
    for number, loss in enumerate(history, start=1):
        if not math.isfinite(loss):
            return [
                Alarm(
                    LOSS_NOT_FINITE,
                    f"the loss of evaluation {number} is {loss}; try a lower learning rate, a "
                    "gradient limit (clip_norm: 1), or precision bf16 or f32 where it is f16",
                )
            ]
    if len(history) < max(2, evaluations) or abs(history[0]) < NOTHING_LEFT:
        return []
    first, best = history[0], min(history[1:])
    if first - best >= LEAST_FALL * abs(first):
        return []
    return [
        Alarm(
            LOSS_NOT_FALLING,
            f"the loss has not fallen in {len(history)} evaluations (first {first:.4g}, lowest "
            f"since {best:.4g}); try a higher learning rate (soft prompts need large ones, 2 to "
            "5 % of the embeddings' RMS per step), initialising from the labels, or, if the loss "
            "rises, a lower learning rate",
        )
    ]


def _one_class(
    predictions: Sequence[str | None], golds: Sequence[str], labels: Sequence[str]
) -> list[Alarm]:
    counts = Counter(prediction for prediction in predictions if prediction in labels)
    if not counts:
        return []
    label, count = counts.most_common(1)[0]
    total = len(golds)
    others_predicted, others_gold = total - count, sum(gold != label for gold in golds)
    if count < ONE_CLASS_SHARE * total:
        return []
    # Where the others are rare, 99 % can be right: ask that they are (almost) never predicted.
    # One single missed example is no pattern.
    if others_gold < 2 or others_predicted * 10 > others_gold:
        return []
    share, gold_share = count / total, (total - others_gold) / total
    return [
        Alarm(
            ONE_CLASS,
            f"'{label}' is predicted for {_percent(share)} of {total} examples, and right for "
            f"{_percent(gold_share)} of them: the model tells no classes apart. Try a higher "
            "learning rate, init from labels, or longer training, and look at how the label words "
            "are tokenised with `softprompt show --render`",
        )
    ]


def _illegal(predictions: Sequence[str | None], labels: Sequence[str]) -> list[Alarm]:
    outputs = [prediction for prediction in predictions if prediction not in labels]
    if len(outputs) < ILLEGAL_SHARE * len(predictions) or not outputs:
        return []
    texts = dict.fromkeys(output for output in outputs if output is not None)  # unique, in order
    examples = ", ".join(_shown(text) for text in list(texts)[:3])
    seen = f" (for example {examples})" if examples else ""
    return [
        Alarm(
            ILLEGAL_LABELS,
            f"{_percent(len(outputs) / len(predictions))} of {len(predictions)} outputs are "
            f"none of the labels{seen}, and count as wrong. Try answers behind a sentinel "
            "({mask} inside the template), an LM-adapted backbone, or prediction by rank instead "
            "of greedy",
        )
    ]


def _percent(share: float) -> str:
    """Whole per cents, never rounded up to 100 nor down to 0."""
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{100 * share:.2f} %"
    return f"{100 * share:.0f} %"


def _shown(text: str, limit: int = 40) -> str:
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return repr(short)
