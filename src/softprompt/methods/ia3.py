"""(IA)³ (Liu et al. 2022, arXiv 2205.05638): keys, values and the inner activations of the feed-forward
layers, each multiplied by a learned vector; through PEFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import linear_layers, named_layers
from softprompt.errors import SettingsError
from softprompt.methods.peft_layers import PeftLayers, held_sideways, last_parts, library

_BERT = (("key", "value", "output.dense"), ("output.dense",))
ALSO: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("xlm-roberta", "electra"), _BERT),
        "modernbert": (("Wqkv", "mlp.Wo"), ("mlp.Wo",)),  # one layer for all three, as in GPT-2
    }
)
"""Targets and feed-forward layers of model types that PEFT's own tables lack."""


class Ia3(PeftLayers):
    """Gains; learned: the outputs of each layer in `targets`, the inputs of one in `feedforward`."""

    name: ClassVar[str] = "ia3"
    title: ClassVar[str] = "(IA)³"
    learning_rate: ClassVar[float] = 3e-3  # the paper, section 3.3

    targets: list[str] | None = Field(
        default=None,
        description="ends of the names of the layers whose outputs are scaled; none: PEFT's choice",
    )
    feedforward: list[str] | None = Field(
        default=None, description="… of those whose inputs are scaled instead"
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.targets is None) != (self.feedforward is None):
            raise ValueError("targets and feedforward: give both, or none")
        return self

    def ends(self, backbone: Backbone) -> Sequence[str]:
        return [*dict.fromkeys([*self._choice(backbone)[0], *self._choice(backbone)[1]])]

    def _choice(self, backbone: Backbone) -> tuple[list[str], list[str]]:
        if self.targets is not None and self.feedforward is not None:
            return self.targets, self.feedforward
        library(self.name)
        from peft.utils import (
            TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
        )
        from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as CHOSEN

        kind = str(backbone.config.model_type)
        if kind in ALSO:
            return list(ALSO[kind][0]), list(ALSO[kind][1])
        if kind not in CHOSEN:
            raise SettingsError(
                f"method.targets: PEFT does not know where (IA)³ stands in a model of type {kind}; "
                "give targets (keys and values) and feedforward (the last layer of each "
                f"feed-forward part), of {', '.join(last_parts(linear_layers(backbone)))}"
            )
        return list(CHOSEN[kind]), list(FEEDFORWARD[kind])

    def config(self, backbone: Backbone) -> Any:
        return library(self.name).IA3Config(
            target_modules=list(self.ends(backbone)),
            feedforward_modules=self._choice(backbone)[1],
            fan_in_fan_out=held_sideways(self.layers(backbone)),
        )

    def start(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """One: nothing changes before the first step."""
        return torch.ones(parameter.shape)

    def n_opened(self, backbone: Backbone) -> int:
        layers = self.layers(backbone)
        inner = named_layers(layers, self._choice(backbone)[1])
        return sum(i if name in inner else o for name, (_, i, o) in layers.items())
