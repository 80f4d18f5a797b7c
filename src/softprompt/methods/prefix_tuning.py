"""Prefix tuning: learned keys and values in every attention, the backbone frozen.

Li & Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", sections 4.2–4.3; as
"P-tuning v2" (Liu et al. 2021) the same for understanding tasks. In all three families: of an
encoder-decoder in the encoder, in the decoder and in its cross-attention. 2·P·Σ L·K·D parameters are
stored, P learned positions in stacks of L layers with K heads of width D.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from softprompt.backbones.attended import Shape, read_keys
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Stack
from softprompt.errors import SettingsError
from softprompt.methods.method import (
    NO_STACKS,
    Learner,
    Method,
    Scene,
    Stacks,
    learned_dtype,
)
from softprompt.prompts.addition import Addition

Start = Literal["random", "zero", "text"]
Where = Literal["all", "encoder", "decoder", "cross"]


class PrefixTuning(Method):
    """Keys and values in every layer, f32."""

    name: ClassVar[str] = "prefix_tuning"

    length: int = Field(default=20, ge=1, le=10_000, description="learned positions of each layer")
    init: Start = Field(
        default="text",
        description="what they start from: a text's real keys and values; random ones as large as "
        "real ones; zero",
    )
    init_text: str | None = Field(
        default=None, description="the text, repeated to the length; else the label words"
    )
    stacks: Where = Field(
        default="all", description="of an encoder-decoder: all, encoder, decoder or cross"
    )
    reparametrise: bool = Field(
        default=False,
        description="learn them through an embedding and two layers, thrown away afterwards "
        "(Li & Liang, section 4.3)",
    )
    hidden: int = Field(default=512, ge=1, description="width of that network's middle")

    @field_validator("init_text")
    @classmethod
    def _belongs_to_text(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("init") != "text":
            raise ValueError("has an effect with init: text only")
        return value

    @field_validator("reparametrise")
    @classmethod
    def _starts_at_random(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("init") != "random":
            raise ValueError("what a network makes at the start is random: give init: random")
        return value

    def n_rows(self, explicit: int | None) -> int:
        if explicit:
            raise SettingsError(
                f"the template places learned rows ({{soft}}), {self.name} learns keys and values in "
                "every layer instead; take {soft} out of it"
            )
        return 0

    def n_attended(self) -> int:
        return self.length

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        shapes = self._shapes(scene.backbone)
        if self.reparametrise:
            return Reparametrised(self, shapes, scene.backbone, generator)
        real = _real(scene, self.init_text, self.length)
        start: dict[Stack, Tensor] = {}
        for stack, shape in shapes.items():
            size = (shape.layers, 2, self.length, shape.heads, shape.width)
            if self.init == "text":
                start[stack] = _repeated(real[stack], self.length)
            elif self.init == "random":
                scale = real[stack].pow(2).mean(dim=(2, 3, 4), keepdim=True).sqrt()  # [L, 2, …]
                start[stack] = scale * torch.randn(size, generator=generator)
            else:
                start[stack] = torch.zeros(size)
        return KeysAndValues(start, scene.backbone)

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        total = self._numbers(stacks)
        if not self.reparametrise:
            return self.length * total
        return self.length * width + self.hidden * (width + 1) + total * (self.hidden + 1)

    def n_stored(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        return self.length * self._numbers(stacks)

    def _numbers(self, stacks: Stacks) -> int:
        """Keys and values of one learned position."""
        chosen = [s for stack, s in stacks.items() if self.stacks in ("all", stack)]
        return sum(2 * s.layers * s.heads * s.width for s in chosen)

    def _shapes(self, backbone: Backbone) -> dict[Stack, Shape]:
        """The stacks that are asked for.

        Raises:
            SettingsError: one that this backbone does not have.
        """
        shapes = dict(backbone.attentions.shapes)
        if self.stacks == "all":
            return shapes
        if self.stacks not in shapes:
            raise SettingsError(
                f"method.stacks: {self.stacks}, but {backbone.name} has one stack of layers only; "
                "leave it out"
            )
        return {stack: shape for stack, shape in shapes.items() if stack == self.stacks}

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        # Keys and values are as large as the network makes them, not as its embeddings are.
        return {"optimiser": {"name": "adamw", "learning_rate": 0.02, "relative": False}}


class KeysAndValues:
    """Each stack's keys and values as one parameter."""

    def __init__(self, start: Mapping[Stack, Tensor], backbone: Backbone):
        dtype = learned_dtype(backbone)
        self._stacks = {
            stack: nn.Parameter(tensor.to(backbone.device, dtype, copy=True))
            for stack, tensor in start.items()
        }

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {str(stack): parameter for stack, parameter in self._stacks.items()}

    def addition(self) -> Addition:
        return Addition(None, {str(stack): one for stack, one in self._stacks.items()})


