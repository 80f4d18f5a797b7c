"""Open weights of a frozen backbone for training, and close it again bit-identical."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
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
    identity = backbone.identity  # noqa: F841  the fingerprint is of the unopened weights
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
