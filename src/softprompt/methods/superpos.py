"""SuperPos: each row is a weighted sum of m embeddings of the vocabulary.

Sadraei Javaheri et al. 2024, "SuperPos-Prompt" (arXiv 2406.05279): row_i = (E + ΔE_i) w_i, with E the
embeddings of m sampled tokens, frozen and the same for all rows, ΔE_i the row's own change of them,
zero at first, and w_i its weights. The weights are free: the paper finds a sum better than a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softprompt.errors import SettingsError
from softprompt.methods.folded import FoldedRows, Reparametrisation
from softprompt.methods.initialisation import word_rows
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks
from softprompt.methods.soft_rows import StartedRows

SPREAD = 0.1
"""How much of the other embeddings a row starts with, as a share of its own."""


class SuperPos(StartedRows):
    """Soft rows as weighted sums of m embeddings; saved as P·E.

    Learned: P·m weights, and with `tuned` P·m·E changes of the embeddings. Row i starts near the
    i-th initial row (`init`), which is one of the m; the others are frequent words.
    """

    name: ClassVar[str] = "superpos"
    title: ClassVar[str] = "SuperPos"

    mixed: int = Field(
        default=128, ge=1, le=10_000, description="embeddings m that each row is a sum of"
    )
    tuned: bool = Field(
        default=True, description="each row learns its own change of the embeddings too"
    )

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone, length = scene.backbone, scene.renderer.total_rows
        if self.mixed < length:
            raise SettingsError(
                f"superpos: mixed: {self.mixed} embeddings for {length} rows, each of which starts "
                f"from one of its own; expected at least {length}"
            )
        start = self.start(scene, generator)
        others = word_rows(scene, self.mixed - length, generator)
        noise = torch.randn(length, self.mixed, generator=generator)
        weights = torch.eye(length, self.mixed) + SPREAD * self.mixed**-0.5 * noise
        embeddings = torch.cat([start, others]) / backbone.rms
        return FoldedRows(Superposition(embeddings, weights, self.tuned), backbone)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return rows * self.mixed * (1 + width * self.tuned)

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        # Measured on softprompt/tiny-mlm: a dev loss of 1.04 after 60 steps, 1.22 at the usual 0.03.
        return {"optimiser": {"name": "adafactor", "learning_rate": 0.1}}


class Superposition(Reparametrisation):
    """Weights `[P, m]` over frozen embeddings `[m, E]` and each row's change of them `[P, m, E]`."""

    embeddings: Tensor

    def __init__(
        self, embeddings: Float[Tensor, "m E"], weights: Float[Tensor, "P m"], tuned: bool
    ):
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.register_buffer("embeddings", embeddings)
        shape = (*weights.shape, embeddings.shape[1])
        self.changes = nn.Parameter(torch.zeros(shape)) if tuned else None

    def forward(self) -> Float[Tensor, "P E"]:
        rows = self.weights @ self.embeddings
        if self.changes is None:
            return rows
        return rows + (self.weights[:, None] @ self.changes).squeeze(1)

    def units(self) -> Mapping[str, float]:
        return {"weights": self.embeddings.shape[0] ** -0.5}
