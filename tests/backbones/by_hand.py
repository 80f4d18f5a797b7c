"""Sequences built by hand, id by id, and their logits: what the tests compare the renderer's path with.

Dimensions: n positions read, V vocabulary, E input width, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from softprompt.backbones.arguments import Encoded
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pads_first
from softprompt.inference.assemble import embed_rows
from softprompt.prompts.addition import Addition, Stacked, stack

Ids = tuple[int, ...]


def text_ids(backbone: Backbone, text: str, *, continues: bool = False) -> Ids:
    """Ids of a text without special tokens."""
    return backbone.tokenizer.encode(text, continues=continues).ids


def framed(backbone: Backbone, *parts: Sequence[int]) -> Ids:
    """Start token, the parts, end token (causal models: no end)."""
    tokenizer = backbone.tokenizer
    end = () if backbone.family == "causal" else tokenizer.end
    return (*tokenizer.start, *(i for part in parts for i in part), *end)


def learned(count: int, first: int = 0) -> Ids:
    """Ids that stand for learned rows `first` … `first + count − 1`."""
    return tuple(-1 - row for row in range(first, first + count))


def one_prompt(rows: Tensor) -> Stacked:
    return stack([Addition(rows)])


def embedded(
    backbone: Backbone,
    sequences: Sequence[Ids],
    *,
    prompt: Stacked | None = None,
    segments: Sequence[Ids] | None = None,
    side: Literal["left", "right"] = "right",
    decoder: bool = False,
) -> Inputs:
    """Sequences as one batch, all with the same prompt."""
    inputs = embed_rows(
        backbone, prompt, sequences, [0] * len(sequences), segments, decoder=decoder
    )
    return pads_first(inputs) if side == "left" else inputs


def everywhere(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Rows and columns of all real positions, row by row."""
    rows, columns = torch.nonzero(inputs.mask, as_tuple=True)
    return rows, columns


@torch.no_grad()
def all_logits(backbone: Backbone, inputs: Inputs, encoded: Encoded | None = None) -> list[Tensor]:
    """Logits `[length, V]` of each row at all its real positions."""
    rows, columns = everywhere(inputs)
    flat = backbone.logits(inputs, rows, columns, encoded)
    return list(flat.split(inputs.mask.sum(dim=1).tolist()))


@torch.no_grad()
def all_hidden(backbone: Backbone, inputs: Inputs, encoded: Encoded | None = None) -> list[Tensor]:
    """Hidden states `[length, H]` of each row at all its real positions."""
    rows, columns = everywhere(inputs)
    flat = backbone.hidden(inputs, rows, columns, encoded)
    return list(flat.split(inputs.mask.sum(dim=1).tolist()))


@torch.no_grad()
def encoded_by(backbone: Backbone, inputs: Inputs) -> Encoded:
    return backbone.encode(inputs)


def same(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal to `tolerance` of the largest value (f32 keeps 7 digits, sums of some 50 terms lose one).

    Raises:
        AssertionError: says how far apart they are.
    """
    assert got.shape == expected.shape
    scale = max(1.0, float(expected.abs().max()))
    off = float((got - expected).abs().max()) if got.numel() else 0.0
    assert off <= tolerance * scale, f"{off:.3g} apart where values reach {scale:.3g}"
