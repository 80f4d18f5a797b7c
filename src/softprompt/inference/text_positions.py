"""Which position of the text stands where in a row, for prompts that add to the text's embeddings.

Text are all tokens of a row but its learned rows and its pads; of a causal model only those before the
answer, since a generated answer cannot know what it will be. Ids and tensors only.
Dimensions: Q rows, B rows of a pass, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

ANSWER = 1 << 40
"""An id from here on is an answer's, or behind it: the token and this. Rows that are planned so share
nothing in which a token is text here and an answer there."""


def mark_answers(ids: Sequence[Sequence[int]], until: Sequence[int]) -> list[tuple[int, ...]]:
    """Rows of a causal model with all tokens behind the first position that is read marked, `[Q]`.

    Args:
        until: that position of each; none: nothing is an answer.
    """
    if not until:
        return [tuple(row) for row in ids]
    return [
        tuple(n + ANSWER if n >= 0 and place > end else n for place, n in enumerate(row))
        for row, end in zip(ids, until, strict=True)
    ]


def count_text(ids: Sequence[int]) -> int:
    """How many positions of a row, or of a part of it, are text."""
    return sum(0 <= number < ANSWER for number in ids)


def text_index(
    padded: Int[Tensor, "B T"], mask: Tensor, before: Sequence[int]
) -> Int[Tensor, "B T"]:
    """The text position at each place, counted from 0; −1 where no text stands.

    Args:
        padded: ids, answers marked.
        mask: true at real positions, `[B, T]`.
        before: how much text of each row stands before this part of it; none: nothing.
    """
    text = mask & (padded >= 0) & (padded < ANSWER)
    first = torch.tensor(list(before) or [0] * len(padded), device=padded.device)
    return torch.where(text, text.long().cumsum(dim=1) - 1 + first[:, None], -1)
