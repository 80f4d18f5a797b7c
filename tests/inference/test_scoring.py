"""Scores and losses are what plain torch, and transformers' own `labels=`, make of the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from softprompt.backbones.backbone import Backbone
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.scoring import Scores, label_loss, label_scores, score, token_loss
from softprompt.text.answers import Answers, FreeText, Poles, Verbalizer
from softprompt.text.template import parse
from softprompt.tuning.lessons import lesson
from tests.builders import WORDS, Backbones, mood

TEXTS = ("the film was good", "a dull plot , so very slow and long")


def applied_to(
    backbone: Backbone,
    template: str = "{text} it was {mask}.",
    answers: Answers | None = None,
    **objective: Any,
) -> Applied:
    answers = answers or Verbalizer.read(WORDS)
    settings = ObjectiveSettings(**objective)
    resolved = resolve_objective(settings, backbone.family, isinstance(answers, FreeText))
    return apply(backbone, parse(template), answers, resolved)


def table_of(backbone: Backbone, applied: Applied, mean: bool = False) -> Tensor:
    """Label scores `[B, L]` of TEXTS."""
    renderings = [applied.renderer.score({"text": text}) for text in TEXTS]
    return label_scores(score(backbone, None, renderings, [0] * len(TEXTS)), renderings, mean)


def mask_logits(backbone: Backbone, text: str) -> Tensor:
    """What the model itself says at the mask, `[V]`."""
    tokenizer: Any = backbone.tokenizer.wrapped
    encoded = tokenizer(text, return_tensors="pt")
    model: Any = backbone.model
    place = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
    with torch.no_grad():
        return model(**encoded).logits[0, place]  # type: ignore[no-any-return]


def ids_of(backbone: Backbone, words: Sequence[str]) -> list[int]:
    return [backbone.tokenizer.wrapped.convert_tokens_to_ids(word) for word in words]


def test_label_cross_entropy_is_that_of_the_label_words_logits(backbones: Backbones):
    backbone = backbones("bert")
    logits = torch.stack([mask_logits(backbone, f"{text} it was [MASK].") for text in TEXTS])
    own = logits[:, ids_of(backbone, ["great", "awful"])]  # [B, 2]
    table = table_of(backbone, applied_to(backbone))
    wanted = functional.cross_entropy(own, torch.tensor([1, 0]), reduction="none")
    targets = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(label_loss(table, targets), wanted, rtol=1e-5, atol=1e-5)
    assert float(wanted.max()) > 0.1


def test_several_words_of_a_label_count_as_the_mean_of_their_logits(backbones: Backbones):
    backbone = backbones("bert")
    answers = Verbalizer.read({"up": ["great", "good", "fine"], "down": ["bad"]})
    logits = torch.stack([mask_logits(backbone, f"{text} it was [MASK].") for text in TEXTS])
    up = logits[:, ids_of(backbone, ["great", "good", "fine"])].mean(dim=1)
    own = torch.stack([up, logits[:, ids_of(backbone, ["bad"])[0]]], dim=1)
    table = table_of(backbone, applied_to(backbone, answers=answers))
    torch.testing.assert_close(table.softmax(-1), own.softmax(-1), rtol=1e-5, atol=1e-6)


def test_soft_targets_are_a_divergence_up_to_the_targets_own_entropy():
    table, targets = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[0.2, 0.3, 0.5]])
    divergence = functional.kl_div(table.log_softmax(-1), targets, reduction="sum")
    entropy = -(targets * targets.log()).sum()
    torch.testing.assert_close(label_loss(table, targets)[0], divergence + entropy)


def test_a_label_beyond_an_examples_own_has_no_part_in_its_loss():
    table = torch.tensor([[0.3, -1.0, float("-inf")]], requires_grad=True)
    loss = label_loss(table, torch.tensor([[1.0, 0.0, 0.0]])).sum()
    torch.testing.assert_close(loss, functional.cross_entropy(table[:, :2], torch.tensor([0])))
    loss.backward()
    assert table.grad is not None
    assert bool(table.grad.isfinite().all())


def vocabulary_loss(backbone: Backbone, applied: Applied, z_loss: float = 0.0) -> float:
    """Our loss of both texts, a mean over their answers' tokens."""
    labels = ("positive", "negative")
    examples = [
        type(row)(row.id, {"text": text}, label)
        for row, text, label in zip(mood(2).examples("train"), TEXTS, labels, strict=True)
    ]
    renderings = [lesson(example, applied).rendering for example in examples]
    tokens = sum(len(read.tokens) for r in renderings for q in r.queries for read in q.reads)
    scores = score(backbone, None, renderings, [0, 0])
    return float(token_loss(scores, z_loss).sum()) / tokens


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def test_an_encoder_decoders_loss_is_its_own_over_answer_and_end_token(backbones: Backbones):
    backbone = backbones("t5-1.1")
    tokenizer, model = backbone.tokenizer.wrapped, backbone.model
    words = {"positive": ("very good",), "negative": ("awful",)}  # of two tokens and of one
    applied = applied_to(backbone, "{text} it was", Verbalizer.read(words))
    inputs = tokenizer([f"{text} it was" for text in TEXTS], padding=True, return_tensors="pt")
    labels = [tokenizer(word).input_ids for word in ("very good", "awful")]
    assert [len(row) for row in labels] == [3, 2]  # the end token among them
    wanted: Any = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        labels=padded(labels, -100),
    ).loss
    assert vocabulary_loss(backbone, applied) == pytest.approx(float(wanted), rel=1e-5)


