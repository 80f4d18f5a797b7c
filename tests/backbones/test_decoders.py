"""Decoders: where they start, sentinels, reconstruction, several tokens, several candidates, greedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import TemplateError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import predict
from softprompt.inference.scoring import score
from softprompt.text.answers import Answers, FreeText, Verbalizer
from softprompt.text.template import parse
from tests.backbones.by_hand import embedded, framed, learned, one_prompt, same, text_ids
from tests.backbones.conftest import Tiny
from tests.tiny_models import TEXTS, save_checkpoint

WORDS = Verbalizer.read({"good": ["good", "very great"], "bad": "terrible", "so": "so so so"})
T5 = ["t5", "t5-1.1", "mt5"]
EXAMPLE = Example("one", {"text": TEXTS[0]})
EXPECTED_START = {"t5": (0,), "mt5": (0,), "pegasus": (0,), "bart": (2, 0)}


def bound(
    backbone: Backbone,
    source: str,
    answers: Answers = WORDS,
    *,
    prediction: Literal["auto", "rank", "greedy"] = "auto",
    sentinel_answers: bool = False,
) -> Applied:
    settings = ObjectiveSettings(prediction=prediction, sentinel_answers=sentinel_answers)
    objective = resolve_objective(settings, backbone.family, isinstance(answers, FreeText))
    return apply(backbone, parse(source), answers, objective)


@torch.no_grad()
def log_p(
    backbone: Backbone, ids: Sequence[int], decoder: Sequence[int], answer: Sequence[int]
) -> float:
    """Σ log p of an answer's tokens by the model's own forward on ids, one sequence."""
    row = torch.tensor([[*decoder, *answer]])
    if backbone.family == "encoder_decoder":
        logits = backbone.model(input_ids=torch.tensor([list(ids)]), decoder_input_ids=row).logits
    else:
        logits = backbone.model(input_ids=row).logits
    table = logits[0].log_softmax(dim=-1)
    first = len(decoder)
    return sum(float(table[first + n - 1, token]) for n, token in enumerate(answer))


def scored(backbone: Backbone, applied: Applied) -> list[float]:
    with torch.no_grad():
        return score(backbone, None, [applied.render(EXAMPLE)], [0]).summed.tolist()


def word_ids(backbone: Backbone) -> list[tuple[int, ...]]:
    """Every candidate of WORDS as the beginning of a decoder's text."""
    words = [candidate.words[0] for candidate in WORDS.candidates(None)]
    return [text_ids(backbone, word) for word in words]


def test_decoders_start_as_they_were_taught(encoder_decoder: Backbone) -> None:
    assert encoder_decoder.decoder_start == EXPECTED_START[encoder_decoder.config.model_type]


def test_every_candidate_scores_as_its_own_forward_pass(encoder_decoder: Backbone) -> None:
    backbone = encoder_decoder
    ids = framed(backbone, text_ids(backbone, f"{TEXTS[0]} it was"))
    end = backbone.tokenizer.end
    expected = [
        log_p(backbone, ids, backbone.decoder_start, (*word, *end)) for word in word_ids(backbone)
    ]
    got = scored(backbone, bound(backbone, "{text} it was"))
    assert max(map(len, word_ids(backbone))) > 1
    same(torch.tensor(got), torch.tensor(expected))


def test_candidates_of_one_batch_score_as_one_at_a_time(generator: Backbone) -> None:
    together = scored(generator, bound(generator, "{text} it was"))
    words = [candidate.words[0] for candidate in WORDS.candidates(None)]
    apart = []
    for word in words:
        alone = Verbalizer.read({"one": word})
        apart += scored(generator, bound(generator, "{text} it was", alone))
    same(torch.tensor(together), torch.tensor(apart))


