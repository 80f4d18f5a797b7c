"""What methods of learned rows share: how many rows, where they start, and rows learned as they are.

Knows rows `[P, E]`, not what a method makes them of.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from softprompt.errors import SettingsError
from softprompt.methods.initialisation import INITIALISERS, initial_rows
from softprompt.methods.method import Method, Scene
from softprompt.prompts.addition import Addition

DEFAULT_LENGTH = 20


class RowsMethod(Method):
    """Base of the methods that add rows."""

    length: int | None = Field(
        default=None, ge=1, le=10_000, description="rows (default 20, or what the template says)"
    )

    def n_rows(self, explicit: int | None) -> int:
        if explicit is not None and self.length is not None and self.length != explicit:
            raise SettingsError(
                f"two different lengths: the template says {explicit} rows, the method says "
                f"{self.length}; give one of them"
            )
        return self.length or explicit or DEFAULT_LENGTH


class StartedRows(RowsMethod):
    """Base of the methods whose rows start from words, another prompt or chance."""

    own_starts: ClassVar[Mapping[str, tuple[str, str] | None]] = MappingProxyType({})
    """Starts that this method alone has, with the setting that each needs and what it holds."""

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

    @classmethod
    def starts(cls) -> Mapping[str, tuple[str, str] | None]:
        """What `init` may name, with the setting that each needs and what it holds."""
        return {**cls.own_starts, **{name: start.needs for name, start in INITIALISERS.items()}}

    @field_validator("init")
    @classmethod
    def _known(cls, value: str) -> str:
        known = cls.starts()
        if value not in known:
            close = difflib.get_close_matches(value, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"expected one of {', '.join(known)}{hint}")
        return value

    @field_validator("init_text", "init_from")
    @classmethod
    def _belongs_to_init(cls, value: str | None, info: ValidationInfo) -> str | None:
        return cls.needed_by_init(value, info)

    @classmethod
    def needed_by_init(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a setting that `init` needs and that is missing, or that it does not read.

        Raises:
            ValueError: which `init` it belongs to.
        """
        init, key = info.data.get("init"), info.field_name
        if init is None:  # itself refused: one message is enough
            return value
        known = cls.starts()
        needed = known[init]
        if needed is not None and needed[0] == key and not value:
            raise ValueError(f"init: {init} needs {needed[1]} that rows start from")
        if value not in (None, ()) and (needed is None or needed[0] != key):
            wanted = next(name for name, needs in known.items() if needs and needs[0] == key)
            raise ValueError(f"has an effect with init: {wanted} only; init is {init}")
        return value

    def start(self, scene: Scene, generator: torch.Generator) -> Float[Tensor, "P E"]:
        """The starting rows, float32 on the CPU, at the scale of the backbone's embeddings."""
        rows = initial_rows(self.init, scene, generator, text=self.init_text, source=self.init_from)
        return self.noisy(rows, scene, generator)

    def noisy(
        self, rows: Float[Tensor, "P E"], scene: Scene, generator: torch.Generator
    ) -> Float[Tensor, "P E"]:
        """Rows with the noise that was asked for."""
        if not self.noise:
            return rows
        scale = self.noise * scene.backbone.rms
        return rows + scale * torch.randn(rows.shape, generator=generator)


class SoftRows:
    """Rows `[P, E]` as one parameter."""

    def __init__(self, rows: torch.Tensor):
        self._rows = nn.Parameter(rows.clone())

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"rows": self._rows}

    def addition(self) -> Addition:
        return Addition(self._rows)
