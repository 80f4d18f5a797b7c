"""MPT for one task: shared rows, times a matrix of low rank that is the task's own.

Wang et al. 2023, "Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning" (arXiv
2303.02861), section 3.1: rows = shared ∘ (u vᵀ). This is the paper's second stage, adaptation to one
target task, where both factors are learned. Left out is its first stage, the distillation of one
shared prompt from the prompts of several source tasks on those tasks' data: the shared rows start
instead from one source prompt (`init: prompt`), from the mean of several (`init: sources`), or from
words. The paper's two learning rates (0.3 and 0.4) are one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from softprompt.errors import SettingsError
from softprompt.methods.folded import FoldedRows, Reparametrisation
from softprompt.methods.initialisation import alike_rows, with_template_words
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks
from softprompt.methods.soft_rows import StartedRows


class Mpt(StartedRows):
    """Shared rows times a low-rank matrix (multitask prompt tuning, one task); saved as P·E.

    Learned: P·E + r(P + E), with r = 1 in the paper.
    """

    name: ClassVar[str] = "mpt"
    title: ClassVar[str] = "MPT"
    own_starts: ClassVar[Mapping[str, tuple[str, str] | None]] = MappingProxyType(
        {"sources": ("sources", "a list of prompts")}
    )

    rank: int = Field(default=1, ge=1, le=10_000, description="rank r of the task's own matrix")
    sources: tuple[str, ...] = Field(
        default=(),
        description="prompt folders or .npy files whose mean rows start from, for init: sources",
    )

    @field_validator("sources")
    @classmethod
    def _sources_belong_to_init(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        cls.needed_by_init(value, info)
        return value

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone, length = scene.backbone, scene.renderer.total_rows
        most = min(length, backbone.width)
        if self.rank > most:
            raise SettingsError(
                f"mpt: rank: {self.rank} is more than a matrix of {length} rows and "
                f"{backbone.width} columns can have; give at most {most}"
            )
        start = self.start(scene, generator) / backbone.rms
        rows = torch.ones(length, self.rank)
        columns = torch.zeros(self.rank, backbone.width)
        # The product starts at 1 everywhere: the rows are the shared ones. Where a column starts
        # at zero its partner must not, or neither would ever move.
        columns[0] = 1.0
        rows[:, 1:].normal_(generator=generator)
        return FoldedRows(Factored(start, rows, columns), backbone)

    def start(self, scene: Scene, generator: torch.Generator) -> Float[Tensor, "P E"]:
        if self.init != "sources":
            return super().start(scene, generator)
        found = alike_rows(self.sources, scene.backbone, "sources")
        mean = torch.stack(found).mean(dim=0)
        if len(mean) != scene.renderer.total_rows:
            raise SettingsError(
                f"sources: {len(mean)} rows, expected {scene.renderer.total_rows}; set the length "
                "to that of the sources"
            )
        return self.noisy(with_template_words(mean, scene), scene, generator)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return rows * width + self.rank * (rows + width)


class Factored(Reparametrisation):
    """Shared rows `[P, E]`, element by element times u `[P, r]` v `[r, E]`."""

    def __init__(
        self,
        shared: Float[Tensor, "P E"],
        rows: Float[Tensor, "P r"],
        columns: Float[Tensor, "r E"],
    ):
        super().__init__()
        self.shared = nn.Parameter(shared)
        self.rows = nn.Parameter(rows)
        self.columns = nn.Parameter(columns)

    def forward(self) -> Float[Tensor, "P E"]:
        return self.shared * (self.rows @ self.columns)