def test_a_causal_models_loss_is_its_own_over_the_answers_tokens_alone(backbones: Backbones):
    backbone = backbones("gpt2")
    tokenizer, model = backbone.tokenizer.wrapped, backbone.model
    applied = applied_to(backbone, "{text} it was {mask}", normalise="vocabulary")
    stems = [tokenizer(f"{text} it was").input_ids for text in TEXTS]
    answers = [tokenizer(" great").input_ids, tokenizer(" awful").input_ids]
    both = [stem + answer for stem, answer in zip(stems, answers, strict=True)]
    labels = [[-100] * len(s) + a for s, a in zip(stems, answers, strict=True)]
    # Each alone: the model divides by a row's tokens, we by all of them.
    total = 0.0
    for ids, label in zip(both, labels, strict=True):
        count = sum(i != -100 for i in label)
        out: Any = model(input_ids=torch.tensor([ids]), labels=torch.tensor([label]))
        total += float(out.loss) * count
    wanted = total / sum(len(answer) for answer in answers)
    assert vocabulary_loss(backbone, applied) == pytest.approx(wanted, rel=1e-5)


def test_the_z_loss_adds_the_squared_log_normaliser_of_every_answer_token(backbones: Backbones):
    backbone = backbones("bert")
    applied = applied_to(backbone, normalise="vocabulary")
    log_z = [float(mask_logits(backbone, f"{t} it was [MASK].").logsumexp(-1)) for t in TEXTS]
    plain, added = vocabulary_loss(backbone, applied), vocabulary_loss(backbone, applied, 0.01)
    assert added - plain == pytest.approx(0.01 * sum(z * z for z in log_z) / 2, rel=1e-4)


def test_poles_learn_the_mixture_that_a_number_stands_for(backbones: Backbones):
    backbone = backbones("bert")
    applied = applied_to(backbone, answers=Poles(("awful", "great"), (0.0, 5.0)))
    (example,) = mood(1).examples("train")
    made = lesson(type(example)(example.id, example.fields, 4.0), applied)
    assert made.wanted == pytest.approx((0.2, 0.8))
    scores = score(backbone, None, [made.rendering], [0])
    table = label_scores(scores, [made.rendering], mean=False)
    wanted = functional.binary_cross_entropy_with_logits(
        (table[0, 1] - table[0, 0])[None], torch.tensor([0.8])
    )
    torch.testing.assert_close(label_loss(table, torch.tensor([made.wanted]))[0], wanted)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5-1.1"])
def test_a_mean_score_divides_by_the_answers_tokens(backbones: Backbones, name: str):
    backbone = backbones(name)
    words: Mapping[str, Any] = {"long": "xyzzy quux", "short": "good"}
    applied = applied_to(backbone, "{text} it was {mask}", Verbalizer.read(words))
    renderings = [applied.renderer.score({"text": TEXTS[0]})]
    scores: Scores = score(backbone, None, renderings, [0])
    assert int(scores.tokens[0]) > int(scores.tokens[1])
    summed, mean = (label_scores(scores, renderings, flag) for flag in (False, True))
    torch.testing.assert_close(mean * scores.tokens, summed)