def test_causal_candidates_score_as_their_own_forward_pass(causal: Backbone) -> None:
    words = [candidate.words[0] for candidate in WORDS.candidates(None)]
    text = f"{TEXTS[0]} it was"
    stem = (*causal.tokenizer.start, *text_ids(causal, text))
    answers = [text_ids(causal, f" {word}", continues=True) for word in words]
    expected = [log_p(causal, (), stem, answer) for answer in answers]
    same(torch.tensor(scored(causal, bound(causal, "{text} it was"))), torch.tensor(expected))


@pytest.mark.parametrize("name", T5)
def test_an_answer_may_begin_with_a_sentinel(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    ids = framed(backbone, text_ids(backbone, f"{TEXTS[0]} it was"))
    start = (*backbone.decoder_start, backbone.tokenizer.sentinels[0])
    expected = [
        log_p(backbone, ids, start, (*w, *backbone.tokenizer.end)) for w in word_ids(backbone)
    ]
    got = scored(backbone, bound(backbone, "{text} it was", sentinel_answers=True))
    same(torch.tensor(got), torch.tensor(expected))


@pytest.mark.parametrize("name", T5)
def test_a_slot_in_the_text_is_a_sentinel_to_fill(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    first, second = backbone.tokenizer.sentinels[:2]
    before = text_ids(backbone, f"{TEXTS[0]} it was")
    after = text_ids(backbone, " and not dull", continues=True)
    ids = framed(backbone, before, (first,), after)
    words = [
        text_ids(backbone, f" {candidate.words[0]}", continues=True)
        for candidate in WORDS.candidates(None)
    ]
    start = (*backbone.decoder_start, first)
    expected = [log_p(backbone, ids, start, (*word, second)) for word in words]
    got = scored(backbone, bound(backbone, "{text} it was {mask} and not dull"))
    same(torch.tensor(got), torch.tensor(expected))


@pytest.mark.parametrize("name", T5)
def test_two_slots_are_two_sentinels(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    answers = Verbalizer.read({"good": [["good", "great"]], "bad": [["bad", "very dull"]]}, 2)
    rendering = bound(backbone, "{text} {mask} and {mask}", answers).render(EXAMPLE)
    sentinels = backbone.tokenizer.sentinels
    for query in rendering.queries:
        assert [i for i in query.ids if i in sentinels] == list(sentinels[:2])
        decoder = [*(query.decoder or ()), query.reads[0].tokens[-1]]
        assert [i for i in decoder if i in sentinels] == list(sentinels[:3])


@pytest.mark.parametrize("name", ["bart", "bart-scaled"])
def test_bart_reconstructs_the_text_with_the_answer_in_it(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    mask = backbone.tokenizer.mask
    assert mask is not None
    before = text_ids(backbone, f"{TEXTS[0]} it was")
    after = text_ids(backbone, " and dull", continues=True)
    words = [
        text_ids(backbone, f" {candidate.words[0]}", continues=True)
        for candidate in WORDS.candidates(None)
    ]
    ids = framed(backbone, before, (mask,), after)
    start = (*backbone.decoder_start, *before)
    end = backbone.tokenizer.end
    expected = [log_p(backbone, ids, start, (*word, *after, *end)) for word in words]
    got = scored(backbone, bound(backbone, "{text} it was {mask} and dull"))
    same(torch.tensor(got), torch.tensor(expected))


def test_pegasus_was_not_taught_to_fill_a_slot_in_the_text(tiny: Tiny) -> None:
    with pytest.raises(TemplateError, match="no sentinels"):
        scored(tiny("pegasus"), bound(tiny("pegasus"), "{text} it was {mask} and dull"))


def test_text_after_decoder_starts_the_answer(encoder_decoder: Backbone) -> None:
    backbone = encoder_decoder
    ids = framed(backbone, text_ids(backbone, TEXTS[0]))
    start = (*backbone.decoder_start, *text_ids(backbone, "it was"))
    words = [
        text_ids(backbone, f" {candidate.words[0]}", continues=True)
        for candidate in WORDS.candidates(None)
    ]
    expected = [log_p(backbone, ids, start, (*w, *backbone.tokenizer.end)) for w in words]
    got = scored(backbone, bound(backbone, "{text}{decoder}it was"))
    same(torch.tensor(got), torch.tensor(expected))


def _greedy(
    backbone: Backbone, ids: Sequence[int], begun: Sequence[int], most: int
) -> tuple[int, ...]:
    """The slow way: a whole forward pass over ids for every token."""
    made: list[int] = []
    while len(made) < most:
        row = torch.tensor([[*begun, *made]])
        with torch.no_grad():
            if backbone.family == "encoder_decoder":
                output = backbone.model(
                    input_ids=torch.tensor([list(ids)]), decoder_input_ids=row, use_cache=False
                )
            else:
                output = backbone.model(input_ids=row, use_cache=False)
        token = int(output.logits[0, -1].argmax())
        if token in (backbone.tokenizer.end_of_text, backbone.tokenizer.pad):
            break
        made.append(token)
    return tuple(made)


@pytest.mark.parametrize("text", TEXTS[:4])
def test_generate_takes_the_likeliest_token_each_time(generator: Backbone, text: str) -> None:
    ids = framed(generator, text_ids(generator, text))
    begun = generator.decoder_start if generator.family == "encoder_decoder" else ids
    expected = _greedy(generator, ids, begun, 10)
    assert generator.generate(embedded(generator, [ids]), 10) == [expected]


def test_a_larger_allowance_only_adds_tokens(generator: Backbone) -> None:
    """BART's own default forces an end token where the allowance ends."""
    inputs = embedded(generator, [framed(generator, text_ids(generator, text)) for text in TEXTS])
    few, many = generator.generate(inputs, 3), generator.generate(inputs, 9)
    assert [row[:3] for row in many] == few


def test_what_a_checkpoint_recommends_for_generation_has_no_say(
    generator: Backbone, tmp_path: Path
) -> None:
    import json

    name = Path(generator.name).name
    folder = save_checkpoint(name, tmp_path / name)
    recommended = folder / "generation_config.json"
    settings = json.loads(recommended.read_text(encoding="utf-8"))
    settings |= {
        "min_length": 9,
        "no_repeat_ngram_size": 1,
        "repetition_penalty": 3.0,
        "num_beams": 3,
    }
    recommended.write_text(json.dumps(settings), encoding="utf-8")
    other = load_backbone(folder, device="cpu")
    ids = [framed(generator, text_ids(generator, text)) for text in TEXTS]
    expected = generator.generate(embedded(generator, ids), 9)
    assert other.generate(embedded(other, ids), 9) == expected


def test_a_decoder_goes_on_from_learned_rows_as_from_their_text(encoder_decoder: Backbone) -> None:
    backbone = encoder_decoder
    ids = framed(backbone, text_ids(backbone, TEXTS[0]))
    begun = text_ids(backbone, "it was")
    start = backbone.decoder_start
    expected = _greedy(backbone, ids, (*start, *begun), 8)
    prompt = one_prompt(backbone.rows(begun, decoder=True))
    decoder = embedded(backbone, [(*start, *learned(len(begun)))], prompt=prompt, decoder=True)
    assert backbone.generate(embedded(backbone, [ids]), 8, decoder) == [expected]


def test_greedy_prediction_runs_with_rows_in_the_decoder(encoder_decoder: Backbone) -> None:
    from softprompt.prompts.addition import Addition

    backbone = encoder_decoder
    objective = resolve_objective(ObjectiveSettings(prediction="greedy"), backbone.family, False)
    template = parse("{soft:2}{text}{decoder}{soft:3}")
    applied = apply(backbone, template, WORDS, objective, n_rows=5)
    applied = applied.with_addition(Addition(backbone.rows([20, 21, 22, 23, 24])))
    items = [(0, Example(str(n), {"text": text})) for n, text in enumerate(TEXTS)]
    together = predict(backbone, [applied], items)
    assert [predict(backbone, [applied], [item])[0].text for item in items] == [
        one.text for one in together
    ]
