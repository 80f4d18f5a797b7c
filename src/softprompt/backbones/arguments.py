"""What a transformers model is called with: masks, positions, a cache, an encoder's states.

Knows the names that a family's forward takes, and calls nothing.
Dimensions: B rows, S positions, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softprompt.backbones.inputs import Inputs, pick_rows, positions_from_mask
from softprompt.backbones.prefix import Prefix
from softprompt.backbones.traits import Traits


@dataclass(frozen=True)
class Encoded:
    """What an encoder made of its input: states `[B, S, H]` and their mask `[B, S]`."""

    states: Tensor
    mask: Tensor

    def rows(self, index: Sequence[int]) -> Encoded:
        """The rows that each decoder row reads."""
        return Encoded(pick_rows(self.states, index), pick_rows(self.mask, index))


def arguments(
    traits: Traits,
    inputs: Inputs,
    encoded: Encoded | None = None,
    prefix: Prefix | None = None,
) -> dict[str, Any]:
    """One forward pass over embeddings.

    Args:
        traits: of the model.
        inputs: the sequence, embeddings in the model's precision and on its device; for an
            encoder-decoder, the decoder's.
        encoded: for an encoder-decoder, one encoder row for each decoder row.
        prefix: what each row of a causal model or of a decoder begins with; given, a cache is kept.
    """
    mask = inputs.mask.to(inputs.embeddings.device)
    if encoded is not None:
        from transformers.modeling_outputs import BaseModelOutput

        seen = mask if prefix is None else torch.cat([prefix.mask, mask], dim=1)
        given: dict[str, Any] = {
            # Behind a cache its values are not read any more, its shape is.
            "encoder_outputs": BaseModelOutput(last_hidden_state=encoded.states),
            "attention_mask": encoded.mask.long(),
            "decoder_inputs_embeds": inputs.embeddings,
            "decoder_attention_mask": seen.long(),
            "use_cache": prefix is not None,
        }
        return given if prefix is None else {**given, "past_key_values": prefix.cache()}
    found: dict[str, Any] = {"inputs_embeds": inputs.embeddings}
    found |= places(traits, mask, prefix, inputs.shift)
    if traits.segments and inputs.segments is not None:
        kinds = inputs.segments.to(mask.device)
        found["token_type_ids"] = kinds.clamp(max=traits.segments - 1)
    if traits.family == "causal":
        found["use_cache"] = prefix is not None
    return found


def places(
    traits: Traits, mask: Tensor, prefix: Prefix | None, shift: Tensor | int = 0
) -> dict[str, Any]:
    """The mask of all that is seen, the position of all that is new, and the cache between.

    Args:
        shift: by how much the positions of each row of a causal model are moved, `[B]`.
    """
    seen = mask if prefix is None else torch.cat([prefix.mask, mask], dim=1)
    found: dict[str, Any] = {"attention_mask": seen.long()}
    if traits.takes_positions:
        positions = positions_from_mask(seen, traits.first_position)
        positions = positions[:, seen.shape[1] - mask.shape[1] :]
        if isinstance(shift, Tensor) and traits.family == "causal":
            positions = positions + shift[:, None]
        found["position_ids"] = positions
    if prefix is not None:
        found["past_key_values"] = prefix.cache()
    return found
