"""What must be known of an architecture beyond its config: one entry an exception, rules for the rest.

A new architecture that follows the common conventions needs no entry.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from softprompt.backbones.input_path import first_position, input_scale
from softprompt.errors import BackboneError
from softprompt.text.tokens import Family

# Relative positions without a table: the only limit is what the tokenizer declares.
NO_POSITION_LIMIT = frozenset({"t5", "mt5", "umt5", "longt5", "bloom"})
# f16 overflows in the feed-forward blocks of these (Raffel et al.'s bf16 training).
REFUSED_IN_F16 = frozenset({"t5", "mt5", "umt5", "longt5", "flan-t5"})


@dataclass(frozen=True)
class Traits:
    """How to feed a model.

    Args:
        family: which of the three interfaces.
        width: E, the input-embedding width.
        first_position: what the first real token's position is.
        limit: largest number of positions, or None.
        segments: how many segment ids the model has (0: it takes none).
        takes_positions: whether its forward accepts `position_ids`.
        scale, decoder_scale: what embeddings are multiplied by before the network, and before the
            decoder.
    """

    family: Family
    width: int
    first_position: int
    limit: int | None
    segments: int
    takes_positions: bool
    scale: float
    decoder_scale: float


def family_of(config: Any) -> Family:
    """Which family a config belongs to: by its declared class, else by the Auto mappings.

    Raises:
        BackboneError: no language-model class exists for it.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if getattr(config, "is_encoder_decoder", False):
        return "encoder_decoder"
    kind = config.model_type
    declared = (config.architectures or [""])[0]
    masked = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if declared.endswith("ForMaskedLM") and masked:
        return "masked"
    if declared.endswith(("ForCausalLM", "LMHeadModel")) and causal:
        return "causal"
    if masked:
        return "masked"
    if causal:
        return "causal"
    raise BackboneError(
        f"'{kind}' has no masked, causal or encoder-decoder language model in transformers; "
        "prompts need a language-model head"
    )


def traits_of(
    model: Any, config: Any, family: Family, ids: Int[Tensor, "2 T"], name: str
) -> Traits:
    """Read the traits off a loaded model and its config, and measure what neither says.

    Args:
        ids: what scales and positions are measured on.
        name: the model's, for messages.
    Raises:
        BackboneError: embeddings do not act as their ids, or a prompt would have no effect.
    """
    table = model.get_input_embeddings()
    parameters = inspect.signature(model.forward).parameters
    two = family == "encoder_decoder"
    takes_positions = "position_ids" in parameters and not two
    first = 0
    if takes_positions:
        first = first_position(model, ids, getattr(config, "pad_token_id", None), name)
    segments = int(getattr(config, "type_vocab_size", 0) or 0)
    return Traits(
        family=family,
        width=int(table.weight.shape[1]),
        first_position=first,
        limit=_limit(config, first),
        segments=segments if "token_type_ids" in parameters else 0,
        takes_positions=takes_positions,
        scale=input_scale(model.get_encoder() if two else model, table, ids, name),
        decoder_scale=input_scale(model.get_decoder(), table, ids, name) if two else 1.0,
    )


def _limit(config: Any, first: int) -> int | None:
    if config.model_type in NO_POSITION_LIMIT:
        return None
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(config, name, None)
        if value and int(value) > 0:
            return int(value) - first
    return None
