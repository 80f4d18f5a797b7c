"""Class vectors: for each label a learned vector and a bias that score the state at the answer slot.

Hambardzumyan et al. 2021, "WARP" (arXiv 2101.00121), section 3: score of class c = W[c] · h + b[c], h what
the output head would read there. Knows tensors and shapes, not models, labels or templates.
Dimensions: N prompts, C classes, Cmax those of the prompt with the most, H width of the head, n positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from softprompt.errors import PromptError
from softprompt.prompts.pairs import check_floating, stored_pair

WEIGHT, BIAS = "readout.weight", "readout.bias"
"""The names of stored class vectors."""


@dataclass(frozen=True, eq=False)
class Readout:
    """The class vectors of one prompt.

    Args:
        weight: `[C, H]`.
        bias: `[C]`.
    Raises:
        PromptError: tensors of other shapes, or that are no floating point numbers.
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        weight, bias = self.weight, self.bias
        if weight.dim() != 2 or bias.shape != weight.shape[:1]:
            raise PromptError(
                f"class vectors: expected a matrix [C, H] and a bias [C], got shapes "
                f"{list(weight.shape)} and {list(bias.shape)}"
            )
        check_floating("class vectors", weight, bias)

    @property
    def n_classes(self) -> int:
        """C."""
        return self.weight.shape[0]

    @property
    def width(self) -> int:
        """H."""
        return self.weight.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """By the names that they are stored under."""
        return {WEIGHT: self.weight, BIAS: self.bias}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Readout | None:
        """The inverse of `tensors`; None where there are none.

        Raises:
            PromptError: one of the two alone.
        """
        found = stored_pair(tensors, (WEIGHT, BIAS), "class vectors")
        return None if found is None else cls(*found)


@dataclass(frozen=True, eq=False)
class Readouts:
    """Several prompts' class vectors as one block.

    Args:
        weight: `[N, Cmax, H]`, zeros beyond each prompt's own.
        bias: `[N, Cmax]`, zeros beyond each prompt's own.
    """

    weight: Float[Tensor, "N Cmax H"]
    bias: Float[Tensor, "N Cmax"]

    def scores(
        self, states: Float[Tensor, "n H"], prompt_of: Sequence[int]
    ) -> Float[Tensor, "n Cmax"]:
        """Score each position with the vectors of its own prompt.

        Args:
            states: what the output head would read, f32 or f64.
            prompt_of: which prompt each position is of, `[n]`.
        """
        found = []
        first = 0
        for number, run in groupby(prompt_of):
            last = first + len(list(run))
            weight, bias = (t[number].to(states.dtype) for t in (self.weight, self.bias))
            found.append(functional.linear(states[first:last], weight, bias))
            first = last
        return torch.cat(found) if found else states.new_zeros(0, self.weight.shape[1])


def stack_readouts(given: Sequence[Readout | None]) -> Readouts | None:
    """Put N prompts' class vectors side by side, gradients flow back; None where no prompt has any.

    Raises:
        PromptError: vectors of several widths: they are of several backbones.
    """
    there = [one for one in given if one is not None]
    if not there:
        return None
    widths = sorted({one.width for one in there})
    if len(widths) > 1:
        raise PromptError(f"class vectors of the widths {widths}, expected prompts of one backbone")
    most = max(one.n_classes for one in there)
    none = there[0].weight.new_zeros(0, widths[0])
    weights = [none if one is None else one.weight for one in given]
    biases = [none[:, 0] if one is None else one.bias for one in given]
    return Readouts(
        torch.stack([functional.pad(w, (0, 0, 0, most - len(w))) for w in weights]),
        torch.stack([functional.pad(b, (0, most - len(b))) for b in biases]),
    )
