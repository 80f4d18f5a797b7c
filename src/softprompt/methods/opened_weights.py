"""What methods have in common that train weights of the backbone, or weights built into it.

The template stands without learned rows. Afterwards the backbone is bit-identical to before. What was
learned are named tensors; `wearing` puts them back on, for as long as something is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import trainable
from softprompt.errors import PromptError
from softprompt.methods.method import Learner, Method, Scene
from softprompt.prompts.addition import Addition
from softprompt.prompts.weights import Weights


class WeightTuning(Method):
    """Base of the methods that open weights: nothing is added to the text."""

    opens_weights: ClassVar[bool] = True
    learning_rate: ClassVar[float]
    """Of AdamW, absolute: these are weights of a network, not rows of its embeddings."""
    small: ClassVar[bool] = True
    """Whether what is learned is small beside the backbone, so that it is kept unless refused."""

    def n_rows(self, explicit: int | None) -> int:
        return 0

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        learner = OpenedWeights(scene.backbone)
        with torch.no_grad():
            for name, parameter in learner.parameters().items():
                start = self.start(name, parameter, generator)
                if start is not None:
                    parameter.copy_(start)
        return learner

    def start(
        self, name: str, parameter: nn.Parameter, generator: torch.Generator
    ) -> Tensor | None:
        """Where a weight that was built in starts, drawn on the CPU; None: as it stands."""
        return None

    def stored_name(self, name: str) -> str:
        """The name of a trained parameter in files."""
        return name

    def weights(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter]) -> Weights:
        kept = {self.stored_name(name): parameter for name, parameter in parameters.items()}
        return Weights(kept, self.peft_config(backbone))

    def peft_config(self, backbone: Backbone) -> Mapping[str, Any] | None:
        """`adapter_config.json` of a method that PEFT can load, on an opened backbone; None for another."""
        return None

    @contextmanager
    def wearing(self, backbone: Backbone, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the block the backbone has the learned weights on.

        Args:
            tensors: as stored, by stored name.
        Raises:
            PromptError: they are not those that this method opens on this backbone.
        """
        with self.opened(backbone):
            own = {self.stored_name(n): p for n, p in trainable(backbone).items()}
            if {n: tuple(p.shape) for n, p in own.items()} != {
                n: tuple(t.shape) for n, t in tensors.items()
            }:
                wrong = sorted(set(own) ^ set(tensors)) or ["a shape"]
                raise PromptError(
                    f"the weights of this '{self.name}' are not those that {backbone.name} has "
                    f"({wrong[0]} differs, {len(own)} expected, {len(tensors)} given); train it anew"
                )
            with torch.no_grad():
                for name, parameter in own.items():
                    parameter.copy_(tensors[name])
            yield

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        return {
            "optimiser": {
                "name": "adamw",
                "learning_rate": cls.learning_rate,
                "relative": False,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
                "schedule": "linear",
                "warmup": 0.06,
            },
            "keep_weights": cls.small,
        }


class OpenedWeights:
    """The backbone's parameters that take gradients now."""

    def __init__(self, backbone: Backbone):
        self._parameters = trainable(backbone)

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self._parameters

    def addition(self) -> Addition:
        return Addition()
