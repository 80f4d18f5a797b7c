"""Wayward prompts: learned rows that stay nearest to the words of any sentence one likes.

Khashabi et al. 2022, "Prompt Waywardness" (arXiv 2112.08348): such prompts do nearly as well as free
ones, so the words nearest to a row do not tell what it does. The paper adds γ·distance to the loss; here
it is a constraint instead, which needs no weight γ and holds exactly: each row may leave its word by an
angle smaller than half the angle to the word's own nearest neighbour, so no other word can be nearer.
Dimensions: P rows, E width, V words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.methods.method import Learner, Scene, learned_dtype
from softprompt.methods.soft_rows import RowsMethod
from softprompt.prompts.addition import Addition

AT_A_TIME = 16_384
"""Vocabulary rows compared at once: memory, never numbers."""


class Wayward(RowsMethod):
    """Rows bound to the words of a sentence, P·E parameters; the sentence is repeated to fill P rows."""

    name: ClassVar[str] = "wayward"

    sentence: str = Field(min_length=1, description="the words that rows stay nearest to")
    reach: float = Field(
        default=0.98,
        gt=0,
        lt=1,
        description="share of the angle within which a row's nearest word cannot change",
    )

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone = scene.backbone
        ids = sentence_ids(backbone, scene.renderer.text_ids(self.sentence), self.sentence)
        used = [ids[row % len(ids)] for row in range(scene.renderer.total_rows)]
        words = backbone.rows(used).to(backbone.device, learned_dtype(backbone))
        angle = nearest_angles(backbone, used).to(words) / 2
        radius = words.norm(dim=1) * torch.sin(self.reach * angle.clamp(max=math.pi / 2))
        return BoundRows(words, radius)


class BoundRows:
    """Rows `word + ρ·v / √(ρ² + |v|²)`: free in direction, never farther than ρ from their words."""

    def __init__(self, words: Float[Tensor, "P E"], radius: Float[Tensor, " P"]):
        self._words, self._radius = words, radius[:, None]
        self._offset = nn.Parameter(torch.zeros_like(words))

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"offset": self._offset}

    def addition(self) -> Addition:
        # Not norm(): its gradient at the start, where the offset is zero, is no number.
        squared = self._offset.square().sum(dim=1, keepdim=True) + self._radius.square()
        tiny = torch.finfo(squared.dtype).tiny
        return Addition(self._words + self._radius * self._offset / squared.clamp(min=tiny).sqrt())


def sentence_ids(backbone: Backbone, ids: Sequence[int], sentence: str) -> list[int]:
    """The pieces that rows are bound to: those of the sentence that are no special tokens.

    Raises:
        SettingsError: none is left.
    """
    kept = [number for number in ids if number not in backbone.tokenizer.special]
    if not kept:
        raise SettingsError(
            f"sentence: '{sentence}' has no pieces in the vocabulary of '{backbone.name}'; expected "
            "words that it knows"
        )
    return kept


def nearest_angles(backbone: Backbone, ids: Sequence[int]) -> Float[Tensor, " P"]:
    """The angle in radians between each word and the vocabulary word nearest to it, itself aside.

    Words with the same embedding have the angle 0; special tokens are no words.
    """
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    others = [number for number in range(size) if number not in tokenizer.special]
    wanted = torch.tensor(list(ids))
    own = _unit(backbone.rows(list(ids)).double().cpu())
    nearest = torch.full((len(ids),), -1.0, dtype=torch.float64)
    for start in range(0, len(others), AT_A_TIME):
        part = others[start : start + AT_A_TIME]
        cosines = own @ _unit(backbone.rows(part).double().cpu()).T  # [P, n]
        cosines[wanted[:, None] == torch.tensor(part)] = -1.0
        nearest = torch.maximum(nearest, cosines.max(dim=1).values)
    return torch.acos(nearest.clamp(-1.0, 1.0))


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
