"""WARP: learned rows around and among the text, and class vectors that read the answer slot.

Hambardzumyan, Khachatrian & May 2021, "WARP: Word-level Adversarial ReProgramming" (arXiv 2101.00121).
Where rows stand the template says, `{soft:8}{text}{soft:8} {mask}{soft:4}`; of a masked model the
vectors score the mask after the head's transform, before its matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from softprompt.errors import SettingsError
from softprompt.methods.class_vectors import ClassMethod, ClassVectors, WithClasses
from softprompt.methods.initialisation import with_template_words
from softprompt.methods.method import Learner, Scene, learned_dtype
from softprompt.methods.soft_rows import SoftRows, StartedRows


class Warp(StartedRows, ClassMethod):
    """Soft rows and class vectors, P·E + C(H + 1) parameters in f32.

    Beside the usual starts, rows may start as the mask token's embedding (`init: mask`, the paper's) or
    at random (`init: normal`), as large as the vocabulary's.
    """

    name: ClassVar[str] = "warp"
    title: ClassVar[str] = "WARP"
    own_starts: ClassVar[Mapping[str, tuple[str, str] | None]] = MappingProxyType(
        {"mask": None, "normal": None}
    )

    class_init: Literal["words", "zero", "random"] = Field(
        default="words", description=ClassMethod.model_fields["class_init"].description
    )

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone = scene.backbone
        rows = self.start(scene, generator)
        classes = self.first_classes(scene, generator)
        return WithClasses(
            SoftRows(rows.to(backbone.device, learned_dtype(backbone))),
            ClassVectors(classes, backbone, unit=backbone.rms),
        )

    def start(self, scene: Scene, generator: torch.Generator) -> Float[Tensor, "P E"]:
        if self.init not in self.own_starts:
            return super().start(scene, generator)
        backbone, length = scene.backbone, scene.renderer.total_rows
        if self.init == "normal":
            rows = backbone.rms * torch.randn(length, backbone.width, generator=generator)
        else:
            mask = backbone.tokenizer.mask
            if mask is None:
                raise SettingsError(
                    f"method.init: mask, but {backbone.name} has no mask token; use labels or normal"
                )
            rows = backbone.rows([mask]).cpu().repeat(length, 1)
        return self.noisy(with_template_words(rows, scene), scene, generator)

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        return {"optimiser": {"name": "adamw", "schedule": "linear", "warmup": 0.06}}
