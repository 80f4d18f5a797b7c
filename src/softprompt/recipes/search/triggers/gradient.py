"""What a swap of one trigger token would change, to first order (Shin et al. 2020, section 2.2).

The loss changes by about g · (e_new − e_old) where the row of embedding e_old has the gradient g; so the
best tokens are those of the largest −g · e. Pure functions of tensors and an embedding table.
Dimensions: n tokens, E input width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

AT_A_TIME = 16_384
"""Embedding rows looked at together: memory, never numbers."""

Embed = Callable[[Tensor], Tensor]
"""Token ids to embeddings as the network receives them, `[n]` to `[n, E]`."""


def first_order(gradient: Float[Tensor, " E"], rows: Float[Tensor, "n E"]) -> Float[Tensor, " n"]:
    """−gradient · row of each: how much each token lowers the loss, up to what all have in common."""
    return -(rows.to(gradient.dtype) @ gradient)


@torch.no_grad()
def best_replacements(
    gradient: Float[Tensor, " E"], embed: Embed, ids: Int[Tensor, " n"], k: int
) -> tuple[list[int], list[float]]:
    """The k tokens of the largest `first_order`, best first; of equals the lower id.

    Args:
        gradient: of the loss by the row at the position.
        embed: of the backbone.
        ids: tokens to choose from, ascending.
        k: how many; all where there are fewer.
    Returns:
        Their ids, and their scores.
    """
    device = gradient.device
    values, chosen = torch.empty(0, device=device), torch.empty(0, dtype=torch.long, device=device)
    for part in ids.to(device).split(AT_A_TIME):
        scores = torch.cat([values, first_order(gradient, embed(part)).to(values.dtype)])
        together = torch.cat([chosen, part])
        order = scores.sort(descending=True, stable=True).indices[:k]
        values, chosen = scores[order], together[order]
    return chosen.tolist(), values.tolist()
