"""Prompt tuning: learned rows among the embedded text, the backbone frozen.

Lester, Al-Rfou & Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from softprompt.errors import SettingsError
from softprompt.methods.initialisation import initial_rows
from softprompt.methods.method import Learner, Method, Scene
from softprompt.prompts.addition import Addition

DEFAULT_LENGTH = 20


class PromptTuning(Method):
    """Soft rows, f32, P·E parameters."""

    name: ClassVar[str] = "prompt_tuning"

    length: int | None = Field(
        None, ge=1, le=10_000, description="rows (default 20, or what the template says)"
    )
    init: Literal[
        "labels", "vocabulary", "text", "prompt", "uniform", "uniform_paper", "uniform_code"
    ] = Field("labels", description="what rows start from (Lester et al., section 3.2)")
    init_text: str | None = Field(None, description="the words, for init: text")
    init_from: str | None = Field(
        None, description="a prompt folder or a .npy file, for init: prompt (SPoT)"
    )
    noise: float = Field(
        0.0, ge=0, description="gaussian noise on the starting rows, in units of the embeddings' RMS"
    )

    def n_rows(self, explicit: int | None) -> int:
        if explicit is not None and self.length is not None and self.length != explicit:
            raise SettingsError(
                f"two different lengths: the template says {explicit} rows, the method says "
                f"{self.length}; give one of them"
            )
        return self.length or explicit or DEFAULT_LENGTH

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        rows = initial_rows(
            self.init,
            scene,
            generator,
            text=self.init_text,
            source=self.init_from,
        )
        if self.noise:
            scale = self.noise * scene.backbone.rms
            rows = rows + scale * torch.randn(rows.shape, generator=generator)
        return SoftRows(rows.to(scene.backbone.device))


class SoftRows:
    """Rows `[P, E]` as one parameter."""

    def __init__(self, rows: torch.Tensor):
        self._rows = nn.Parameter(rows.float().clone())

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"rows": self._rows}

    def addition(self) -> Addition:
        return Addition(self._rows)
