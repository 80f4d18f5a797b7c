"""Learned keys and values that every attention reads beside its own (prefix tuning).

Li & Liang 2021, "Prefix-Tuning", section 4.3. They enter through transformers' attention interface: a
model is set to an attention function that is the usual one wherever nothing is added, and a hook gives
each attention its own layer's tensors for one forward pass. So encoders, decoders and cross-attentions
are reached alike, without a copy of any forward, a cache, or places in the sequence. Knows modules and
tensors, not prompts. Dimensions: B rows, L layers, P learned positions, K heads of keys, D width of a
head, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from softprompt.backbones.inputs import Attended, Stack
from softprompt.errors import BackboneError

WITH_LEARNED, LOOKING = "softprompt_learned", "softprompt_looking"


@dataclass(frozen=True)
class Shape:
    """What one stack's learned keys and values must measure: layers, heads, width of a head."""

    layers: int
    heads: int
    width: int


@dataclass(frozen=True)
class Sites:
    """The attentions of a network, each stack in the order of its layers.

    Args:
        modules: by stack.
        shapes: by stack.
    """

    modules: Mapping[Stack, tuple[nn.Module, ...]]
    shapes: Mapping[Stack, Shape]


@contextmanager
def attending(sites: Sites, attended: Attended | None) -> Iterator[None]:
    """Within the block a forward pass of B rows attends to B rows of learned keys and values."""
    if attended is None:
        yield
        return
    with ExitStack() as hooks:
        for stack, tensor in attended.layers.items():
            keys, values = tensor.transpose(3, 4).unbind(dim=2)  # [B, L, K, P, D]
            for layer, module in enumerate(sites.modules[stack]):
                learned = keys[:, layer], values[:, layer], attended.there[stack]
                hook = module.register_forward_pre_hook(partial(_give, learned), with_kwargs=True)
                hooks.callback(hook.remove)
        yield


def _give(
    learned: tuple[Tensor, Tensor, Tensor],
    _module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {**kwargs, "learned": learned}


# --- the attention function -----------------------------------------------------------------------


def attend(
    module: nn.Module,
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B K T2 D"],
    value: Float[Tensor, "B K T2 D"],
    attention_mask: Tensor | None,
    learned: tuple[Tensor, Tensor, Tensor] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention, with learned keys and values before the others if there are any.

    Args:
        attention_mask: `[B or 1, H or 1, T, T2]`, boolean or added; None: all is seen, or in a causal
            attention what stands before.
        learned: keys and values `[B, K, P, D]`, and which of them are there, `[B, P]`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    usual: Callable[..., tuple[Tensor, Tensor | None]] = sdpa_attention_forward
    if learned is None:
        return usual(module, query, key, value, attention_mask, **kwargs)
    keys, values, there = learned
    new, old = query.shape[2], key.shape[2]
    causal = kwargs.pop("is_causal", None)
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if attention_mask is None:
        attention_mask = torch.ones(1, 1, new, old, dtype=torch.bool, device=key.device)
        if causal:
            attention_mask = attention_mask.tril(old - new)
    bias = kwargs.get("position_bias")
    if bias is not None:  # T5: a learned key stands at no distance
        kwargs["position_bias"] = nn.functional.pad(bias, (keys.shape[2], 0))
    return usual(
        module,
        query,
        torch.cat([keys.to(key.dtype), key], dim=2),
        torch.cat([values.to(value.dtype), value], dim=2),
        _widened(attention_mask, there),
        is_causal=False,
        **kwargs,
    )


def _widened(mask: Tensor, there: Bool[Tensor, "B P"]) -> Tensor:
    """A mask `[1 or B, h, T, T2]` with the learned positions in front, `[B, h, T, P+T2]`."""
    seen = there[:, None, None, :]
    if mask.dtype != torch.bool:
        hidden = torch.finfo(mask.dtype).min
        seen = torch.zeros_like(seen, dtype=mask.dtype).masked_fill(~seen, hidden)
    shape = (there.shape[0], *mask.shape[1:3])
    return torch.cat([seen.expand(*shape, -1), mask.expand(*shape, -1)], dim=-1)


# --- which attentions a network has ---------------------------------------------------------------


def find_sites(model: Any, run: Callable[[], object], lengths: tuple[int, int]) -> Sites:
    """Set a model to the attention function above and find its attentions by running it once.

    Args:
        model: a transformers model.
        run: a forward pass over it, of an encoder-decoder through both halves.
        lengths: T of the encoder and of the decoder, different ones.
    Raises:
        BackboneError: its attentions are not reached through transformers' attention interface.
    """
    seen: dict[nn.Module, tuple[int, Shape]] = {}

    def look(module: nn.Module, key: Tensor, _: Tensor) -> None:
        seen[module] = (key.shape[2], Shape(1, key.shape[1], key.shape[3]))

    with _watched(model, look):
        run()
    return _sorted(model, seen, lengths)


def read_keys(model: Any, sites: Sites, run: Callable[[], object]) -> dict[Stack, Tensor]:
    """The keys and values that each layer makes of one row, by stack, `[L, 2, T, K, D]`.

    Args:
        run: a forward pass of one row without learned keys.
    """
    seen: dict[nn.Module, Tensor] = {}

    def look(module: nn.Module, key: Tensor, value: Tensor) -> None:
        seen[module] = torch.stack([key[0], value[0]]).transpose(1, 2)  # [2, T, K, D]

    with _watched(model, look):
        run()
    return {
        stack: torch.stack([seen[module] for module in modules])
        for stack, modules in sites.modules.items()
    }


@contextmanager
def _watched(model: Any, look: Callable[[nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Within the block `look` is shown each attention's keys and values; no gradients."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def shown(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        look(module, key, value)
        return attend(module, query, key, value, mask, **kwargs)

    for name, function in ((WITH_LEARNED, attend), (LOOKING, shown)):
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, sdpa_mask)
    try:
        with torch.no_grad():
            model.set_attn_implementation(LOOKING)
            yield
    finally:
        model.set_attn_implementation(WITH_LEARNED)


def _sorted(
    model: Any, seen: Mapping[nn.Module, tuple[int, Shape]], lengths: tuple[int, int]
) -> Sites:
    """The attentions that ran, by stack."""
    two = bool(model.config.is_encoder_decoder)
    encoders = set(model.get_encoder().modules()) if two else set()
    modules: dict[Stack, list[nn.Module]] = {}
    shapes: dict[Stack, set[Shape]] = {}
    for module, (length, shape) in seen.items():
        stack: Stack = "self"
        if two:
            crossed: Stack = "cross" if length == lengths[0] else "decoder"
            stack = "encoder" if module in encoders else crossed
        modules.setdefault(stack, []).append(module)
        shapes.setdefault(stack, set()).add(shape)
    wanted = {"encoder", "decoder", "cross"} if two else {"self"}
    uneven = [stack for stack, found in shapes.items() if len(found) > 1]
    if set(modules) != wanted or uneven:
        why = f"layers of several sizes ({uneven[0]})" if uneven else "attentions of their own"
        raise BackboneError(
            f"{type(model).__name__} has {why}: learned keys and values cannot be put there; use a "
            "method of learned rows, such as prompt_tuning"
        )
    return Sites(
        {stack: tuple(found) for stack, found in modules.items()},
        {
            stack: Shape(len(modules[stack]), next(iter(found)).heads, next(iter(found)).width)
            for stack, found in shapes.items()
        },
    )
