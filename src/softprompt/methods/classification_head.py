"""A classification head: class vectors, and every weight of the backbone tuned with them.

The usual fine-tuning of Devlin et al. 2019 (arXiv 1810.04805, section 4.1), with the template's answer
slot as the position that is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.methods.class_vectors import (
    CLASS_PARAMETERS,
    ClassMethod,
    ClassVectors,
    WithClasses,
)
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.method import Learner, Scene
from softprompt.prompts.weights import Weights


class ClassificationHead(FullTuning, ClassMethod):
    """Class vectors and the backbone's weights; C(H + 1) parameters beside those.

    Only what lies below the class vectors learns: an output head of its own, which nothing reads, stays
    as it is.
    """

    name: ClassVar[str] = "classification_head"

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        classes = self.first_classes(scene, generator)
        return WithClasses(
            super().learner(scene, generator),
            ClassVectors(classes, scene.backbone, unit=None),
        )

    def weights(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter]) -> Weights:
        own = {n: p for n, p in parameters.items() if n not in CLASS_PARAMETERS}
        return super().weights(backbone, own)  # class vectors stand in the prompt itself
