"""What our embeddings, masks and positions give is what the model itself gives for the ids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import pad_ids
from softprompt.backbones.kept_positions import keep_positions
from tests.backbones.by_hand import (
    all_hidden,
    all_logits,
    embedded,
    encoded_by,
    framed,
    same,
    text_ids,
)
from tests.tiny_models import TEXTS

DECODED = ("a good film", "dull", "it was the best", "好电影", "a", "one or two of them")


def _pad(backbone: Backbone) -> int:
    return backbone.tokenizer.pad or 0


def _own(backbone: Backbone, sequences: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Ids and mask as a user of transformers would make them, padded on the right."""
    ids, mask = pad_ids(sequences, _pad(backbone))
    return ids, mask.long()


@torch.no_grad()
def _own_logits(backbone: Backbone, **arguments: Tensor) -> Tensor:
    output: Tensor = backbone.model(**arguments).logits
    return output


def test_logits_equal_the_models_own_for_the_same_ids(backbone: Backbone) -> None:
    sequences = [framed(backbone, text_ids(backbone, text)) for text in TEXTS]
    ids, mask = _own(backbone, sequences)
    if backbone.family == "encoder_decoder":
        decoders = [(*backbone.decoder_start, *text_ids(backbone, text)) for text in DECODED]
        decoder_ids, decoder_mask = _own(backbone, decoders)
        expected = _own_logits(
            backbone,
            input_ids=ids,
            attention_mask=mask,
            decoder_input_ids=decoder_ids,
            decoder_attention_mask=decoder_mask,
        )
        encoded = encoded_by(backbone, embedded(backbone, sequences))
        got = all_logits(backbone, embedded(backbone, decoders, decoder=True), encoded)
    else:
        expected = _own_logits(backbone, input_ids=ids, attention_mask=mask)
        got = all_logits(backbone, embedded(backbone, sequences))
    for row, logits in enumerate(got):
        same(logits, expected[row, : len(logits)])


def test_pairs_get_the_segments_that_the_tokenizer_gives_them(masked: Backbone) -> None:
    tokenizer = masked.tokenizer.wrapped
    pair = tokenizer(TEXTS[0], TEXTS[1], return_tensors="pt", return_token_type_ids=True)
    ids = tuple(pair["input_ids"][0].tolist())
    segments = tuple(pair["token_type_ids"][0].tolist())
    own = {"input_ids": pair["input_ids"], "attention_mask": pair["attention_mask"]}
    if masked.traits.segments > 1:
        own["token_type_ids"] = pair["token_type_ids"]
    expected = _own_logits(masked, **own)[0]
    (got,) = all_logits(masked, embedded(masked, [ids], segments=[segments]))
    same(got, expected)


def test_segments_beyond_what_the_model_has_are_clamped_to_its_last(masked: Backbone) -> None:
    ids = framed(masked, text_ids(masked, TEXTS[0]))
    last = max(0, masked.traits.segments - 1)
    many = embedded(masked, [ids], segments=[tuple(range(len(ids)))])
    few = embedded(masked, [ids], segments=[tuple(min(i, last) for i in range(len(ids)))])
    assert torch.equal(all_logits(masked, many)[0], all_logits(masked, few)[0])


def test_hidden_states_are_the_last_ones_of_the_models_body(backbone: Backbone) -> None:
    sequences = [framed(backbone, text_ids(backbone, text)) for text in TEXTS]
    ids, mask = _own(backbone, sequences)
    model = backbone.model
    with torch.no_grad():
        if backbone.family == "encoder_decoder":
            decoders = [(*backbone.decoder_start, *text_ids(backbone, text)) for text in DECODED]
            decoder_ids, decoder_mask = _own(backbone, decoders)
            output = model(
                input_ids=ids,
                attention_mask=mask,
                decoder_input_ids=decoder_ids,
                decoder_attention_mask=decoder_mask,
                output_hidden_states=True,
            )
            expected = output.decoder_hidden_states[-1]
            encoded = encoded_by(backbone, embedded(backbone, sequences))
            got = all_hidden(backbone, embedded(backbone, decoders, decoder=True), encoded)
        else:
            output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            expected = output.hidden_states[-1]
            got = all_hidden(backbone, embedded(backbone, sequences))
    for row, states in enumerate(got):
        same(states, expected[row, : len(states)])


def test_rows_are_as_wide_as_the_input_embedding(backbone: Backbone) -> None:
    config = backbone.config
    widths = [getattr(config, n, None) for n in ("embedding_size", "word_embed_proj_dim")]
    expected = next((width for width in widths if width), config.hidden_size)
    assert backbone.width == expected
    assert backbone.rows([5, 6]).shape == (2, expected)


def test_the_rms_is_that_of_embeddings_as_the_network_receives_them(backbone: Backbone) -> None:
    table = backbone.rows(range(backbone.model.get_input_embeddings().weight.shape[0]))
    assert backbone.rms == pytest.approx(float(table.pow(2).mean().sqrt()), rel=1e-5)


def test_the_vocabulary_is_the_width_of_the_logits(backbone: Backbone) -> None:
    inputs = embedded(backbone, [framed(backbone, (7, 8))])
    encoded = None
    if backbone.family == "encoder_decoder":
        encoded = encoded_by(backbone, inputs)
        inputs = embedded(backbone, [backbone.decoder_start], decoder=True)
    assert all_logits(backbone, inputs, encoded)[0].shape[1] == backbone.vocabulary


def test_only_the_asked_positions_pass_the_head_and_the_hook_is_gone_afterwards(
    backbone: Backbone,
) -> None:
    ids, mask = _own(backbone, [framed(backbone, text_ids(backbone, text)) for text in TEXTS])
    arguments = {"input_ids": ids, "attention_mask": mask}
    if backbone.family == "encoder_decoder":
        arguments["decoder_input_ids"] = ids.clone()
    full = _own_logits(backbone, **arguments)
    rows, columns = torch.tensor([5, 0, 2, 2]), torch.tensor([1, 0, 2, 1])
    with keep_positions(backbone.model, rows, columns):
        kept = _own_logits(backbone, **arguments)
    assert kept.shape == (1, 4, full.shape[-1])
    same(kept[0], full[rows, columns])
    assert torch.equal(_own_logits(backbone, **arguments), full)


def test_the_hook_is_gone_after_an_error_too(backbone: Backbone) -> None:
    place = torch.tensor([0])
    with pytest.raises(RuntimeError, match="stop"), keep_positions(backbone.model, place, place):
        raise RuntimeError("stop")
    assert not backbone.model.get_output_embeddings()._forward_pre_hooks
