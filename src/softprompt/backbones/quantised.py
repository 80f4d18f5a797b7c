"""Linear layers of a frozen network in 8 bits: a quarter of the memory of f32, half of bf16.

Each row of a weight is whole numbers from −127 to 127 and one scale. They are widened at the product
and forgotten behind it, in the backward pass too, so that a training step holds what it holds without
this, and a row of a batch means what it means alone. Gradients reach the inputs, never the weights.
Embeddings, norms, biases and the output head stay as they are. Knows layers, not models.

In plain PyTorch: on the CPU a step and a prediction take as long with torchao 0.18 or bitsandbytes
0.50, but the one keeps the widened weights until the backward pass and the other the inputs of each
layer, which is more than the weights save. torchao's products of quantised activations have no
gradient, and in bitsandbytes' a row's outliers depend on the rest of its batch.
Dimensions: K inputs, M outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from softprompt.errors import BackboneError

LARGEST = 127
"""−128 is not used: scales are symmetric."""


class QuantisedLinear(nn.Module):
    """`nn.Linear` with its weight in 8 bits.

    Args:
        weight: as it was, `[M, K]`.
        bias: `[M]`, kept as it is.
    """

    def __init__(self, weight: Float[Tensor, "M K"], bias: nn.Parameter | None):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        whole, scale = quantise_rows(weight)
        self.weight = nn.Parameter(whole, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = bias

    def forward(self, inputs: Float[Tensor, "... K"]) -> Float[Tensor, "... M"]:
        product: Tensor = _Product.apply(inputs, self.weight, self.scale)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


@torch.no_grad()
def quantise_rows(
    weight: Float[Tensor, "M K"],
) -> tuple[Int8[Tensor, "M K"], Float[Tensor, " M"]]:
    """A weight as whole numbers and a scale a row, in f32; off by half a scale at most."""
    wide = weight.detach().float()
    scale = wide.abs().amax(dim=1) / LARGEST
    steps = wide / torch.where(scale > 0, scale, 1.0)[:, None]
    return steps.round().to(torch.int8), scale


class _Product(torch.autograd.Function):
    """`inputs @ (scale · weight)ᵀ`; keeps the narrow weight for the backward pass, nothing else.

    The scale is multiplied into the product: every whole number here is exact in bf16.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return linear(inputs, weight.to(inputs.dtype)).mul_(scale)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        scaled = (gradient * scale).to(gradient.dtype)
        return scaled @ weight.to(gradient.dtype), None, None


def quantise(model: nn.Module, name: str) -> None:
    """Put 8 bits in place of the weights of a model's linear layers, its output head excepted.

    A weight that also stands elsewhere, as an embedding, stays as it is.

    Args:
        model: a transformers model, on the CPU or an accelerator.
        name: its own, for messages.
    Raises:
        BackboneError: it has no layer of this kind.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(module))
    made: dict[int, QuantisedLinear] = {}
    for parent in list(model.modules()):
        for place, child in list(parent._modules.items()):  # every name of a layer that has two
            weight = None if child is head else _linear_weight(child)
            if child is None or weight is None or len(owners[id(child.weight)]) > 1:
                continue
            if id(child) not in made:
                made[id(child)] = QuantisedLinear(weight, child.bias)  # type: ignore[arg-type]
            setattr(parent, place, made[id(child)])
    if not made:
        raise BackboneError(
            f"{name}: {type(model).__name__} has no linear layers that could be held in 8 bits; use "
            "precision bfloat16 or float32"
        )


def is_quantised(model: nn.Module) -> bool:
    """Whether any layer is."""
    return any(isinstance(module, QuantisedLinear) for module in model.modules())


def _linear_weight(module: nn.Module | None) -> Tensor | None:
    """The weight of a plain linear layer, `[M, K]`; a subclass may do anything with its own."""
    from transformers.pytorch_utils import Conv1D

    if type(module) is nn.Linear:
        return module.weight
    if type(module) is Conv1D:  # GPT-2's, which holds it the other way round
        return module.weight.t()
    return None
