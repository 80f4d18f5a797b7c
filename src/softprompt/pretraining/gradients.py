"""From a batch to the gradient of its loss, with logits at the positions to be said only.

On a processor the output head runs in pieces: `[n, V]` logits that leave the cache cost more than
their products (measured: half of the head's time at 2,032 positions and 12,000 words).
Knows batches and models, not steps, optimisers or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.backbones.kept_positions import flat_positions, head_input, keep_positions
from softprompt.pretraining.layouts import Batch

PIECE = 256
"""Positions whose logits are made together."""


class Gradients:
    """Adds up the gradients of batches in a model's parameters.

    Args:
        model: what is called: the transformers model itself, or what wraps it for several processes.
        inner: the transformers model.
        device: where it lies.
        bf16: whether matrix products are in bfloat16.
    """

    def __init__(self, model: nn.Module, inner: nn.Module, device: torch.device, bf16: bool):
        self.model, self.inner, self.device, self.bf16 = model, inner, device, bf16
        self._by_pieces: bool | None = None

    def loss(self, batch: Batch) -> Tensor:
        """Summed cross-entropy at the positions to be said."""
        rows, columns, gold = self._places(batch)
        with keep_positions(self.inner, rows, columns), self._products():
            logits = self.model(**self._inputs(batch)).logits[0]
        return nn.functional.cross_entropy(logits.float(), gold, reduction="sum")

    def add(self, batch: Batch, scale: float) -> Tensor:
        """Add the gradient of the summed loss times `scale`; that loss, detached."""
        if not self._in_pieces(batch):
            summed = self.loss(batch) * scale
            summed.backward()  # type: ignore[no-untyped-call]
            return summed.detach()
        hidden, gold = self._head_input(batch)
        read = hidden.detach().requires_grad_()
        loss = torch.zeros((), device=self.device)
        for first in range(0, len(gold), PIECE):
            piece = slice(first, first + PIECE)
            summed = self._head_loss(read[piece], gold[piece]) * scale
            summed.backward()  # type: ignore[no-untyped-call]
            loss += summed.detach()
        if read.grad is not None:  # a tiny part may hide nothing
            hidden.backward(read.grad)  # type: ignore[no-untyped-call]
        return loss

    def _head_loss(self, read: Tensor, gold: Tensor) -> Tensor:
        with self._products():
            logits = self.inner.get_output_embeddings()(read)  # type: ignore[operator]
        return nn.functional.cross_entropy(logits.float(), gold, reduction="sum")

    def _head_input(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the output head reads at the positions to be said, `[n, H]`, and the right tokens."""
        rows, columns, gold = self._places(batch)
        with head_input(self.inner, rows, columns) as caught, self._products():
            self.model(**self._inputs(batch))
        return caught[0], gold

    def _in_pieces(self, batch: Batch) -> bool:
        """Whether the head runs apart: nothing wraps the model, and the head is all that makes the
        logits (some models scale or cap them after it)."""
        if self._by_pieces is None:
            row = int(batch.predict.sum(axis=1).argmax())  # one that says something
            one = batch.part(slice(row, row + 1))
            self._by_pieces = self.model is self.inner and self._head_is_all(one)
        return self._by_pieces

    @torch.no_grad()
    def _head_is_all(self, batch: Batch) -> bool:
        with self._same_dropout():
            whole = self.loss(batch)
        with self._same_dropout():
            apart = self._head_loss(*self._head_input(batch))
        return bool(torch.isclose(whole, apart, rtol=1e-3))

    @contextmanager
    def _same_dropout(self) -> Iterator[None]:
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            yield

    def _products(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: self._tensor(array) for name, array in batch.inputs.items()}

    def _places(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and right token of each position to be said, `[n]` each."""
        rows, columns = flat_positions(self._tensor(batch.predict))
        return rows, columns, self._tensor(batch.gold)[rows, columns]

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).contiguous().to(self.device, non_blocking=True)
