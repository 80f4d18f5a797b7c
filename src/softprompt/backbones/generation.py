"""Greedy answers of any family: continued, decoded, or continued behind a cached beginning.

Beside `backbone.py` the only file that calls a model. Knows embeddings, masks and caches; not tasks
or templates. What "greedy" means is in `greedy.py`.

Dimensions: B rows, n tokens made.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from softprompt.backbones.arguments import Encoded, arguments, places
from softprompt.backbones.greedy import decode, until
from softprompt.backbones.inputs import Inputs, pads_first
from softprompt.backbones.kept_positions import keep_positions
from softprompt.backbones.prefix import Prefix
from softprompt.backbones.traits import Traits
from softprompt.errors import BackboneError


class _Network(Protocol):
    """What generates."""

    @property
    def model(self) -> Any: ...

    @property
    def traits(self) -> Traits: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def decoder_start(self) -> tuple[int, ...]: ...

    def embed(self, ids: Tensor, *, decoder: bool = False) -> Tensor: ...

    def encode(self, inputs: Inputs) -> Encoded: ...

    def attending(self, inputs: Inputs) -> AbstractContextManager[None]: ...


@torch.no_grad()
def generate(
    network: _Network,
    inputs: Inputs,
    max_new_tokens: int,
    decoder: Inputs | None = None,
    prefix: Prefix | None = None,
) -> list[tuple[int, ...]]:
    """Greedy continuation of each row; args and errors are those of `Backbone.generate`, embeddings
    in the network's precision."""
    if network.traits.family == "masked":
        raise BackboneError(
            "a masked backbone fills slots and cannot generate free text; use an "
            "encoder-decoder or causal backbone"
        )
    made: list[tuple[int, ...]] = [()] * len(inputs.mask)
    for most, rows in _room(network, inputs, decoder, prefix, max_new_tokens).items():
        chosen = torch.tensor(rows, device=inputs.mask.device)
        part, begun = inputs.rows(chosen), decoder and decoder.rows(chosen)
        held = prefix
        if held is None and network.traits.family == "causal" and part.attended is not None:
            held = Prefix.nothing(inputs.mask.to(network.device), decoder=False)
        if held is not None:
            whole = len(rows) == len(made)
            out = _extend(network, part, held if whole else held.rows(rows), most)
        elif network.traits.family == "causal":
            out = _continue(network, pads_first(part), most)
        else:
            out = _decode(network, network.encode(part), begun, most)
        settings = network.model.generation_config
        ends = (*(settings.eos_token_id or ()), settings.pad_token_id)
        for row, ids in zip(rows, out.tolist(), strict=True):
            made[row] = until(ids, ends)
    return made


def _room(
    network: _Network, inputs: Inputs, decoder: Inputs | None, prefix: Prefix | None, most: int
) -> dict[int, list[int]]:
    """Which rows may generate how many tokens: `most`, or up to the last position.

    Only a row that is itself near the limit stops there, whatever it shares a batch with.
    """
    lengths = (inputs.mask.sum(dim=1) + inputs.shift).tolist()
    if prefix is not None:
        before = prefix.mask.sum(dim=1).tolist()
        lengths = [one + other for one, other in zip(lengths, before, strict=True)]
    if network.traits.family == "encoder_decoder":
        begun = len(network.decoder_start) if decoder is None else decoder.mask.shape[1]
        lengths = [begun] * len(lengths)
    limit = network.traits.limit
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        room = most if limit is None else min(most, limit - length)
        if room > 0:
            groups.setdefault(room, []).append(row)
    return groups


def _continue(network: _Network, inputs: Inputs, most: int) -> Int[Tensor, "B n"]:
    made: Tensor = network.model.generate(
        inputs_embeds=inputs.embeddings,
        attention_mask=inputs.mask.to(network.device).long(),
        max_new_tokens=most,
    )
    return made


def _decode(
    network: _Network, encoded: Encoded, decoder: Inputs | None, most: int
) -> Int[Tensor, "B n"]:
    """`generate` of transformers takes ids only for a decoder: no learned rows among them."""
    count = len(encoded.mask)
    if decoder is None:
        start = torch.tensor([network.decoder_start] * count)
        mask = torch.ones_like(start, dtype=torch.bool)
        decoder = Inputs(network.embed(start, decoder=True), mask)
    if not bool(decoder.mask.all()):
        raise BackboneError("decoder rows of several lengths, expected one length in a batch")
    given = arguments(network.traits, decoder, encoded) | {"use_cache": True}
    del given["decoder_attention_mask"]  # no pads: whatever the cache holds is seen

    def step(last: Tensor | None) -> Tensor:
        if last is not None:
            given["decoder_inputs_embeds"] = network.embed(last[:, None], decoder=True)
        with network.attending(decoder):
            output = network.model(**given)
        given["past_key_values"] = output.past_key_values
        return output.logits[:, -1]  # type: ignore[no-any-return]

    return decode(step, _ends(network), most)


def _extend(network: _Network, inputs: Inputs, prefix: Prefix, most: int) -> Int[Tensor, "B n"]:
    """`generate` of transformers gives wrong tokens for embeddings behind a cache, without a word.

    The text runs behind its beginning, then all that is cached moves together, pads first: what
    is generated stands directly behind it in every row, as it does in a row alone.
    """
    mask = inputs.mask.to(network.device)
    rows, last_places = torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1
    held = prefix

    def step(last: Tensor | None) -> Tensor:
        nonlocal held
        if last is None:
            with keep_positions(network.model, rows, last_places), network.attending(inputs):
                output = network.model(**arguments(network.traits, inputs, prefix=held))
            seen = torch.cat([held.mask, mask], dim=1)
            held = Prefix.of(output.past_key_values, seen).pads_first()
            return output.logits[0]  # type: ignore[no-any-return]
        new = torch.ones_like(mask[:, :1])
        behind = places(network.traits, new, held, inputs.shift)
        with network.attending(inputs):
            output = network.model(input_ids=last[:, None], use_cache=True, **behind)
        held = Prefix.of(output.past_key_values, torch.cat([held.mask, new], dim=1))
        return output.logits[:, -1]  # type: ignore[no-any-return]

    return decode(step, _ends(network), most)


def _ends(network: _Network) -> Int[Tensor, " e"]:
    return torch.tensor(network.model.generation_config.eos_token_id or [], device=network.device)
