"""What a network receives; padding, masks and positions: pure functions of lists and tensors.

Knows nothing of models. Dimensions: B rows, S positions, E input-embedding width, L layers, P learned
positions, K heads of keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Stack = Literal["self", "encoder", "decoder", "cross"]
"""Which attentions: `self` of a model of one stack; the other three of an encoder-decoder."""


@dataclass(frozen=True, eq=False)
class Attended:
    """What the rows of a batch attend to beside their own positions: learned keys and values.

    Args:
        layers: by stack, keys and values of each layer, `[B, L, 2, P, K, D]`.
        there: by stack, true at real ones, `[B, P]`; rows of several prompts have several lengths.
    """

    layers: Mapping[Stack, Float[Tensor, "B L 2 P K D"]]
    there: Mapping[Stack, Bool[Tensor, "B P"]]

    @classmethod
    def picked(
        cls,
        layers: Mapping[Stack, Float[Tensor, "N L 2 P K D"]],
        lengths: Mapping[Stack, Int[Tensor, " N"]],
        which: Sequence[int],
    ) -> Attended:
        """Those of N prompts, for rows that each read one of them.

        Args:
            layers: by stack, what stands beyond a prompt's own length does not matter.
            lengths: how many positions each prompt has.
            which: the prompt of each row, `[B]`.
        """
        chosen = {stack: pick_rows(tensor, which) for stack, tensor in layers.items()}
        there = {
            stack: torch.arange(tensor.shape[3], device=tensor.device)
            < pick_rows(lengths[stack], which)[:, None]
            for stack, tensor in layers.items()
        }
        return cls(chosen, there)

    def rows(self, index: Int[Tensor, " n"]) -> Attended:
        """Those of some rows, `n` of them."""
        return Attended(
            {stack: tensor[index] for stack, tensor in self.layers.items()},
            {stack: tensor[index] for stack, tensor in self.there.items()},
        )


@dataclass(frozen=True)
class Inputs:
    """One batch as a network receives it.

    Args:
        embeddings: `[B, S, E]`; what stands at pads does not matter.
        mask: true at real positions, `[B, S]`.
        segments: segment ids `[B, S]`, or None.
        attended: learned keys and values beside them, or None.
    """

    embeddings: Float[Tensor, "B S E"]
    mask: Bool[Tensor, "B S"]
    segments: Int[Tensor, "B S"] | None = None
    attended: Attended | None = None

    def rows(self, index: Int[Tensor, " n"]) -> Inputs:
        """Some of the rows, `n` of them."""
        kinds = None if self.segments is None else self.segments[index]
        beside = None if self.attended is None else self.attended.rows(index)
        return Inputs(self.embeddings[index], self.mask[index], kinds, beside)

    def to(self, precision: torch.dtype) -> Inputs:
        """The same, embeddings in a network's own precision."""
        return replace(self, embeddings=self.embeddings.to(precision))

    @property
    def shift(self) -> Int[Tensor, " B"] | int:
        """By how many positions learned keys move a causal model's own: as many as there are of them,
        as behind a cache (so PEFT counts as well)."""
        if self.attended is None or "self" not in self.attended.there:
            return 0
        return self.attended.there["self"].sum(dim=1)


def pad_ids(
    rows: Sequence[Sequence[int]], fill: int = 0
) -> tuple[Int[Tensor, "B S"], Bool[Tensor, "B S"]]:
    """Pad on the right to the longest row: ids `[B, S]` and the mask of real positions `[B, S]`."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), fill, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(list(row), dtype=torch.long)
        mask[number, : len(row)] = True
    return ids, mask


def pads_first(inputs: Inputs) -> Inputs:
    """The same rows with all pads on the left, as a generator needs them; order is kept."""
    order = inputs.mask.long().argsort(dim=1, stable=True)  # [B, S]: pads, then real positions
    wide = order[..., None].expand_as(inputs.embeddings)
    kinds = None if inputs.segments is None else inputs.segments.gather(1, order)
    return replace(
        inputs,
        embeddings=inputs.embeddings.gather(1, wide),
        mask=inputs.mask.gather(1, order),
        segments=kinds,
    )


def pick_rows(tensor: Tensor, index: Sequence[int]) -> Tensor:
    """Rows by number: of `[N, …]`, `[n, …]`.

    A run of equal numbers is one expanded view: its gradient is a plain sum, in a fixed order.
    """
    if list(index) == list(range(len(tensor))):
        return tensor
    runs = [(number, len(list(run))) for number, run in groupby(index)]
    parts = [tensor[n : n + 1].expand(count, *tensor.shape[1:]) for n, count in runs]
    if not parts:
        return tensor[:0]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def positions_from_mask(mask: Bool[Tensor, "B S"], first: int) -> Int[Tensor, "B S"]:
    """Positions that count real tokens from `first`, whatever the padding side, `[B, S]`.

    With `first` = 0 this is `cumsum − 1` (GPT-like); with `first` = padding_idx + 1 it is
    RoBERTa's rule, `cumsum·mask + padding_idx`. Pads get `first`, or for RoBERTa the padding
    index, which no real token looks at.
    """
    counted = mask.long().cumsum(dim=-1) * mask.long()
    return (counted + (first - 1)).clamp(min=max(0, first - 1))
