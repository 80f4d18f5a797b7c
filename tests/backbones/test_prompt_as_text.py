"""Identity: a prompt made of a text's embeddings gives the logits of the text itself."""

from __future__ import annotations

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.inference.assemble import assemble
from softprompt.inference.scoring import score
from softprompt.text.query import Query, Read
from softprompt.text.rendering import Rendering
from tests.backbones.by_hand import (
    all_hidden,
    all_logits,
    embedded,
    encoded_by,
    framed,
    learned,
    one_prompt,
    same,
    text_ids,
)
from tests.tiny_models import TEXTS

FIRST, SECOND, ANSWER = TEXTS[0], "and not so dull!", "it was funny"


def test_masked_rows_among_text_masks_and_segments_act_as_their_text(masked: Backbone) -> None:
    tokenizer = masked.tokenizer
    a, b = text_ids(masked, FIRST), text_ids(masked, SECOND, continues=True)
    assert tokenizer.mask is not None
    c = text_ids(masked, TEXTS[1])
    tail = (*b, tokenizer.mask, tokenizer.mask, *tokenizer.between, *c)
    plain = framed(masked, a, tail)
    soft = framed(masked, learned(len(a)), tail)
    border = len(plain) - len(c) - len(tokenizer.end)
    segments = tuple(int(place >= border) for place in range(len(plain)))
    prompt = one_prompt(masked.rows(a))
    expected = all_logits(masked, embedded(masked, [plain], segments=[segments]))
    got = all_logits(masked, embedded(masked, [soft], prompt=prompt, segments=[segments]))
    same(got[0], expected[0])


def test_causal_rows_act_as_their_text(causal: Backbone) -> None:
    a, b = text_ids(causal, FIRST), text_ids(causal, SECOND, continues=True)
    expected = all_logits(causal, embedded(causal, [framed(causal, a, b)]))
    soft = embedded(causal, [framed(causal, learned(len(a)), b)], prompt=one_prompt(causal.rows(a)))
    same(all_logits(causal, soft)[0], expected[0])


def test_rows_in_the_middle_and_twice_act_as_their_text(backbone: Backbone) -> None:
    a, b = text_ids(backbone, FIRST, continues=True), text_ids(backbone, SECOND)
    prompt = one_prompt(backbone.rows(a))
    plain = embedded(backbone, [framed(backbone, b, a, b, a)])
    rows = learned(len(a))
    soft = embedded(backbone, [framed(backbone, b, rows, b, rows)], prompt=prompt)
    if backbone.family == "encoder_decoder":
        same(encoded_by(backbone, soft).states, encoded_by(backbone, plain).states)
    else:
        same(all_hidden(backbone, soft)[0], all_hidden(backbone, plain)[0])


def test_rows_of_the_encoder_act_as_their_text(encoder_decoder: Backbone) -> None:
    backbone = encoder_decoder
    a, b = text_ids(backbone, FIRST), text_ids(backbone, SECOND, continues=True)
    answer = [(*backbone.decoder_start, *text_ids(backbone, ANSWER))]
    decoder = embedded(backbone, answer, decoder=True)
    plain = encoded_by(backbone, embedded(backbone, [framed(backbone, a, b)]))
    prompt = one_prompt(backbone.rows(a))
    soft = encoded_by(
        backbone, embedded(backbone, [framed(backbone, learned(len(a)), b)], prompt=prompt)
    )
    expected = all_logits(backbone, decoder, plain)
    same(all_logits(backbone, decoder, soft)[0], expected[0])


def test_rows_of_the_decoder_act_as_their_text(encoder_decoder: Backbone) -> None:
    backbone = encoder_decoder
    a, b = text_ids(backbone, FIRST), text_ids(backbone, SECOND, continues=True)
    encoded = encoded_by(backbone, embedded(backbone, [framed(backbone, b)]))
    start = backbone.decoder_start
    plain = embedded(backbone, [(*start, *a, *b)], decoder=True)
    prompt = one_prompt(backbone.rows(a, decoder=True))
    soft = embedded(backbone, [(*start, *learned(len(a)), *b)], prompt=prompt, decoder=True)
    same(all_logits(backbone, soft, encoded)[0], all_logits(backbone, plain, encoded)[0])


def test_queries_with_rows_score_as_queries_with_their_text(backbone: Backbone) -> None:
    a, b = text_ids(backbone, FIRST), text_ids(backbone, SECOND, continues=True)
    answer = text_ids(backbone, ANSWER)
    mask = backbone.tokenizer.mask

    def rendering(front: tuple[int, ...]) -> Rendering:
        if backbone.family == "encoder_decoder":
            start = backbone.decoder_start
            ids, decoder = framed(backbone, front, b), (*start, *answer[:-1])
            places = tuple(range(len(start) - 1, len(decoder)))
        elif backbone.family == "causal":
            ids, decoder = (*framed(backbone, front, b), *answer[:-1]), None
            places = tuple(range(len(ids) - len(answer), len(ids)))
        else:
            assert mask is not None
            ids, decoder = framed(backbone, front, b, (mask,) * len(answer)), None
            first = len(backbone.tokenizer.start) + len(front) + len(b)
            places = tuple(range(first, first + len(answer)))
        query = Query(ids, (0,) * len(ids), (Read(0, places, answer),), decoder)
        return Rendering((query,), ("it",), (0,))

    prompt = one_prompt(backbone.rows(a))
    with torch.no_grad():
        expected = score(backbone, None, [rendering(a)], [0])
        got = score(backbone, prompt, [rendering(learned(len(a)))], [0])
    same(got.summed, expected.summed)
    batch = assemble(backbone, prompt, rendering(learned(len(a))).queries, [0], [0])
    received = batch.inputs[0] if batch.encoder is None else batch.encoder
    assert received.embeddings.shape[-1] == backbone.width


def test_every_row_of_a_prompt_changes_the_logits(backbone: Backbone) -> None:
    """What the identity tests would not notice: a prompt that nothing looks at."""
    a = text_ids(backbone, FIRST)
    sequence = framed(backbone, learned(len(a)), text_ids(backbone, SECOND, continues=True))
    start = [(*backbone.decoder_start, *a)] if backbone.family == "encoder_decoder" else []

    def read(rows: torch.Tensor) -> torch.Tensor:
        inputs = embedded(backbone, [sequence], prompt=one_prompt(rows))
        if backbone.family != "encoder_decoder":
            return all_logits(backbone, inputs)[0]
        decoder = embedded(backbone, start, decoder=True)
        return all_logits(backbone, decoder, encoded_by(backbone, inputs))[0]

    rows = backbone.rows(a)
    unchanged = read(rows)
    for row in range(len(a)):
        changed = rows.clone()
        changed[row] = -changed[row]
        # anywhere: of a sliding window only the next positions see the row itself
        assert float((read(changed) - unchanged).abs().max()) > 1e-3
