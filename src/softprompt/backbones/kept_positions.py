"""Run a model's output head at chosen positions only, whatever the architecture.

A forward pre-hook on `model.get_output_embeddings()` selects rows of the hidden states before the
head's matrix, so that no `[B, T, V]` tensor is ever made. The hook lives for one `with` block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.errors import BackboneError


@contextmanager
def keep_positions(model: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Within the block, `model(...).logits` is `[1, n, V]`: the n positions (rows[i], columns[i]).

    Args:
        model: a transformers model with an output embedding.
        rows: batch index of each position, `[n]`.
        columns: sequence index of each position, `[n]`.
    Raises:
        BackboneError: the model has no output embedding to hook.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        raise BackboneError(f"{type(model).__name__} has no output embedding, expected an LM head")

    def select(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden: Tensor = args[0]  # [B, T, H]
        return (hidden[rows, columns].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def flat_positions(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The (row, column) index vectors of the true entries of a `[B, T]` mask."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return rows, columns
