"""ULPT: rows learned in a space of a few dimensions, brought to full width by a frozen random matrix.

Wu, Hao & Mou 2025, "Ultra-Low-Dimensional Prompt Tuning via Random Projection" (arXiv 2502.04501),
equation 3: rows = (Z R) ∘ s + b, with Z `[P, r]` learned, R `[r, E]` drawn from N(0, 1/r) and
frozen, and a learned scale s and shift b of each column.
R follows from the run's seed, so that a resumed run has the same one. The prompt is saved as plain
rows: any predictor reads it, at P·E numbers where the paper's seed, Z, s and b would do.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softprompt.errors import SettingsError
from softprompt.methods.folded import FoldedRows, Reparametrisation
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks
from softprompt.methods.soft_rows import StartedRows


class Ulpt(StartedRows):
    """Soft rows from r dimensions and a frozen random matrix; saved as P·E.

    Learned: P·r + 2·E. The initial rows are followed as far as r dimensions can: b starts at their
    mean, Z at the projection of what is left, stretched to the same RMS.
    """

    name: ClassVar[str] = "ulpt"
    title: ClassVar[str] = "ULPT"

    rank: int = Field(
        default=64, ge=1, le=10_000, description="dimensions r that rows are learned in; below E"
    )

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone = scene.backbone
        if self.rank >= backbone.width:
            raise SettingsError(
                f"ulpt: rank: {self.rank} dimensions for rows of width {backbone.width}; expected "
                "fewer, for example 2 to 64 (prompt_tuning learns all of them)"
            )
        start = self.start(scene, generator) / backbone.rms
        random = torch.randn(self.rank, backbone.width, generator=generator) / self.rank**0.5
        shift = start.mean(dim=0)
        codes = _followed(start - shift, random)
        if not codes.any():  # a single row is its own mean
            codes = torch.randn(codes.shape, generator=generator)
        return FoldedRows(Projected(codes, random, shift), backbone)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return rows * self.rank + 2 * width


class Projected(Reparametrisation):
    """Codes `[P, r]` through a frozen matrix `[r, E]`, each column scaled and shifted."""

    random: Tensor

    def __init__(
        self, codes: Float[Tensor, "P r"], random: Float[Tensor, "r E"], shift: Float[Tensor, " E"]
    ):
        super().__init__()
        self.codes = nn.Parameter(codes)
        self.scale = nn.Parameter(torch.ones_like(shift))
        self.shift = nn.Parameter(shift)
        self.register_buffer("random", random)

    def forward(self) -> Float[Tensor, "P E"]:
        return (self.codes @ self.random) * self.scale + self.shift


def _followed(rows: Float[Tensor, "P E"], random: Float[Tensor, "r E"]) -> Float[Tensor, "P r"]:
    """The codes whose products with the random matrix are nearest to the rows, at the rows' RMS."""
    wide, matrix = rows.double(), random.double()  # so that rounding does not depend on the machine
    codes = torch.linalg.solve(matrix @ matrix.T, matrix @ wide.T).T
    kept = (codes @ matrix).square().mean().sqrt()
    if kept > 0:
        codes = codes * (wide.square().mean().sqrt() / kept)
    return codes.float()
