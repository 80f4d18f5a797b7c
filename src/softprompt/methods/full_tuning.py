"""Full tuning (model tuning): every weight of the backbone, the template without learned rows.

The baseline of Lester et al. 2021, section 3.1. Afterwards the backbone is bit-identical to before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import opened
from softprompt.methods.method import Learner, Method, Scene
from softprompt.prompts.addition import Addition


class FullTuning(Method):
    """All weights; nothing of a prompt's size is learned."""

    name: ClassVar[str] = "full_tuning"
    opens_weights: ClassVar[bool] = True

    def n_rows(self, explicit: int | None) -> int:
        return 0

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        with opened(backbone):
            yield

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        return OpenedWeights(scene.backbone)

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        return {
            "optimiser": {
                "name": "adamw",
                "learning_rate": 1e-4,
                "relative": False,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
                "schedule": "linear",
                "warmup": 0.06,
            }
        }


class OpenedWeights:
    """The backbone's own parameters that take gradients now."""

    def __init__(self, backbone: Backbone):
        self._parameters = {n: p for n, p in backbone.model.named_parameters() if p.requires_grad}

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self._parameters

    def addition(self) -> Addition:
        return Addition()
