"""Learned keys and values are read by every attention, by each row its own, and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from softprompt.backbones.attended import read_keys
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Attended, Inputs
from softprompt.backbones.loading import load_backbone
from softprompt.errors import BackboneError
from tests.backbones.by_hand import all_logits, embedded, everywhere, same
from tests.backbones.conftest import Checkpoints, Tiny
from tests.tiny_models import ARCHITECTURES, TEXTS

OWN_ATTENTION = ("bloom", "deberta", "deberta-v2", "deberta-v2-own-head")
REACHED = [name for name in ARCHITECTURES if name not in OWN_ATTENTION]
LENGTHS = (3, 1, 0, 4, 2, 3)
"""Learned positions of each row: prompts of several lengths meet in a batch, and one with none."""


@pytest.fixture(params=REACHED)
def reached(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)


def learned(backbone: Backbone, lengths: Sequence[int] = LENGTHS) -> Attended:
    generator = torch.Generator().manual_seed(3)
    most = max(lengths)
    layers = {
        stack: torch.randn(
            (len(lengths), s.layers, 2, most, s.heads, s.width), generator=generator
        ).to(backbone.dtype)
        for stack, s in backbone.attentions.shapes.items()
    }
    return Attended(
        layers, dict.fromkeys(layers, torch.arange(most) < torch.tensor(lengths)[:, None])
    )


def inputs_of(
    backbone: Backbone,
    attended: Attended | None,
    *,
    texts: Sequence[str] = TEXTS,
    decoder: bool = False,
) -> Inputs:
    rows = [backbone.tokenizer.encode(text, continues=False).ids for text in texts]
    if decoder:
        rows = [(*backbone.decoder_start, *ids[:3]) for ids in rows]
    return replace(embedded(backbone, rows, decoder=decoder), attended=attended)


def run(backbone: Backbone, attended: Attended | None, texts: Sequence[str] = TEXTS) -> Tensor:
    """Logits at all positions row by row, of an encoder-decoder in the decoder."""
    encoded = None
    two = backbone.family == "encoder_decoder"
    if two:
        encoded = backbone.encode(inputs_of(backbone, attended, texts=texts))
    inputs = inputs_of(backbone, attended, texts=texts, decoder=two)
    return backbone.logits(inputs, *everywhere(inputs), encoded)


@torch.no_grad()
def test_where_none_is_there_nothing_changes(reached: Backbone) -> None:
    attended = learned(reached)
    none = {stack: torch.zeros_like(there) for stack, there in attended.there.items()}
    nothing = replace(attended, there=none)
    before = run(reached, None)
    same(run(reached, nothing), before)
    assert float((run(reached, attended) - before).abs().max()) > 1e-3


def test_every_layer_of_every_stack_receives_a_gradient_and_pads_none(reached: Backbone) -> None:
    attended = learned(reached)
    for tensor in attended.layers.values():
        tensor.requires_grad_()
    scores = torch.log_softmax(run(reached, attended), dim=-1)[:, :4].sum()
    found = torch.autograd.grad(scores, list(attended.layers.values()))
    for gradient, there in zip(found, attended.there.values(), strict=True):
        reaches = gradient.abs().sum(dim=(0, 3, 4, 5))  # [L, 2]
        assert bool((reaches > 0).all())
        assert float(gradient.transpose(1, 3)[~there].abs().max()) == 0.0


@torch.no_grad()
def test_each_row_reads_its_own_and_is_what_it_is_alone(reached: Backbone) -> None:
    attended = learned(reached)
    together = run(reached, attended)
    alone = []
    for row, (length, text) in enumerate(zip(LENGTHS, TEXTS, strict=True)):
        own = {stack: t[[row], :, :, :length] for stack, t in attended.layers.items()}
        beside = Attended(own, dict.fromkeys(own, torch.ones(1, length, dtype=torch.bool)))
        alone.append(run(reached, beside, [text]))
    same(torch.cat(alone), together, 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "opt", "llama", "qwen3", "phi3"])
def test_on_a_causal_model_they_are_a_cache_that_was_learned(
    name: str, checkpoint: Checkpoints
) -> None:
    backbone = load_backbone(checkpoint(name), device="cpu", precision="float64")
    attended = learned(backbone, [3] * len(TEXTS))
    inputs = inputs_of(backbone, attended)
    cache = DynamicCache()
    for number, (keys, values) in enumerate(
        (layer[:, 0].transpose(1, 2), layer[:, 1].transpose(1, 2))
        for layer in attended.layers["self"].unbind(dim=1)
    ):
        cache.update(keys, values, number)
    mask = torch.cat([attended.there["self"], inputs.mask], dim=1).long()
    expected = backbone.model(
        inputs_embeds=inputs.embeddings, attention_mask=mask, past_key_values=cache
    ).logits
    rows, columns = everywhere(inputs)
    got = backbone.logits(inputs, rows, columns)
    tolerance = 1e-10 if name in ("gpt2", "opt") else 1e-6
    same(got, expected[rows, columns].to(got.dtype), tolerance)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral"])
def test_behind_a_cached_beginning_they_are_what_they_are_beside_whole_rows(
    name: str, tiny: Tiny
) -> None:
    backbone = tiny(name)
    texts = [text for text in TEXTS if " " in text]
    attended = learned(backbone, LENGTHS[: len(texts)])
    inputs = inputs_of(backbone, attended, texts=texts)
    width = int(inputs.mask.sum(dim=1).min()) - 1
    first = replace(inputs, embeddings=inputs.embeddings[:, :width], mask=inputs.mask[:, :width])
    rest = replace(inputs, embeddings=inputs.embeddings[:, width:], mask=inputs.mask[:, width:])
    begun = backbone.prefill(first, *everywhere(first))[1]
    got = backbone.logits(rest, *everywhere(rest), prefix=begun)
    expected = [row[width:] for row in all_logits(backbone, inputs)]
    same(got, torch.cat(expected))


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "mistral", "t5", "bart"])
def test_generated_answers_are_those_of_taking_the_best_token_again_and_again(
    name: str, tiny: Tiny
) -> None:
    backbone = tiny(name)
    attended, most = learned(backbone), 4
    inputs = inputs_of(backbone, attended)
    settings = backbone.model.generation_config
    ends = {*(settings.eos_token_id or ()), settings.pad_token_id}
    two = backbone.family == "encoder_decoder"
    begun = None
    if two:
        start = [backbone.decoder_start] * len(TEXTS)
        begun = replace(embedded(backbone, start, decoder=True), attended=attended)
    made = backbone.generate(inputs, most, begun)
    for row, answer in enumerate(made):
        own = attended.rows(torch.tensor([row]))
        width = int(inputs.mask[row].sum())
        seen = inputs.embeddings[[row], :width]
        encoded = None
        if two:
            there = torch.ones(1, width, dtype=torch.bool)
            encoded = backbone.encode(Inputs(seen, there, None, own))
            seen = backbone.embed(torch.tensor([backbone.decoder_start]), decoder=True)
        found: list[int] = []
        while len(found) < most:
            there = torch.ones(1, seen.shape[1], dtype=torch.bool)
            last = torch.tensor([seen.shape[1] - 1])
            one = Inputs(seen, there, None, own)
            logits = backbone.logits(one, torch.tensor([0]), last, encoded)
            token = int(logits[0].argmax())
            if token in ends:
                break
            found.append(token)
            new = backbone.embed(torch.tensor([[token]]), decoder=two)
            seen = torch.cat([seen, new], dim=1)
        assert answer == tuple(found)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral"])
def test_the_keys_that_are_read_of_a_text_are_those_that_a_cache_holds(
    name: str, tiny: Tiny
) -> None:
    backbone = tiny(name)
    ids = backbone.tokenizer.encode(TEXTS[0], continues=False).ids
    inputs = embedded(backbone, [ids])
    begun = backbone.prefill(inputs, *everywhere(inputs))[1]
    row = torch.tensor([ids])
    found = read_keys(backbone.model, backbone.attentions, lambda: backbone.model(row))["self"]
    for layer, (keys, values) in zip(found, begun.layers, strict=True):
        same(layer[0].transpose(0, 1), keys[0])
        same(layer[1].transpose(0, 1), values[0])


@pytest.mark.parametrize("name", OWN_ATTENTION)
def test_attentions_that_cannot_be_reached_are_refused(name: str, tiny: Tiny) -> None:
    with pytest.raises(BackboneError, match="learned keys and values cannot be put there"):
        _ = tiny(name).attentions
