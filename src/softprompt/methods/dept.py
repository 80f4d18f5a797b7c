"""DePT, decomposed prompt tuning: a short prompt, and a low-rank offset to the text's embeddings.

Shi & Lipani 2024, "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning" (arXiv
2309.05173), section 2.2: the numbers of a long prompt are spent on fewer rows and on A B, which is added
to the frozen embeddings of the first s text positions, with a learning rate of its own. The offset
starts at zero: A is zero, B random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks, learned_dtype
from softprompt.methods.soft_rows import StartedRows
from softprompt.prompts.addition import Addition
from softprompt.prompts.offset import Offset


class Dept(StartedRows):
    """Soft rows and an offset of the text's embeddings, P·E + r(s + E) parameters in f32.

    Text are all tokens but the learned rows; of a causal model those before the answer, of an
    encoder-decoder the encoder's. What lies behind the first s of them is left as it is.
    """

    name: ClassVar[str] = "dept"
    title: ClassVar[str] = "DePT"

    rank: int = Field(default=16, ge=1, le=10_000, description="rank r of the offset")
    positions: int = Field(
        default=256, ge=1, le=100_000, description="text positions s that are moved"
    )
    offset_rate: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="learning rate of the offset, as a share of the rows'",
    )

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        rows = self.start(scene, generator)
        right = torch.randn(self.rank, scene.backbone.width, generator=generator)
        return Decomposed(rows, torch.zeros(self.positions, self.rank), right, self, scene.backbone)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return rows * width + self.rank * (self.positions + width)

    def n_stored(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return self.n_learned(rows, width)


class Decomposed:
    """Rows `[P, E]` and an offset's factors `[s, r]` and `[r, E]` as three parameters.

    What the optimiser moves is a factor divided by its scale: a step by a share of the embeddings' RMS
    moves B by that share of itself times `offset_rate`, and A so that the offset moves by about as much.
    """

    def __init__(
        self,
        rows: torch.Tensor,
        left: torch.Tensor,
        right: torch.Tensor,
        method: Dept,
        backbone: Backbone,
    ):
        device, dtype = backbone.device, learned_dtype(backbone)
        self._left_scale = method.offset_rate / (method.rank * backbone.rms)
        self._right_scale = method.offset_rate
        self._rows = nn.Parameter(rows.to(device, dtype, copy=True))
        self._left = nn.Parameter(left.to(device, dtype) / self._left_scale)
        self._right = nn.Parameter(right.to(device, dtype) * backbone.rms / self._right_scale)

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"rows": self._rows, "offset.left": self._left, "offset.right": self._right}

    def addition(self) -> Addition:
        left, right = self._left * self._left_scale, self._right * self._right_scale
        return Addition(self._rows, offset=Offset(left, right))
