"""Reparametrised rows: learned through a small network, saved as plain rows `[P, E]`.

A method of this kind writes an `nn.Module` whose output is the rows *in units of the embeddings'
RMS*, so that numbers of size 1 suit every backbone: rows of T5 1.1 have an RMS near 10.7, those of
GPT-2 near 0.14. `FoldedRows` makes a learner of it. The network itself is kept in checkpoints only;
what is added to a batch, and saved, is its output.

One learning rate suits all parts. What the optimiser moves is each parameter times `rms / unit`:
a step of a relative rate r moves the parameter itself by r times its unit, on every backbone.
A unit is how far a parameter may go for the rows to move by about their own size: 1 for rows, gains
and shifts, 1 / fan-in for a matrix, for a normalised step moves all its inputs' products the same
way (Yang et al. 2022, "Tensor Programs V", table 3).

Knows modules and tensors, not methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from softprompt.backbones.backbone import Backbone
from softprompt.methods.method import learned_dtype
from softprompt.prompts.addition import Addition

Layers = TypeVar("Layers", bound=nn.Module)


class Reparametrisation(nn.Module, ABC):
    """A network without input that gives the rows; its buffers stay frozen."""

    @abstractmethod
    def forward(self) -> Float[Tensor, "P E"]:
        """The rows `[P, E]` in units of the embeddings' RMS."""

    def units(self) -> Mapping[str, float]:
        """The unit of each parameter that is not 1, by its name."""
        return {
            name: 1.0 / parameter.shape[-1]
            for name, parameter in self.named_parameters()
            if "weight" in name and parameter.dim() >= 2
        }


class FoldedRows:
    """A learner of rows that a network makes.

    Args:
        network: made on the CPU, so that a seed means the same start on every device.
        backbone: for its embeddings' RMS, its device, and the precision of what is learned.
    """

    def __init__(self, network: Reparametrisation, backbone: Backbone):
        self._network = network.to(backbone.device, learned_dtype(backbone)).requires_grad_(False)
        self._rms = backbone.rms
        units = network.units()
        self._scales = {
            name: units.get(name, 1.0) / backbone.rms for name, _ in network.named_parameters()
        }
        self._learned = {
            name: nn.Parameter(parameter.detach() / self._scales[name])
            for name, parameter in network.named_parameters()
        }

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self._learned

    def addition(self) -> Addition:
        natural = {name: p * self._scales[name] for name, p in self._learned.items()}
        rows: Tensor = functional_call(self._network, natural, ())
        return Addition(rows * self._rms)


def drawn(make: Callable[[], Layers], generator: torch.Generator) -> Layers:
    """A network on the CPU whose every number comes from `generator`.

    Matrices are drawn from U(±√(3/fan-in)), which keeps the size of what goes through; vectors are
    zero. No other generator is touched.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() < 2:
                parameter.zero_()
                continue
            bound = (3 / parameter.shape[-1]) ** 0.5
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    return network
