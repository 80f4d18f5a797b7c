"""Residual prompt tuning: each row, and beside it what a bottleneck MLP makes of it.

Razdaibiedina et al. 2023 (arXiv 2305.03937), section 3: row + LayerNorm(W_up ReLU(W_down row)), one
MLP for all rows or one for each. The MLP is thrown away afterwards.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from softprompt.methods.folded import FoldedRows, Reparametrisation, drawn
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks
from softprompt.methods.soft_rows import StartedRows

BOTTLENECK = 400

GAIN = 0.1
"""Where the norm's gain starts, in units of the embeddings' RMS. The paper has 1 on T5, whose
embeddings have an RMS of about 10: elsewhere 1 would drown the words that rows start from."""


class ResidualPromptTuning(StartedRows):
    """Soft rows with a residual MLP; saved as P·E.

    Learned with a bottleneck m and P rows of width E: P·E + G(2·E·m + m + 3·E), where G is 1 for a
    shared MLP and P for separate ones.
    """

    name: ClassVar[str] = "residual"

    bottleneck: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="the MLP's inner width (default 400, or the embeddings' width if that is less)",
    )
    separate: bool = Field(default=False, description="an MLP for each row, not one for all")

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone = scene.backbone
        start = self.start(scene, generator) / backbone.rms
        length, width = start.shape
        groups = length if self.separate else 1
        inner = self._bottleneck(width)
        network = drawn(lambda: Residual(length, width, inner, groups), generator)
        with torch.no_grad():
            network.rows.copy_(start)
            network.gain.fill_(GAIN)
            for vector in (network.down_bias, network.up_bias, network.shift):
                vector.zero_()
        return FoldedRows(network, backbone)

    def _bottleneck(self, width: int) -> int:
        return self.bottleneck or min(BOTTLENECK, width)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        inner = self._bottleneck(width)
        each = 2 * width * inner + inner + 3 * width
        return rows * width + (rows if self.separate else 1) * each


class Residual(Reparametrisation):
    """Rows `[P, E]` and G MLPs, one for all rows (G = 1) or one each (G = P)."""

    def __init__(self, length: int, width: int, inner: int, groups: int):
        super().__init__()
        self.rows = nn.Parameter(torch.empty(length, width))
        self.down_weight = nn.Parameter(torch.empty(groups, inner, width))
        self.down_bias = nn.Parameter(torch.empty(groups, inner))
        self.up_weight = nn.Parameter(torch.empty(groups, width, inner))
        self.up_bias = nn.Parameter(torch.empty(groups, width))
        self.gain = nn.Parameter(torch.empty(groups, width))
        self.shift = nn.Parameter(torch.empty(groups, width))

    def forward(self) -> Float[Tensor, "P E"]:
        inner = functional.relu(_each(self.down_weight, self.rows) + self.down_bias)
        outer = _each(self.up_weight, inner) + self.up_bias
        normal = functional.layer_norm(outer, outer.shape[-1:])
        return self.rows + normal * self.gain + self.shift


def _each(matrices: Float[Tensor, "G O I"], rows: Float[Tensor, "P I"]) -> Float[Tensor, "P O"]:
    """Each row times its own matrix, or times the only one."""
    if len(matrices) == 1:
        return rows @ matrices[0].T
    return (matrices @ rows[..., None]).squeeze(-1)
