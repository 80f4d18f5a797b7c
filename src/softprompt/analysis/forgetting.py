"""What a network has forgotten: its language-model loss on held text, and its label words' embeddings,
before and after a task was learned.

The interval is that of percentiles of a paired bootstrap over texts (Efron and Tibshirani 1993, chapter
13): tokens of one text are not independent of each other. Knows numbers, not models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.bootstrap import RESAMPLES
from softprompt.analysis.significance import Interval, check_level
from softprompt.errors import UsageError


@dataclass(frozen=True)
class TextLoss:
    """The loss on one text.

    Args:
        total: summed over its predicted tokens, in nats.
        tokens: how many they are, at least 1.
    """

    total: float
    tokens: int


@dataclass(frozen=True)
class Change:
    """The mean loss per token on the same tokens, before and after.

    Args:
        before, after: in nats per token.
        interval: of `after − before`.
        texts, tokens: how many were looked at.
    """

    before: float
    after: float
    interval: Interval
    texts: int
    tokens: int

    @property
    def difference(self) -> float:
        """Above 0: something was forgotten."""
        return self.after - self.before


def change(
    before: Sequence[TextLoss],
    after: Sequence[TextLoss],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Change:
    """How the loss changed, texts in the same order in both.

    Raises:
        UsageError: no texts, or not the same tokens in both.
    """
    check_level(level)
    if not before or [one.tokens for one in before] != [one.tokens for one in after]:
        raise UsageError("the losses before and after must be of the same texts, one or more")
    tokens = np.array([one.tokens for one in before], dtype=float)
    old = np.array([one.total for one in before])
    new = np.array([one.total for one in after])
    draw = np.random.default_rng(seed)
    found = np.empty(resamples)
    for number in range(resamples):
        drawn = draw.integers(len(tokens), size=len(tokens))
        found[number] = (new - old)[drawn].sum() / tokens[drawn].sum()
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Change(
        before=float(old.sum() / tokens.sum()),
        after=float(new.sum() / tokens.sum()),
        interval=Interval(low, high, level),
        texts=len(tokens),
        tokens=int(tokens.sum()),
    )


@dataclass(frozen=True)
class Drift:
    """How far the embedding of a word has moved.

    Args:
        word: as it is written; of several pieces their mean is looked at.
        cosine: between where it was and where it is; exactly 1 where no bit changed.
        length: its norm now, as a multiple of what it was.
        rank: of all words as they are now, how near this one is to where it was: 1 is the nearest.
    """

    word: str
    cosine: float
    length: float
    rank: int

    @property
    def moved(self) -> float:
        """1 − cosine."""
        return 1.0 - self.cosine


def drift(
    words: Sequence[str],
    before: Float[Tensor, "n E"],
    after: Float[Tensor, "n E"],
    table: Float[Tensor, "V E"],
) -> list[Drift]:
    """How far words have moved.

    Args:
        words: their names.
        before, after: their embeddings then and now, `[n, E]`.
        table: all embeddings as they are now, `[V, E]`.
    """
    units = _unit(table.double())
    found = []
    for word, old, new in zip(words, before.double(), after.double(), strict=True):
        same = bool(torch.equal(old, new))
        near = _unit(new[None])[0] @ _unit(old[None])[0]
        rivals = int((units @ _unit(old[None])[0] > near + 1e-9).sum())
        found.append(
            Drift(
                word=word,
                cosine=1.0 if same else float(near),
                length=1.0 if same else float(new.norm() / old.norm()),
                rank=1 + rivals,
            )
        )
    return found


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
