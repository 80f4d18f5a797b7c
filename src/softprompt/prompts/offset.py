"""Offsets: what a prompt adds to the embeddings of the text, position by position, as a low-rank product.

Shi & Lipani 2024, "DePT" (arXiv 2309.05173), section 2.2: ΔE = A B, one row for each of the first S text
positions. Knows tensors and shapes, not models or tokens.
Dimensions: N prompts, S text positions, Smax those of the prompt with the most, r rank, E input width,
B rows, T positions of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from softprompt.errors import PromptError
from softprompt.prompts.pairs import check_floating, stored_pair

LEFT, RIGHT = "offset.left", "offset.right"
"""The names of stored factors."""


@dataclass(frozen=True, eq=False)
class Offset:
    """The offset of one prompt, as its factors.

    Args:
        left: A, `[S, r]`.
        right: B, `[r, E]`.
    Raises:
        PromptError: factors that do not fit together, or are no floating point numbers.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        left, right = self.left, self.right
        if not (left.dim() == right.dim() == 2 and left.shape[1] == right.shape[0]):
            raise PromptError(
                f"offset: expected factors [S, r] and [r, E], got shapes {list(left.shape)} and "
                f"{list(right.shape)}"
            )
        check_floating("offset", left, right)

    @property
    def n_positions(self) -> int:
        """S."""
        return self.left.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """By the names that they are stored under."""
        return {LEFT: self.left, RIGHT: self.right}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Offset | None:
        """The inverse of `tensors`; None where there are none.

        Raises:
            PromptError: one of the two alone.
        """
        found = stored_pair(tensors, (LEFT, RIGHT), "offset")
        return None if found is None else cls(*found)


def stack_offsets(given: Sequence[Offset | None]) -> Float[Tensor, "N Smax E"] | None:
    """The offsets of N prompts side by side, zeros beyond each prompt's own; None where there are none.

    Raises:
        PromptError: offsets of several widths: they are of several backbones.
    """
    there = [one for one in given if one is not None]
    if not there:
        return None
    widths = sorted({one.right.shape[1] for one in there})
    if len(widths) > 1:
        raise PromptError(f"offsets of the widths {widths}, expected prompts of one backbone")
    most = max(one.n_positions for one in there)
    none = there[0].right.new_zeros(0, widths[0])
    blocks = [none if one is None else one.left @ one.right for one in given]
    return torch.stack([functional.pad(b, (0, 0, 0, most - len(b))) for b in blocks])


def pick_offsets(
    offsets: Float[Tensor, "N Smax E"],
    prompt_index: Int[Tensor, " B"],
    text_index: Int[Tensor, "B T"],
) -> Float[Tensor, "B T E"]:
    """What is added at each position: that of its text position in the row's own prompt.

    Args:
        prompt_index: which prompt each row uses, `[B]`.
        text_index: which text position stands at each place, `[B, T]`; negative: no text, reads zeros,
            as does a text longer than the prompt's offset.
    """
    count, most, width = offsets.shape
    absent = (text_index < 0) | (text_index >= most)
    flat = prompt_index[:, None] * most + text_index.clamp(0, most - 1)
    picked = functional.embedding(flat, offsets.reshape(count * most, width))
    return picked.masked_fill(absent[..., None], 0.0)
