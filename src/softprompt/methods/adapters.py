"""Adapters (Houlsby et al. 2019, arXiv 1902.00751): two small bottlenecks in every layer.

One behind the attention's output projection, one behind the feed-forward part's, before the residual
sum: h + W_up ReLU(W_down h). The backbone's norms stay frozen. PEFT has no such tuner, so the modules
stand here, put in by forward hooks that go with the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import linear_layers, named_layers, rebuilt
from softprompt.errors import SettingsError
from softprompt.methods.method import learned_dtype
from softprompt.methods.opened_weights import WeightTuning

_LLAMA = ("o_proj", "down_proj")
_BERT = ("attention.output.dense", "output.dense")
SITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra", "deberta-v2"), _BERT),
        "albert": ("attention.dense", "ffn_output"),
        "distilbert": ("out_lin", "lin2"),
        "modernbert": ("Wo",),
        **dict.fromkeys(("gpt2",), ("attn.c_proj", "mlp.c_proj", "crossattention.c_proj")),
        **dict.fromkeys(("t5", "mt5"), ("SelfAttention.o", "EncDecAttention.o", "wo")),
        **dict.fromkeys(("bart", "mbart", "opt"), ("out_proj", "fc2")),
        **dict.fromkeys(("gpt_neox", "bloom"), ("dense", "dense_4h_to_h")),
        **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3"), _LLAMA),
    }
)
"""Ends of the names of the output projections of attentions and feed-forward parts, by model type."""

PLACE = "bottleneck"


class Bottleneck(nn.Module):
    """h + W_up ReLU(W_down h), in f32 at least."""

    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)

    def forward(self, states: Tensor) -> Tensor:
        """`[..., H]` to `[..., H]`, in the precision that came in."""
        wide = states.to(self.down.weight.dtype)
        return states + self.up(torch.relu(self.down(wide))).to(states.dtype)


class Adapters(WeightTuning):
    """Bottlenecks of width m; learned: 2Hm + m + H at each place."""

    name: ClassVar[str] = "adapters"
    learning_rate: ClassVar[float] = 1e-3  # the paper searched 3e-5 to 3e-3

    bottleneck: int = Field(default=64, ge=1, description="m, the inner width")
    targets: list[str] | None = Field(
        default=None,
        description="ends of the names of the layers that they stand behind; none: the output "
        "projections of attentions and feed-forward parts",
    )

    def sites(self, backbone: Backbone) -> dict[str, tuple[nn.Module, int, int]]:
        """The layers that a bottleneck stands behind: name to module, inputs and outputs.

        Raises:
            SettingsError: none is known, or there is none of these names; names those there are.
        """
        every, kind = linear_layers(backbone), str(backbone.config.model_type)
        ends = self.targets or SITES.get(kind)
        found = named_layers(every, ends or ())
        if not found:
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in every))
            why = f"there is no {', '.join(ends)}" if ends else "no place for adapters is known"
            raise SettingsError(
                f"method.targets: {why} in {backbone.name}, a model of type {kind}; give the layers "
                f"that they shall stand behind, of {known}"
            )
        return found

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        sites = self.sites(backbone)
        with rebuilt(backbone), ExitStack() as hooks:
            for site, _, width in sites.values():
                with torch.device("meta"):
                    made = Bottleneck(width, self.bottleneck)
                made.to_empty(device=backbone.device).to(learned_dtype(backbone))
                for parameter in made.parameters():
                    nn.init.zeros_(parameter)
                site.add_module(PLACE, made.eval())
                hooks.callback(site.register_forward_hook(_through).remove)
            yield

    def start(
        self, name: str, parameter: nn.Parameter, generator: torch.Generator
    ) -> Tensor | None:
        """Matrices N(0, 0.01) as in the paper, section 3.6: nearly the identity; biases zero."""
        if parameter.dim() < 2:
            return None
        return 1e-2 * torch.randn(parameter.shape, generator=generator)

    def n_opened(self, backbone: Backbone) -> int:
        m = self.bottleneck
        return sum(2 * h * m + m + h for _, _, h in self.sites(backbone).values())


def _through(site: Any, _: Any, output: Tensor) -> Tensor:
    """A layer's output behind its bottleneck."""
    changed: Tensor = getattr(site, PLACE)(output)
    return changed
