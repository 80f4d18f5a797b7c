"""Prompt tuning: learned rows among the embedded text, the backbone frozen.

Lester, Al-Rfou & Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning".
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from softprompt.errors import SettingsError
from softprompt.methods.initialisation import INITIALISERS, initial_rows
from softprompt.methods.method import Learner, Method, Scene, learned_dtype
from softprompt.prompts.addition import Addition

DEFAULT_LENGTH = 20


class PromptTuning(Method):
    """Soft rows, P·E parameters in f32."""

    name: ClassVar[str] = "prompt_tuning"

    length: int | None = Field(
        default=None, ge=1, le=10_000, description="rows (default 20, or what the template says)"
    )
    init: str = Field(
        default="labels",
        description=f"what rows start from: {', '.join(INITIALISERS)} (Lester et al., section 3.2)",
    )
    init_text: str | None = Field(default=None, description="the words, for init: text")
    init_from: str | None = Field(
        default=None, description="a prompt folder or a .npy file, for init: prompt (SPoT)"
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="gaussian noise on the starting rows, in units of the embeddings' RMS",
    )

    @field_validator("init")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in INITIALISERS:
            close = difflib.get_close_matches(value, INITIALISERS, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"expected one of {', '.join(INITIALISERS)}{hint}")
        return value

    @field_validator("init_text", "init_from")
    @classmethod
    def _belongs_to_init(cls, value: str | None, info: ValidationInfo) -> str | None:
        init, key = info.data.get("init"), info.field_name
        if init is None:  # itself refused: one message is enough
            return value
        needed = INITIALISERS[init].needs
        if needed is not None and needed[0] == key and not value:
            raise ValueError(f"init: {init} needs {needed[1]} that rows start from")
        if value is not None and (needed is None or needed[0] != key):
            wanted = next(n for n, s in INITIALISERS.items() if s.needs and s.needs[0] == key)
            raise ValueError(f"has an effect with init: {wanted} only; init is {init}")
        return value

    def n_rows(self, explicit: int | None) -> int:
        if explicit is not None and self.length is not None and self.length != explicit:
            raise SettingsError(
                f"two different lengths: the template says {explicit} rows, the method says "
                f"{self.length}; give one of them"
            )
        return self.length or explicit or DEFAULT_LENGTH

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        rows = initial_rows(self.init, scene, generator, text=self.init_text, source=self.init_from)
        if self.noise:
            scale = self.noise * scene.backbone.rms
            rows = rows + scale * torch.randn(rows.shape, generator=generator)
        backbone = scene.backbone
        return SoftRows(rows.to(backbone.device, learned_dtype(backbone)))


class SoftRows:
    """Rows `[P, E]` as one parameter."""

    def __init__(self, rows: torch.Tensor):
        self._rows = nn.Parameter(rows.clone())

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"rows": self._rows}

    def addition(self) -> Addition:
        return Addition(self._rows)
