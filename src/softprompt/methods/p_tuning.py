"""P-tuning: soft rows among anchor words, made by a small encoder that is thrown away afterwards.

Liu et al. 2021, "GPT Understands, Too" (arXiv 2103.10385), section 3: each soft row has an embedding
of its own, and an encoder over all of them, a bidirectional LSTM of two layers and an MLP of two,
lets the rows depend on each other. The rows may stand anywhere in the template: `{soft:3}`.
The backbone stays frozen, as in the paper's knowledge probing; its SuperGLUE runs tune the language
model too, which is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from softprompt.methods.folded import FoldedRows, Reparametrisation, drawn
from softprompt.methods.initialisation import with_template_words
from softprompt.methods.method import NO_STACKS, Learner, Scene, Stacks
from softprompt.methods.soft_rows import StartedRows

ENCODERS = ("lstm", "mlp")


class PTuning(StartedRows):
    """Soft rows through an LSTM or an MLP (P-tuning v1); saved as P·E.

    Learned with width E, hidden size h and P rows: the embeddings P·E; the LSTM 8h(E + h + 2) in its
    first layer and 8h(3h + 2) in its second (`encoder: lstm` only); the MLP, from n = 2h with the
    LSTM and from n = E without, 2h(n + 1) + E(2h + 1).
    """

    name: ClassVar[str] = "p_tuning"
    title: ClassVar[str] = "P-tuning"
    own_starts: ClassVar[Mapping[str, tuple[str, str] | None]] = MappingProxyType({"encoder": None})

    encoder: str = Field(
        default="lstm", description="lstm: two bidirectional layers and an MLP; mlp: the MLP alone"
    )
    hidden: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="of the LSTM in each direction; the MLP's inner layer has twice as many "
        "(default half the embeddings' width)",
    )
    init: str = Field(
        default="encoder",
        description="encoder: what the untrained encoder gives, as in the paper, scaled to the "
        "embeddings; or as for prompt_tuning: labels, vocabulary, text, …",
    )

    @field_validator("encoder")
    @classmethod
    def _known_encoder(cls, value: str) -> str:
        if value not in ENCODERS:
            close = difflib.get_close_matches(value, ENCODERS, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"expected one of {', '.join(ENCODERS)}{hint}")
        return value

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        backbone, length = scene.backbone, scene.renderer.total_rows
        start = None if self.init == "encoder" else self.start(scene, generator)
        network = drawn(
            lambda: Encoder(length, backbone.width, self._hidden(backbone.width), self.encoder),
            generator,
        )
        with torch.no_grad():
            network.rows.normal_(generator=generator)
            network.scale_to_one()
            first = network() * backbone.rms
            wanted = with_template_words(first, scene) if start is None else start
            network.shift.copy_((wanted - first) / backbone.rms)
        return FoldedRows(network, backbone)

    def _hidden(self, width: int) -> int:
        return self.hidden or max(1, width // 2)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        h = self._hidden(width)
        lstm = 8 * h * (width + h + 2) + 8 * h * (3 * h + 2) if self.encoder == "lstm" else 0
        inputs = 2 * h if self.encoder == "lstm" else width
        return rows * width + lstm + 2 * h * (inputs + 1) + width * (2 * h + 1)


class Encoder(Reparametrisation):
    """Embeddings `[P, E]` through an LSTM, if there is one, and an MLP, plus a frozen shift.

    The shift is what rows that must start elsewhere are away from the untrained encoder's; zero
    otherwise. A frozen gain brings the LSTM's states, which its gates make small, to the size that
    the MLP expects, and the LSTM's units are smaller by as much: otherwise one step would move rows
    by several times their own size.
    """

    gain: Tensor
    shift: Tensor

    def __init__(self, length: int, width: int, hidden: int, kind: str):
        super().__init__()
        self.rows = nn.Parameter(torch.empty(length, width))
        self.lstm: nn.LSTM | None = None
        inputs = width
        if kind == "lstm":
            self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True)
            inputs = 2 * hidden
        self.inner = nn.Linear(inputs, 2 * hidden)
        self.outer = nn.Linear(2 * hidden, width)
        self.register_buffer("gain", torch.empty(()))
        self.register_buffer("shift", torch.empty(length, width))

    def forward(self) -> Float[Tensor, "P E"]:
        encoded: Tensor = self.outer(functional.relu(self.inner(self.gain * self._states())))
        return encoded + self.shift

    def _states(self) -> Float[Tensor, "P N"]:
        if self.lstm is None:
            return self.rows
        states: Tensor = self.lstm(self.rows)[0]
        return states

    def units(self) -> Mapping[str, float]:
        units = dict(super().units())
        if self.lstm is not None:
            for name, _ in self.lstm.named_parameters(prefix="lstm"):
                units[name] = units.get(name, 1.0) / float(self.gain)
        return units

    def scale_to_one(self) -> None:
        """Set gain and last layer so that states and rows now have an RMS of 1; forget the shift."""
        self.shift.zero_()
        self.gain.copy_(1 / _rms(self._states()))
        self.outer.weight.div_(_rms(self()))


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
