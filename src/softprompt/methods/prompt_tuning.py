"""Prompt tuning: learned rows among the embedded text, the backbone frozen.

Lester, Al-Rfou & Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning".
"""

from __future__ import annotations

from typing import ClassVar

import torch

from softprompt.methods.method import Learner, Scene, learned_dtype
from softprompt.methods.soft_rows import DEFAULT_LENGTH, SoftRows, StartedRows

__all__ = ["DEFAULT_LENGTH", "PromptTuning", "SoftRows"]


class PromptTuning(StartedRows):
    """Soft rows, P·E parameters in f32."""

    name: ClassVar[str] = "prompt_tuning"

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        rows = self.start(scene, generator)
        return SoftRows(rows.to(scene.backbone.device, learned_dtype(scene.backbone)))
