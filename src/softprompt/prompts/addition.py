"""What a prompt adds to a backbone's input, and how a batch reads it row by row.

Knows tensors and shapes, not models, tokens or templates: everything here is a pure function.
Dimensions: N prompts, P rows, Pmax rows of the longest, E input width, B examples, T positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from softprompt.errors import PromptError


@dataclass(frozen=True, eq=False)
class Addition:
    """What is added to the input of a frozen backbone.

    Args:
        rows: learned rows `[P, E]`, or None for a prompt that adds none.
    Raises:
        PromptError: rows that are no floating point matrix.
    """

    rows: Tensor | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and not (self.rows.dim() == 2 and self.rows.is_floating_point()):
            raise PromptError(
                f"prompt rows: expected a floating point matrix [P, E], "
                f"got {self.rows.dtype} of shape {list(self.rows.shape)}"
            )

    @property
    def n_rows(self) -> int:
        """P, the number of soft rows; 0 without any."""
        return 0 if self.rows is None else self.rows.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name: the form in which it is stored and counted."""
        return {} if self.rows is None else {"rows": self.rows}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Addition:
        """The inverse of `tensors`.

        Raises:
            PromptError: a name that no addition has.
        """
        unknown = sorted(set(tensors) - {"rows"})
        if unknown:
            raise PromptError(
                f"unknown tensors in a prompt: {', '.join(unknown)}; known: rows. "
                "A newer softprompt may have written it: upgrade softprompt"
            )
        return cls(**tensors)

    def snapshot(self) -> Addition:
        """A copy that further training does not touch: detached, float32, on the CPU."""
        copies = {
            name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, tensor in self.tensors().items()
        }
        return self.from_tensors(copies)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Several additions as one block.

    Args:
        rows: `[N, Pmax, E]`, zeros beyond each prompt's own length; `[N, 0, 0]` if none has rows.
        lengths: rows of each prompt, `[N]`, int64.
    """

    rows: Float[Tensor, "N Pmax E"]
    lengths: Int[Tensor, " N"]


def stack(additions: Sequence[Addition]) -> Stacked:
    """Put N additions side by side; gradients flow back into each one's own rows.

    Raises:
        PromptError: no addition, or rows of different widths, dtypes or devices.
    """
    if not additions:
        raise PromptError("no prompt to stack, expected at least one")
    given = [addition.rows for addition in additions if addition.rows is not None]
    lengths = [addition.n_rows for addition in additions]
    if not given:
        return Stacked(torch.zeros(len(additions), 0, 0), torch.tensor(lengths))
    first = given[0]
    for rows in given[1:]:
        if (rows.shape[1], rows.dtype, rows.device) != (first.shape[1], first.dtype, first.device):
            raise PromptError(
                "prompts of one batch must agree: expected rows of "
                f"width {first.shape[1]}, {first.dtype} on {first.device}, "
                f"got width {rows.shape[1]}, {rows.dtype} on {rows.device}"
            )
    empty = first.new_zeros(0, first.shape[1])
    blocks = [empty if addition.rows is None else addition.rows for addition in additions]
    return Stacked(
        pad_sequence(blocks, batch_first=True), torch.tensor(lengths, device=first.device)
    )


def pick(
    stacked: Stacked, prompt_index: Int[Tensor, " B"], row_index: Int[Tensor, "B T"]
) -> Float[Tensor, "B T E"]:
    """Read one row per position: example b takes row `row_index[b, t]` of its own prompt.

    Args:
        stacked: N prompts.
        prompt_index: which prompt each example uses, `[B]`, integers from 0 to N−1.
        row_index: which row stands at each position, `[B, T]`; negative: none, reads zeros.
    Returns:
        `[B, T, E]`. The same row may stand at several positions; their gradients add up.
    Raises:
        PromptError: a row beyond its prompt's length. Checked on the CPU only: elsewhere the
            check would wait for the device's queue, and such a row reads zeros.
    """
    n_prompts, longest, width = stacked.rows.shape
    lengths = stacked.lengths[prompt_index][:, None]  # [B, 1]
    if row_index.device.type == "cpu" and bool((row_index >= lengths).any()):
        raise PromptError(
            f"row {int(row_index.max())} of a prompt was asked for, "
            f"the prompts of this batch have {stacked.lengths.tolist()} rows, counted from 0"
        )
    if longest == 0:
        return stacked.rows.new_zeros(*row_index.shape, width)
    absent = (row_index < 0) | (row_index >= lengths)
    flat = prompt_index[:, None] * longest + row_index.clamp(0, longest - 1)  # [B, T]
    rows = functional.embedding(flat, stacked.rows.reshape(n_prompts * longest, width))
    return rows.masked_fill(absent[..., None], 0.0)
