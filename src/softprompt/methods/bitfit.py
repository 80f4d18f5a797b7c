"""BitFit (Ben Zaken et al. 2022, arXiv 2106.10199): the biases of the network, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import opened
from softprompt.errors import SettingsError
from softprompt.methods.opened_weights import WeightTuning


class BitFit(WeightTuning):
    """Every bias, those of norms and of the head too; learned: their number."""

    name: ClassVar[str] = "bitfit"
    title: ClassVar[str] = "BitFit"
    learning_rate: ClassVar[float] = 1e-3  # the paper searched 1e-4 to 1e-3

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        self.n_opened(backbone)
        with opened(backbone, _is_bias):
            yield

    def n_opened(self, backbone: Backbone) -> int:
        """The sum of the biases' lengths.

        Raises:
            SettingsError: the network has none (T5, Llama), or its output head alone (ModernBERT).
        """
        head = backbone.model.get_output_embeddings()  # type: ignore[operator]
        biases = [p for n, p in backbone.model.named_parameters() if _is_bias(n)]
        if all(bias is getattr(head, "bias", None) for bias in biases):
            raise SettingsError(
                f"bitfit: {backbone.name}, a model of type {backbone.config.model_type}, has no "
                "biases to train but its head's; use lora, ia3 or adapters"
            )
        return sum(bias.numel() for bias in biases)


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"
