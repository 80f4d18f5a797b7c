"""Layers of the PEFT library built into a frozen backbone, and taken out again.

What LoRA and (IA)³ share: which linear layers they stand at, and PEFT's own names for what is learned,
so that it is saved as a folder that PEFT reads. PEFT is an extra, imported when it is first needed.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import linear_layers, named_layers, rebuilt
from softprompt.backbones.quantised import is_quantised
from softprompt.errors import BackboneError, SettingsError
from softprompt.methods.opened_weights import WeightTuning

Layers = Mapping[str, tuple[nn.Module, int, int]]


class PeftLayers(WeightTuning):
    """Base of the methods that PEFT's layers carry out."""

    @abstractmethod
    def ends(self, backbone: Backbone) -> Sequence[str] | None:
        """Ends of the names of the layers that are changed; None: all linear layers.

        Raises:
            SettingsError: nobody says which.
        """

    @abstractmethod
    def config(self, backbone: Backbone) -> Any:
        """PEFT's own configuration."""

    def layers(self, backbone: Backbone) -> dict[str, tuple[nn.Module, int, int]]:
        """The layers that are changed: name to module, inputs and outputs.

        Raises:
            BackboneError: they are held in 8 bits.
            SettingsError: there are none of these names; names those that there are.
        """
        if is_quantised(backbone.model):
            raise BackboneError(
                f"{backbone.name}: PEFT's layers do not go around layers in our 8 bits; load the "
                "backbone in precision float32 or bfloat16, or learn a prompt"
            )
        every, ends = linear_layers(backbone), self.ends(backbone)
        if ends is None:
            return every
        for end in ends:
            if not named_layers(every, [end]):
                raise SettingsError(
                    f"method.targets: {backbone.name} has no linear layer '{end}'; it has "
                    f"{', '.join(last_parts(every))}"
                )
        return named_layers(every, ends)

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        peft = library(self.name)
        config = self.config(backbone)
        devices = [backbone.device] if backbone.device.type == "cuda" else []
        with rebuilt(backbone) as model:
            # PEFT draws from the global generator; the learner draws again from its own.
            with torch.random.fork_rng(devices):
                peft.inject_adapter_in_model(config, model)
            model.eval()
            yield

    def stored_name(self, name: str) -> str:
        return f"base_model.model.{name.replace('.default', '')}"

    def peft_config(self, backbone: Backbone) -> Mapping[str, Any]:
        (built,) = vars(backbone.model)["peft_config"].values()  # what it was built with
        plain: dict[str, Any] = json.loads(json.dumps(built.to_dict(), default=_plain))
        return plain | {"base_model_name_or_path": backbone.name, "inference_mode": True}


def library(method: str) -> Any:
    """The PEFT library.

    Raises:
        SettingsError: it is not installed; says how to install it.
    """
    try:
        import peft
    except ImportError:
        raise SettingsError(
            f"method {method} needs the PEFT library, which is not installed: pip install "
            "'softprompt[peft]'"
        ) from None
    return peft


def last_parts(layers: Layers) -> list[str]:
    """The last parts of layers' names, each once."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in layers))


def held_sideways(layers: Layers) -> bool:
    """Whether these layers hold their weights as GPT-2's do, inputs first."""
    return any(not isinstance(module, nn.Linear) for module, _, _ in layers.values())


def _plain(value: Any) -> Any:
    """Sets as sorted lists; anything else as its text."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
