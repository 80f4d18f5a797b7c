"""Run a model's output head at chosen positions only, whatever the architecture.

A forward pre-hook on `model.get_output_embeddings()` selects rows of the hidden states before the
head's matrix, so that no `[B, T, V]` tensor is ever made. The hook lives for one `with` block.
Three uses: the model's own head at these positions, what the head would have read there instead of it, or
both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def select(hidden: Tensor) -> Tensor:
        return hidden[rows, columns].unsqueeze(0)

    with _before_head(model, select):
        yield


@contextmanager
def head_input(model: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[list[Tensor]]:
    """Within the block, `model(...)` puts what its head would read at the n positions, `[n, H]`, into
    the list that is given, and its logits hold no position.

    Who applies the head in pieces then has never more than a piece of `[n, V]` at a time.

    Args and raises as `keep_positions`.
    """
    caught: list[Tensor] = []

    def catch(hidden: Tensor) -> Tensor:
        caught.append(hidden[rows, columns])
        return hidden[:, :0]

    with _before_head(model, catch):
        yield caught


@contextmanager
def head_states(model: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[list[Tensor]]:
    """Within the block, `model(...)` puts what its head reads at the n positions, `[n, H]`, into the list
    that is given; its logits stay as they are.

    Around `keep_positions`, not within it: hooks run in the order in which they were set.

    Args and raises as `keep_positions`.
    """
    caught: list[Tensor] = []

    def listen(hidden: Tensor) -> Tensor:
        caught.append(hidden[rows, columns])
        return hidden

    with _before_head(model, listen):
        yield caught


@contextmanager
def _before_head(model: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        raise BackboneError(f"{type(model).__name__} has no output embedding, expected an LM head")

    def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])  # args[0]: hidden states, [B, T, H]

    handle = head.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def flat_positions(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The (row, column) index vectors of the true entries of a `[B, T]` mask."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return rows, columns
