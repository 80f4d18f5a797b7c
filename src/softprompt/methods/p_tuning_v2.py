"""P-tuning v2: learned keys and values in every layer, and a linear head.

Liu et al. 2021, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales
and Tasks" (arXiv 2110.07602), section 3.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator

from softprompt.methods.class_vectors import ClassMethod, ClassVectors, WithClasses
from softprompt.methods.method import Learner, Scene
from softprompt.methods.prefix_tuning import PrefixTuning


class PTuningV2(PrefixTuning, ClassMethod):
    """Keys and values in every layer, 2·P·Σ L·K·D parameters, and C(H + 1) of class vectors.

    With `head: words` label words answer, as in prefix tuning.
    """

    name: ClassVar[str] = "p_tuning_v2"
    title: ClassVar[str] = "P-tuning v2"

    head: Literal["linear", "words"] = Field(
        default="linear", description="what answers: class vectors (linear), or label words"
    )

    @field_validator("head")
    @classmethod
    def _no_vectors_for_words(cls, value: str, info: ValidationInfo) -> str:
        if value == "words" and info.data.get("class_init") not in (None, "random"):
            raise ValueError("class_init has an effect with head: linear only; leave it out")
        return value

    @property
    def reads_classes(self) -> bool:
        return self.head == "linear"

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        inner = super().learner(scene, generator)
        if not self.reads_classes:
            return inner
        classes = self.first_classes(scene, generator)
        # The rate is one of keys and values, which have sizes of their own: here a share of the head's.
        return WithClasses(inner, ClassVectors(classes, scene.backbone, unit=1.0))
