"""LoRA (Hu et al. 2021, arXiv 2106.09685): a product of rank r beside linear layers, through PEFT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.methods.peft_layers import PeftLayers, held_sideways, library


class Lora(PeftLayers):
    """W x + (α/r) B A x; learned: r(inputs + outputs) of each layer that it stands at."""

    name: ClassVar[str] = "lora"
    title: ClassVar[str] = "LoRA"
    learning_rate: ClassVar[float] = 5e-4  # of RoBERTa-base, the paper's table 9

    rank: int = Field(default=8, ge=1, description="r, of the product")
    alpha: float = Field(default=16.0, gt=0, description="the product is scaled by alpha / rank")
    targets: str | list[str] = Field(
        default="auto",
        description="layers: auto (PEFT's choice, mostly queries and values), all linear ones, or "
        "ends of their names",
    )

    def ends(self, backbone: Backbone) -> Sequence[str] | None:
        if isinstance(self.targets, list):
            return self.targets
        if self.targets not in ("auto", "all"):
            return [self.targets]
        library(self.name)
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as CHOSEN

        known = CHOSEN.get(str(backbone.config.model_type))
        return known if self.targets == "auto" and isinstance(known, list) else None

    def config(self, backbone: Backbone) -> Any:
        layers = self.layers(backbone)
        ends = self.ends(backbone)
        return library(self.name).LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=list(layers) if ends is None else list(ends),
            fan_in_fan_out=held_sideways(layers),
        )

    def start(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """A as PEFT has it, U(±1/√inputs); B zero, so that nothing changes before the first step."""
        if "lora_A" not in name:
            return torch.zeros(parameter.shape)
        bound = 1 / math.sqrt(parameter.shape[1])
        return (2 * torch.rand(parameter.shape, generator=generator) - 1) * bound

    def n_opened(self, backbone: Backbone) -> int:
        return sum(self.rank * (i + o) for _, i, o in self.layers(backbone).values())
