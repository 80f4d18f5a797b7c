"""A row means the same alone, among longer rows, in another order, and whatever side is padded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pads_first, positions_from_mask
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.inference.applied import apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import predict
from softprompt.prompts.addition import Addition
from softprompt.text.answers import FreeText, Verbalizer
from softprompt.text.template import parse
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
from tests.backbones.conftest import Tiny
from tests.tiny_models import TEXTS, save_checkpoint

ORDER = (3, 0, 5, 1, 4, 2)
WORDS = Verbalizer.read({"good": ["good", "very great"], "bad": "terrible", "zh": "很好"})


def _sequences(backbone: Backbone) -> list[tuple[int, ...]]:
    """Texts with one to six rows before each."""
    return [
        framed(backbone, learned(1 + number), text_ids(backbone, text, continues=True))
        for number, text in enumerate(TEXTS)
    ]


def _prompt(backbone: Backbone) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return backbone.rms * torch.randn(6, backbone.width, generator=generator)


def _read(backbone: Backbone, sequences: list[tuple[int, ...]], what: str) -> list[torch.Tensor]:
    """Logits or hidden states of each row; of an encoder-decoder, of the decoder."""
    read = all_logits if what == "logits" else all_hidden
    inputs = embedded(backbone, sequences, prompt=one_prompt(_prompt(backbone)))
    if backbone.family != "encoder_decoder":
        return read(backbone, inputs)
    ordinary = [[i for i in ids if i > 9][:7] for ids in sequences]
    decoders = [(*backbone.decoder_start, *ids) for ids in ordinary]
    decoder = embedded(backbone, decoders, decoder=True)
    return read(backbone, decoder, encoded_by(backbone, inputs))


@pytest.mark.parametrize("what", ["logits", "hidden"])
def test_a_row_alone_in_a_batch_and_in_another_order_is_the_same(
    backbone: Backbone, what: str
) -> None:
    sequences = _sequences(backbone)
    together = _read(backbone, sequences, what)
    shuffled = _read(backbone, [sequences[place] for place in ORDER], what)
    for number, row in enumerate(together):
        same(_read(backbone, [sequences[number]], what)[0], row)
        same(shuffled[ORDER.index(number)], row)


def test_generated_tokens_are_the_same_alone_in_a_batch_and_in_another_order(
    generator: Backbone,
) -> None:
    def made(places: tuple[int, ...]) -> list[tuple[int, ...]]:
        sequences = [_sequences(generator)[place] for place in places]
        prompt = one_prompt(_prompt(generator))
        side = "left" if generator.family == "causal" else "right"
        return generator.generate(embedded(generator, sequences, prompt=prompt, side=side), 8)

    together = made((0, 1, 2, 3, 4, 5))
    shuffled = made(ORDER)
    for number, row in enumerate(together):
        assert made((number,)) == [row]
        assert shuffled[ORDER.index(number)] == row
    assert len(set(together)) > 1


def test_a_causal_generator_accepts_pads_on_either_side(causal: Backbone) -> None:
    prompt = one_prompt(_prompt(causal))
    right = embedded(causal, _sequences(causal), prompt=prompt, side="right")
    left = embedded(causal, _sequences(causal), prompt=prompt, side="left")
    assert causal.generate(right, 6) == causal.generate(left, 6)


def test_pads_move_to_the_front_and_rows_keep_their_order() -> None:
    embeddings = torch.arange(6.0).view(2, 3, 1)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    moved = pads_first(Inputs(embeddings, mask, torch.tensor([[0, 1, 9], [2, 3, 4]])))
    assert moved.mask.tolist() == [[False, True, True], [True, True, True]]
    assert moved.embeddings[..., 0].tolist() == [[2.0, 0.0, 1.0], [3.0, 4.0, 5.0]]
    assert moved.segments is not None
    assert moved.segments.tolist() == [[9, 0, 1], [2, 3, 4]]


def test_padding_side_does_not_change_causal_scores(causal: Backbone) -> None:
    prompt = one_prompt(_prompt(causal))
    sequences = _sequences(causal)
    right = all_logits(causal, embedded(causal, sequences, prompt=prompt, side="right"))
    left = all_logits(causal, embedded(causal, sequences, prompt=prompt, side="left"))
    for a, b in zip(left, right, strict=True):
        same(a, b)


def test_what_stands_at_pads_does_not_matter(backbone: Backbone) -> None:
    inputs = embedded(backbone, _sequences(backbone), prompt=one_prompt(_prompt(backbone)))
    noise = 3.0 * torch.randn(inputs.embeddings.shape, generator=torch.Generator().manual_seed(1))
    other = Inputs(
        torch.where(inputs.mask[..., None], inputs.embeddings, noise), inputs.mask, inputs.segments
    )
    if backbone.family == "encoder_decoder":
        start = embedded(backbone, [backbone.decoder_start] * len(TEXTS), decoder=True)
        pairs = zip(
            all_logits(backbone, start, encoded_by(backbone, other)),
            all_logits(backbone, start, encoded_by(backbone, inputs)),
            strict=True,
        )
    else:
        pairs = zip(all_logits(backbone, other), all_logits(backbone, inputs), strict=True)
    for got, expected in pairs:
        same(got, expected)


def test_predictions_are_the_same_alone_in_a_batch_and_in_another_order(backbone: Backbone) -> None:
    source = "{text} it was {mask}." if backbone.family == "masked" else "{text} it was"
    objective = resolve_objective(ObjectiveSettings(), backbone.family, False)
    applied = apply(backbone, parse(source), WORDS, objective, n_rows=6)
    applied = applied.with_addition(Addition(_prompt(backbone)))
    items = [(0, Example(str(n), {"text": text})) for n, text in enumerate(TEXTS)]
    together = predict(backbone, [applied], items)
    shuffled = predict(backbone, [applied], [items[place] for place in ORDER], token_budget=40)
    for number, one in enumerate(together):
        assert shuffled[ORDER.index(number)].id == one.id
        for other in (
            predict(backbone, [applied], [items[number]])[0],
            shuffled[ORDER.index(number)],
        ):
            assert other.label == one.label
            assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)


def test_generated_answers_are_the_same_alone_and_beside_a_longer_answer(
    generator: Backbone,
) -> None:
    objective = resolve_objective(ObjectiveSettings(), generator.family, True)
    applied = [apply(generator, parse("{text} so"), FreeText(most), objective) for most in (3, 9)]
    items = [(n % 2, Example(str(n), {"text": text})) for n, text in enumerate(TEXTS)]
    together = predict(generator, applied, items)
    assert [predict(generator, applied, [item])[0].text for item in items] == [
        prediction.text for prediction in together
    ]


@pytest.mark.parametrize("name", ["bert", "bart", "gpt2", "llama"])
def test_the_tokenizers_padding_side_and_truncation_have_no_effect(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    options = {"padding_side": "left", "truncation_side": "left"}
    other = load_backbone(
        save_checkpoint(name, tmp_path / name, tokenizer_options=options), device="cpu"
    )
    assert other.tokenizer.wrapped.padding_side == "left"
    sequences = _sequences(tiny(name))
    assert _sequences(other) == sequences
    for got, expected in zip(
        _read(other, sequences, "logits"), _read(tiny(name), sequences, "logits"), strict=True
    ):
        assert torch.equal(got, expected)


def test_positions_count_real_tokens_from_the_first_one() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    assert positions_from_mask(mask, 0).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 0, 0]]
    # fairseq's rule with padding_idx 1: real tokens from 2, pads at the padding index itself
    assert positions_from_mask(mask, 2).tolist() == [[1, 1, 2, 3, 4], [2, 3, 4, 1, 1]]
