"""A model's output head: what it reads, and its rows, for what stands in its place or starts from it.

The head is the last matrix alone: of a masked model the transform before it is the network's, and so is
the factor by which T5 with tied embeddings scales what its head reads.
Dimensions: V vocabulary, H width of what the head reads, n positions or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbones.head_rows import BESIDE_THE_HEAD, head_rows
from softprompt.backbones.kept_positions import head_states


class Head:
    """Of one loaded network.

    Args:
        model: a transformers model with an output embedding.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def width(self) -> int:
        """H: what a vector that scores a position must measure."""
        return int(self._model.get_output_embeddings().weight.shape[-1])

    @cached_property
    def rms(self) -> float:
        """Root mean square per element of its rows."""
        weight = self._model.get_output_embeddings().weight
        return float(weight.detach().float().pow(2).mean().sqrt())

    @torch.no_grad()
    def rows(self, ids: Sequence[int]) -> tuple[Float[Tensor, "n H"], Float[Tensor, " n"]]:
        """Weight and bias of some tokens, f32 on the CPU; zeros where there is no bias.

        Raises:
            BackboneError: it has no row for each token.
        """
        vocabulary = torch.tensor(list(ids), dtype=torch.long)
        found = head_rows(self._model, vocabulary.to(self._model.device))
        weight = next(tensor for name, tensor in found.items() if name.endswith("weight"))
        bias = torch.zeros(len(vocabulary))
        for name, tensor in found.items():
            if name in BESIDE_THE_HEAD or name.endswith("bias"):
                bias = bias + tensor.reshape(-1).float().cpu()
        return weight.float().cpu(), bias

    @contextmanager
    def states(self, rows: Int[Tensor, " n"], columns: Int[Tensor, " n"]) -> Iterator[list[Tensor]]:
        """Within the block, the network's next call puts what the head reads at the positions
        (rows[i], columns[i]), `[n, H]`, into the list that is given."""
        device = self._model.device
        with head_states(self._model, rows.to(device), columns.to(device)) as caught:
            yield caught
