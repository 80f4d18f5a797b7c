"""Whether learned rows can stand in a model's input, at what scale and position: measured at loading.

Knows networks that take `input_ids` or `inputs_embeds`, not tasks. A few forward passes over three
tokens; nothing is assumed of an architecture.
Dimensions: T tokens, H hidden size or vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from softprompt.errors import BackboneError

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_NARROW_TOLERANCE = 5e-2
"""Relative to the largest output. The same numbers in another order differ by far less."""


class _Vocabulary(Protocol):
    """What is needed of a tokenizer."""

    @property
    def size(self) -> int: ...

    @property
    def special(self) -> frozenset[int]: ...


@torch.no_grad()
def input_scale(network: Any, table: nn.Module, ids: Int[Tensor, "2 T"], name: str) -> float:
    """The factor between the embedding module's output and what the network takes as embeddings.

    1 almost everywhere. Pegasus scales ids, but not embeddings, inside its encoder (and both in its
    decoder); BART scales in the embedding module.

    Args:
        network: a model, or the encoder or decoder of one.
        table: its input embedding.
        ids: two rows that differ in their first token only.
        name: the model's, for messages.
    Raises:
        BackboneError: embeddings give another output than their ids, or what stands first in the
            input does not change the output at its end: no prompt could be learned.
    """
    what = f"{name}: {type(network).__name__}"
    embedded: Tensor = table(ids)
    expected = _output(network, what, input_ids=ids)
    if not bool(torch.isfinite(expected).all()):
        raise BackboneError(
            f"{what} gives NaN or infinity in {str(embedded.dtype).removeprefix('torch.')}; "
            "use precision bfloat16 or float32"
        )
    _check_reach(expected, what)
    candidates = (1.0, math.sqrt(embedded.shape[-1]))
    got = [_output(network, what, inputs_embeds=embedded * scale) for scale in candidates]
    best = _matching(got, expected, embedded.dtype)
    if best is None:
        raise BackboneError(
            f"{what} gives another output for embeddings than for the ids they belong to, so "
            "nothing can be learned in front of its input"
        )
    return candidates[best]


@torch.no_grad()
def first_position(model: Any, ids: Int[Tensor, "2 T"], padding: int | None, name: str) -> int:
    """What the first real token's position is, in a model that is told its positions.

    0 almost everywhere; padding_idx + 1 in RoBERTa and its kin, 2 in a few others. Where positions
    are relative every number is as good, and 0 is taken.

    Args:
        padding: the config's padding index.
    Raises:
        BackboneError: no numbering gives the model's own output, so rows would be misplaced.
    """
    what = f"{name}: {type(model).__name__}"
    expected = _output(model, what, input_ids=ids)
    candidates = (0, (padding or 0) + 1, 2)
    counted = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    got = [_output(model, what, input_ids=ids, position_ids=counted + n) for n in candidates]
    best = _matching(got, expected, next(model.parameters()).dtype)
    if best is None:
        raise BackboneError(
            f"{what} numbers its positions in none of the known ways (from "
            f"{', '.join(map(str, candidates))}), so a prompt would shift the text"
        )
    return candidates[best]


def _matching(got: Sequence[Tensor], expected: Tensor, dtype: torch.dtype) -> int | None:
    """Which output is the expected one: the nearest, if it is near enough."""
    off = [float((one - expected).abs().max()) for one in got]
    best = min(range(len(off)), key=off.__getitem__)
    tolerance = _TOLERANCE.get(dtype, _NARROW_TOLERANCE) * float(expected.abs().max())
    return best if off[best] <= tolerance else None


def probe_ids(tokenizer: _Vocabulary, model: Any, name: str) -> Int[Tensor, "2 3"]:
    """Two rows of three tokens from the middle of the vocabulary that differ in their first.

    Args:
        tokenizer: how many tokens there are, and which of them are no text.
        name: the model's, for messages.
    Raises:
        BackboneError: the tokenizer is empty, or has ids that the model does not embed.
    """
    ordinary = [i for i in range(tokenizer.size) if i not in tokenizer.special]
    rows = model.get_input_embeddings().weight.shape[0]
    if ordinary and max(ordinary) >= rows:
        raise BackboneError(
            f"{name}: its tokenizer has ids up to {max(ordinary)}, its model embeds {rows}; "
            "expected a tokenizer and a model that belong together"
        )
    middle = max(0, min(len(ordinary) // 2, len(ordinary) - 4))
    chosen = ordinary[middle : middle + 4]
    if len(chosen) < 4:
        raise BackboneError(
            f"{name}: its tokenizer knows {len(ordinary)} ordinary tokens, expected at least 4; a "
            "folder without tokenizer files gives an empty one"
        )
    first, second, third, other = chosen
    return torch.tensor([[first, second, third], [other, second, third]])


def _check_reach(output: Float[Tensor, "2 T H"], what: str) -> None:
    """Refuse a network in which the first position does not reach the last one."""
    if torch.equal(output[0, -1], output[1, -1]):
        raise BackboneError(
            f"{what}: what stands at the beginning of the input does not change the output at its "
            "end, so a prompt would have no effect there"
        )


def _output(network: Any, what: str, **arguments: Tensor) -> Tensor:
    """Logits or last hidden states in at least f32."""
    try:
        output = network(**arguments)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise BackboneError(
            f"{what} cannot be run on {' and '.join(arguments)}: {error}; prompts need a model that "
            "takes embeddings in place of ids"
        ) from error
    found: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return found if found.dtype == torch.float64 else found.float()