class Reparametrised:
    """Embedding `[P, E]` → hidden → tanh → all keys and values; only what comes out is kept."""

    def __init__(
        self,
        method: PrefixTuning,
        shapes: Mapping[Stack, Shape],
        backbone: Backbone,
        generator: torch.Generator,
    ):
        self._shapes, width, hidden = dict(shapes), backbone.width, method.hidden
        total = sum(2 * s.layers * s.heads * s.width for s in shapes.values())

        def drawn(*size: int, scale: float) -> nn.Parameter:
            values = scale * torch.randn(size, generator=generator)
            return nn.Parameter(values.to(backbone.device, learned_dtype(backbone)))

        self._parameters = {
            "embedding": drawn(method.length, width, scale=1.0),
            "inner.weight": drawn(hidden, width, scale=width**-0.5),
            "inner.bias": drawn(hidden, scale=0.0),
            "outer.weight": drawn(total, hidden, scale=hidden**-0.5),
            "outer.bias": drawn(total, scale=0.0),
        }

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self._parameters

    def addition(self) -> Addition:
        own, linear = self._parameters, nn.functional.linear
        middle = torch.tanh(linear(own["embedding"], own["inner.weight"], own["inner.bias"]))
        flat = linear(middle, own["outer.weight"], own["outer.bias"])  # [P, total]
        sizes = [2 * s.layers * s.heads * s.width for s in self._shapes.values()]
        found: dict[str, Tensor] = {}
        for (stack, s), part in zip(self._shapes.items(), flat.split(sizes, dim=1), strict=True):
            found[stack] = part.view(-1, s.layers, 2, s.heads, s.width).permute(1, 2, 0, 3, 4)
        return Addition(None, found)


# --- starting values ------------------------------------------------------------------------------


def _real(scene: Scene, text: str | None, length: int) -> dict[Stack, Tensor]:
    """Keys and values of a text, the label words or training texts, by stack, `[L, 2, T, K, D]`."""
    backbone = scene.backbone
    source = [text] if text is not None else [*scene.labels, *scene.texts]
    ids: list[int] = []
    for each in source:
        ids += backbone.tokenizer.encode(each, continues=bool(ids)).ids
        if len(ids) >= length:
            break
    if not ids:
        raise SettingsError(
            "method.init_text: holds no token that keys and values could start from"
        )
    most = min(length, backbone.limit or length)
    row = torch.tensor([ids[:most]], device=backbone.device)
    given = {"input_ids": row}
    if backbone.family == "encoder_decoder":
        given["decoder_input_ids"] = row
    with backbone.dropout(on=False):
        found = read_keys(backbone.model, backbone.attentions, lambda: backbone.model(**given))
    return {stack: tensor.float().cpu() for stack, tensor in found.items()}


def _repeated(real: Tensor, length: int) -> Tensor:
    """As many positions as are wanted, from the start again where the text is shorter."""
    return real[:, :, torch.arange(length) % real.shape[2]]
