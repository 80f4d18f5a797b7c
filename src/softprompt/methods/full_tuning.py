"""Full tuning (model tuning): every weight of the backbone, the template without learned rows.

The baseline of Lester et al. 2021, section 3.1; the top blocks alone, or one after another from the top
(gradual unfreezing, Howard and Ruder 2018; Raffel et al. 2019, section 3.5.1). Afterwards the backbone
is bit-identical to before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.fingerprint import block_of
from softprompt.backbones.opening import opened
from softprompt.errors import SettingsError
from softprompt.methods.method import Learner, Scene
from softprompt.methods.opened_weights import OpenedWeights, WeightTuning


class FullTuning(WeightTuning):
    """All weights, or those of the top blocks; nothing of a prompt's size is learned."""

    name: ClassVar[str] = "full_tuning"
    learning_rate: ClassVar[float] = 1e-4
    small: ClassVar[bool] = False

    top_layers: int | None = Field(
        default=None,
        ge=1,
        description="only so many top blocks of each stack, and what stands above them; embeddings "
        "(and a head that shares them) stay frozen; none: all weights",
    )
    unfreeze_every: int | None = Field(
        default=None,
        ge=1,
        description="the top block first, one more of each stack after so many steps; what is in no "
        "block learns throughout; none: all at once",
    )

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        heights = self._heights(backbone)
        with opened(backbone, heights.__contains__):
            yield

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        if self.unfreeze_every is None:
            return OpenedWeights(scene.backbone)
        return GraduallyOpened(scene.backbone, self._heights(scene.backbone), self.unfreeze_every)

    def n_opened(self, backbone: Backbone) -> int:
        chosen = self._heights(backbone)
        return sum(p.numel() for n, p in backbone.model.named_parameters() if n in chosen)

    def _heights(self, backbone: Backbone) -> dict[str, int]:
        """The parameters that are trained: name to 0 outside of blocks, 1 in a top block, 2 below it.

        Raises:
            SettingsError: the backbone has fewer blocks.
        """
        heights = heights_of(backbone.model)
        if self.top_layers is None:
            return heights
        most = max(heights.values())
        if self.top_layers > most:
            raise SettingsError(
                f"method.top_layers: {self.top_layers} of {backbone.name}, which has {most} "
                "blocks in a stack; expected fewer, or none for all weights"
            )
        frozen = _embeddings(backbone.model)
        return {
            name: height
            for name, height in heights.items()
            if height <= self.top_layers and (height or name not in frozen)
        }


class GraduallyOpened(OpenedWeights):
    """Weights of which those of lower blocks join in later; a pure function of the step.

    Args:
        backbone: opened.
        heights: of each parameter, as `heights_of` gives them.
        every: steps after which one more block of each stack takes gradients.
    """

    def __init__(self, backbone: Backbone, heights: Mapping[str, int], every: int):
        super().__init__(backbone)
        self._heights, self._every = heights, every

    def at(self, step: int) -> None:
        """Open what learns in the step after `step` steps."""
        for name, parameter in self.parameters().items():
            parameter.requires_grad_(self._heights[name] <= 1 + step // self._every)


def heights_of(model: nn.Module) -> dict[str, int]:
    """Every parameter by name: 0 outside of blocks, 1 in the top block of its stack, 2 below, …"""
    places = {name: block_of(name) for name, _ in model.named_parameters()}
    tops: dict[str, int] = {}
    for stack, number in filter(None, places.values()):
        tops[stack] = max(tops.get(stack, 0), number)
    return {
        name: 0 if place is None else 1 + tops[place[0]] - place[1]
        for name, place in places.items()
    }


def _embeddings(model: nn.Module) -> set[str]:
    """The parameters below the blocks: tables, and what norms them."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return {n for n, p in model.named_parameters() if id(p) in tables or "embed" in n}
