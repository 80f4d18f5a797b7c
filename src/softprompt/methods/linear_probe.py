"""Linear probe: class vectors on the frozen backbone, the template without learned rows.

They read the state at the template's answer slot (Alain & Bengio 2016, arXiv 1610.01644, probe what a
layer knows so). `analysis/probe.py` fits a logistic regression on the mean of all states instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from softprompt.methods.class_vectors import ClassMethod, ClassVectors, WithClasses
from softprompt.methods.method import NO_STACKS, Learner, NothingLearned, Scene, Stacks


class LinearProbe(ClassMethod):
    """Class vectors alone, C(H + 1) parameters in f32; soft slots are left out."""

    name: ClassVar[str] = "linear_probe"

    class_init: Literal["words", "zero", "random"] = Field(
        default="zero", description=ClassMethod.model_fields["class_init"].description
    )

    def n_rows(self, explicit: int | None) -> int:
        return 0

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone, classes = scene.backbone, self.first_classes(scene, generator)
        return WithClasses(NothingLearned(), ClassVectors(classes, backbone, unit=backbone.rms))

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return 0

    def n_stored(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return 0

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        return {"optimiser": {"name": "adamw"}}
