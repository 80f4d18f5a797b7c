"""A training example becomes a rendering and what it should answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example, Target
from softprompt.errors import DataError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Verbalizer
from softprompt.text.template import parse
from softprompt.tuning.lessons import Lessons, gold_words, lesson
from tests.builders import WORDS, Backbones, rows

MOOD = Verbalizer.read(WORDS)
STARS = Poles(("awful", "great"), (1.0, 5.0))


def bound(backbone: Backbone, answers: Answers, **objective: Any) -> Applied:
    settings = ObjectiveSettings(**objective)
    resolved = resolve_objective(settings, backbone.family, isinstance(answers, FreeText))
    return apply(backbone, parse("{text} it was {mask}"), answers, resolved)


def example(target: Target, candidates: tuple[str, ...] | None = None) -> Example:
    return replace(rows(1)[0], target=target, candidates=candidates)


@pytest.mark.parametrize(
    ("answers", "target", "candidates", "wanted"),
    [
        (MOOD, "negative", None, (0.0, 1.0)),
        (MOOD, {"negative": 0.75, "positive": 0.25}, None, (0.25, 0.75)),
        (MOOD, {"positive": 1.0}, None, (1.0, 0.0)),
        (STARS, 2.0, None, (0.75, 0.25)),
        (STARS, 9.0, None, (0.0, 1.0)),  # clipped to the bounds
        (OwnCandidates(), "bad", ("good", "bad", "fine"), (0.0, 1.0, 0.0)),
        (OwnCandidates(), ("bad", "fine"), ("good", "bad", "fine"), (0.0, 1.0, 0.0)),
        (OwnCandidates(), "bad", ("bad", "fine", "bad"), (1.0, 0.0, 0.0)),
    ],
)
def test_a_target_is_a_distribution_over_the_examples_labels(
    backbones: Backbones,
    answers: Answers,
    target: Target,
    candidates: tuple[str, ...] | None,
    wanted: tuple[float, ...],
):
    made = lesson(example(target, candidates), bound(backbones("bert"), answers))
    assert made.wanted == pytest.approx(wanted)
    assert len(made.rendering.label_of) == len(wanted)


@pytest.mark.parametrize(
    ("answers", "target", "candidates", "words"),
    [
        (MOOD, "negative", None, ("awful",)),
        (MOOD, {"negative": 0.75, "positive": 0.25}, None, ("awful",)),
        (Verbalizer.read({"negative": ["bad", "dull"]}), "negative", None, ("bad",)),
        (STARS, 2.0, None, ("awful",)),
        (STARS, 4.5, None, ("great",)),
        (OwnCandidates(), "fine", ("good", "fine"), ("fine",)),
        (FreeText(), ("a film", "the film"), None, ("a film",)),
        (FreeText(), "a film", None, ("a film",)),
    ],
)
def test_token_cross_entropy_learns_the_one_gold_filling(
    backbones: Backbones,
    answers: Answers,
    target: Target,
    candidates: tuple[str, ...] | None,
    words: tuple[str, ...],
):
    applied = bound(backbones("gpt2"), answers, normalise="vocabulary")
    made = lesson(example(target, candidates), applied)
    assert gold_words(example(target, candidates), applied) == words
    assert made.wanted == ()
    (query,) = made.rendering.queries
    text = backbones("gpt2").tokenizer.decode(query.reads[0].tokens)
    assert text.strip() == words[0]


@pytest.mark.parametrize("normalise", ["labels", "vocabulary"])
def test_a_target_that_is_no_answer_names_the_example(backbones: Backbones, normalise: Any):
    applied = bound(backbones("bert"), MOOD, normalise=normalise)
    for target in ("neutral", {"neutral": 1.0}):
        with pytest.raises(DataError, match=r"example 0-0: target 'neutral' is none of .*positive"):
            lesson(example(target), applied)
    with pytest.raises(DataError, match="example 0-0 has no target"):
        lesson(example(None), applied)


def test_lessons_are_rendered_once_and_memory_is_bounded(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    applied = bound(backbones("bert"), MOOD)
    examples = rows(8)
    rendered: list[str] = []
    render = Applied.render

    def counting(self: Applied, one: Example) -> Any:
        rendered.append(one.id)
        return render(self, one)

    monkeypatch.setattr(Applied, "render", counting)
    lengths = [lesson(one, applied).rendering.length for one in examples]
    rendered.clear()
    lessons = Lessons(examples, applied, kept_tokens=sum(lengths[:5]))
    first = [lessons[n] for n in range(8)]
    assert [lessons[n] for n in range(8)] == first
    assert rendered[:8] == [one.id for one in examples]
    again = rendered[8:]
    assert 0 < len(again) <= 3
    assert set(again) <= {one.id for one in examples[5:]}
