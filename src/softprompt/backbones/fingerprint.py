"""Which model a prompt was learned on: a hash of its architecture and of stored weights.

Hashed are a listed set of config keys, the input embedding and the last block, in the precision in
which the checkpoint stores them: loading the same file as f32 or bf16 gives the same hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.prompts.identity import BackboneIdentity

ARCHITECTURE_KEYS = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "embedding_size",
    "word_embed_proj_dim",
    "d_model",
    "num_hidden_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "d_ff",
    "feed_forward_proj",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "scale_embedding",
)
_SKETCHED = 32  # values kept in the clear, to tell another precision from another model
_BLOCK = re.compile(r"^(.*?\.(?:layers?|h|block|blocks|albert_layer_groups)\.)(\d+)\.")


def identity_of(
    model: nn.Module, config: Any, *, name: str, family: str, width: int, stored: torch.dtype
) -> BackboneIdentity:
    """Identify a loaded model.

    Args:
        model: the model, in any precision at least as fine as the stored one.
        stored: the precision of the checkpoint's floating-point weights.
    """
    keys = {key: getattr(config, key, None) for key in ARCHITECTURE_KEYS}
    architecture = hashlib.sha256(json.dumps(keys, sort_keys=True, default=str).encode())
    embedding: Tensor = model.get_input_embeddings().weight  # type: ignore[operator]
    weights = hashlib.sha256()
    sketch: list[float] = []
    for tensor in (embedding, *(p for _, p in last_block(model))):
        weights.update(_bytes(tensor, stored))
    flat = embedding.detach().float().reshape(-1)
    step = max(1, flat.numel() // _SKETCHED)
    sketch = [float(f"{value:.5g}") for value in flat[::step][:_SKETCHED].tolist()]
    return BackboneIdentity(
        name=name,
        family=family,
        architecture=architecture.hexdigest()[:16],
        weights=weights.hexdigest()[:16],
        dtype=str(stored).removeprefix("torch."),
        sketch=tuple(sketch),
        width=width,
    )


def last_block(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The named parameters of the last numbered block (of the decoder, where there are two)."""
    stacks: dict[str, int] = {}
    for name, _ in model.named_parameters():
        found = _BLOCK.match(name)
        if found:
            stacks[found[1]] = max(stacks.get(found[1], 0), int(found[2]))
    if not stacks:
        return sorted(model.named_parameters())
    stack = max(stacks, key=lambda prefix: ("decoder" in prefix, stacks[prefix], prefix))
    prefix = f"{stack}{stacks[stack]}."
    return sorted((n, p) for n, p in model.named_parameters() if n.startswith(prefix))


def block_of(name: str) -> tuple[str, int] | None:
    """Stack and number of the block that a parameter belongs to; None outside of all blocks."""
    found = _BLOCK.match(name)
    return None if found is None else (found[1], int(found[2]))


def _bytes(tensor: Tensor, stored: torch.dtype) -> bytes:
    plain = tensor.detach().to("cpu")
    if plain.is_floating_point():
        plain = plain.to(stored)
    return plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
