"""Prompt design: a template and its words as they are, nothing learned (zero-shot)."""

from __future__ import annotations

from typing import ClassVar

import torch

from softprompt.methods.method import Learner, Method, NothingLearned, Scene


class PromptDesign(Method):
    """The template alone; soft slots are left out."""

    name: ClassVar[str] = "prompt_design"

    def n_rows(self, explicit: int | None) -> int:
        return 0

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        return NothingLearned()
