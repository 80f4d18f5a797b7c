"""What an architecture can do beyond the common interface: measured at the first question, never listed.

What it cannot is said once, with what runs instead. Knows trials, not what they are good for.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from softprompt.backbones.attended import Sites, find_sites
from softprompt.backbones.head_rows import head_fault
from softprompt.backbones.input_path import probe_ids
from softprompt.backbones.prefix import prefix_fault


class Abilities:
    """Of one loaded network.

    Args:
        network: a `Backbone`.
    """

    def __init__(self, network: Any):
        self._network = network

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether rows that begin alike may read that from one cache."""
        ids = self._ids
        return self._can(
            prefix_fault(self._network, torch.cat([ids[0], ids[1, :1]])),
            "rows that begin alike cannot share a cache of keys and values",
            "whole rows run",
        )

    @cached_property
    def picks_tokens(self) -> bool:
        """Whether the output head can run for some tokens only."""
        with self._network.dropout(on=False):
            fault = head_fault(self._network, self._ids[0])
        return self._can(
            fault,
            "label words cannot be scored without the rest of the vocabulary",
            "the whole output head runs",
        )

    @cached_property
    def attentions(self) -> Sites:
        """Where learned keys and values may stand.

        Raises:
            BackboneError: its attentions cannot be reached.
        """
        network, ids = self._network, self._ids
        model, first = network.model, ids[:1].to(network.device)  # three tokens
        given = {"input_ids": first}
        if network.family == "encoder_decoder":
            given["decoder_input_ids"] = first[:, :2]
        return find_sites(model, lambda: model(**given), (3, 2))

    @property
    def _ids(self) -> Int[Tensor, "2 T"]:
        network = self._network
        return probe_ids(network.tokenizer, network.model, network.name)

    def _can(self, fault: str | None, cannot: str, instead: str) -> bool:
        """Whether a trial found no fault; one is said."""
        if fault is not None:
            message = f"{cannot} on this architecture ({fault}); {instead} instead, slower"
            warnings.warn(f"{self._network.name}: {message}", UserWarning, stacklevel=4)
        return fault is None
