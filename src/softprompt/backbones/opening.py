"""Open weights of a frozen backbone for training, or build others into it, and close it again
bit-identical. Knows modules and names, not methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.quantised import QuantisedLinear
from softprompt.errors import BackboneError


@contextmanager
def opened(
    backbone: Backbone, choose: Callable[[str], bool] = lambda name: True
) -> Iterator[dict[str, nn.Parameter]]:
    """Within the block the chosen parameters take gradients; afterwards every bit is as before.

    Args:
        backbone: is frozen before and after.
        choose: which parameters, by name; all by default.
    Yields:
        The opened parameters by name.
    Raises:
        BackboneError: a chosen one is held in 8 bits.
    """
    _remember(backbone)
    chosen = {n: p for n, p in backbone.model.named_parameters() if choose(n)}
    whole = next((name for name, p in chosen.items() if not p.is_floating_point()), None)
    if whole is not None:
        raise BackboneError(
            f"{backbone.name}: {whole} is held in 8 bits and cannot be trained; load the backbone in "
            "precision float32, or learn a prompt"
        )
    kept = {name: parameter.detach().clone() for name, parameter in chosen.items()}
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    try:
        yield chosen
    finally:
        with torch.no_grad():
            for name, parameter in chosen.items():
                parameter.copy_(kept[name])
                parameter.requires_grad_(False)
                parameter.grad = None


@contextmanager
def rebuilt(backbone: Backbone) -> Iterator[nn.Module]:
    """Within the block modules may be put into the network, around or in place of others; afterwards it
    is built as before, of the same modules.

    The weights that were there must stay as they are.

    Yields:
        The network.
    """
    _remember(backbone)
    model = backbone.model
    built = [(module, dict(module._modules)) for module in model.modules()]
    known = set(vars(model))
    try:
        yield model
    finally:
        for module, children in built:
            module._modules.clear()
            module._modules.update(children)
        for name in set(vars(model)) - known:  # PEFT leaves its configuration there
            delattr(model, name)


def trainable(backbone: Backbone) -> dict[str, nn.Parameter]:
    """The parameters that take gradients now, by name."""
    return {n: p for n, p in backbone.model.named_parameters() if p.requires_grad}


def linear_layers(backbone: Backbone) -> dict[str, tuple[nn.Module, int, int]]:
    """Every linear layer but the output head: name to module, inputs and outputs.

    A layer that stands at several names is under the first.
    """
    from transformers.pytorch_utils import Conv1D

    head = backbone.model.get_output_embeddings()  # type: ignore[operator]
    found: dict[str, tuple[nn.Module, int, int]] = {}
    for name, module in backbone.model.named_modules():
        if module is head:
            continue
        if isinstance(module, nn.Linear | QuantisedLinear):
            found[name] = (module, module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # GPT-2's, which holds its weight the other way round
            found[name] = (module, *module.weight.shape)  # type: ignore[assignment]
    return found


def named_layers(
    layers: Mapping[str, tuple[nn.Module, int, int]], ends: Sequence[str]
) -> dict[str, tuple[nn.Module, int, int]]:
    """Those layers whose name is one of `ends`, or ends in a dot and one of them."""
    return {
        name: layer
        for name, layer in layers.items()
        if any(name == end or name.endswith(f".{end}") for end in ends)
    }


def _remember(backbone: Backbone) -> None:
    """Take the fingerprint, and count, while the weights are as they were loaded."""
    _ = backbone.identity, backbone.n_parameters
