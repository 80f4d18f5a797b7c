"""What a prompt costs: parameters learned, stored, and their share of the backbone.

Knows numbers of rows and widths, and a method's interface; not methods by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from softprompt.methods.method import NO_STACKS, Method, Stacks
from softprompt.prompts.prompt import Prompt

BYTES = 4
"""Learned parameters are kept in f32."""


@dataclass(frozen=True)
class Account:
    """Parameters, counted.

    Args:
        learned: how many the training moves.
        stored: how many a task keeps for itself.
        backbone: how many the frozen model has.
    """

    learned: int
    stored: int
    backbone: int

    @property
    def total(self) -> int:
        """What runs: the backbone, and what is stored beside it."""
        return self.backbone + self.stored

    @property
    def share(self) -> float:
        """Learned parameters as a part of the backbone's, 0 to 1 (Lester et al. 2021, table 4)."""
        return self.learned / self.backbone if self.backbone else 0.0

    @property
    def n_bytes(self) -> int:
        """What is stored for the task, in bytes."""
        return BYTES * self.stored

    def __str__(self) -> str:
        return f"{self.learned:,} of {self.backbone:,} ({percent(self.share)})"


def soft_rows(length: int, width: int) -> int:
    """P·E: the parameters of P learned rows of width E."""
    return length * width


def planned(
    method: Method,
    length: int,
    width: int,
    backbone: int,
    stacks: Stacks = NO_STACKS,
    opened: int = 0,
    readout: int = 0,
) -> Account:
    """What a fit is going to learn, and what its prompt will hold, before it begins.

    Args:
        method: gives its own formulas.
        length: rows that the template places, P.
        width: E.
        backbone: parameters of the backbone.
        stacks: its attentions, for a method that learns keys and values.
        opened: weights of the backbone, or built into it, that are trained (`method.n_opened`).
        readout: numbers of its class vectors (`method.n_readout`).
    """
    return Account(
        learned=method.n_learned(length, width, stacks) + opened + readout,
        stored=method.n_stored(length, width, stacks) + opened + readout,
        backbone=backbone,
    )


def of_prompt(prompt: Prompt, backbone: int) -> Account:
    """What a prompt holds, counted on its tensors; what was learned and folded is no more there."""
    return Account(learned=prompt.n_parameters, stored=prompt.n_parameters, backbone=backbone)


def percent(share: float) -> str:
    """A share in per cent with two significant digits: 0.066 %, 1.2 %, 100 %."""
    value = 100 * share
    if value >= 10:
        return f"{value:.0f} %"
    return f"{value:.2g} %"


def n_bytes(count: int) -> str:
    """A number of bytes as people read it: 51 KB, 1.2 MB."""
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
