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
from softprompt.inference.questions import Ranked
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Verbalizer
from softprompt.text.draft import Draft
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse
from softprompt.tuning.lessons import DevQuestions, Lessons, gold_words, lesson, render_alike
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
        (STARS, 3.0, None, ("great",)),  # the very middle, as in LM-BFF's release
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
    render = Applied.render_lesson

    def counting(self: Applied, one: Example, draft: Draft | None = None) -> Any:
        rendered.append(one.id)
        return render(self, one, draft)

    monkeypatch.setattr(Applied, "render_lesson", counting)
    lengths = [lesson(one, applied).rendering.length for one in examples]
    rendered.clear()
    lessons = Lessons(examples, applied, kept_tokens=sum(lengths[:5]))
    first = lessons.draw(range(8))
    assert lessons.draw(range(8)) == first
    assert rendered[:8] == [one.id for one in examples]
    again = rendered[8:]
    assert 0 < len(again) <= 3
    assert set(again) <= {one.id for one in examples[5:]}


def test_lessons_drawn_together_are_those_made_one_by_one(backbones: Backbones):
    for answers, normalise in ((MOOD, "labels"), (MOOD, "vocabulary"), (FreeText(5), "vocabulary")):
        applied = bound(backbones("gpt2"), answers, normalise=normalise)
        examples = rows(8)
        drawn = Lessons(examples, applied).draw([5, 0, 5, 7])
        assert drawn == [lesson(examples[n], applied) for n in (5, 0, 5, 7)]


def test_one_row_for_all_words_is_drawn_as_it_is_made_and_only_for_training(backbones: Backbones):
    words = Verbalizer.read({"positive": "great", "negative": "not so good"})
    applied = bound(backbones("bert"), words, masks="longest")
    examples = rows(4)
    drawn = Lessons(examples, applied).draw(range(4))
    assert drawn == [lesson(one, applied) for one in examples]
    assert [len(one.rendering.queries) for one in drawn] == [1] * 4
    asked = DevQuestions(examples, applied).ask()
    assert [len(one.rendering.queries) for one in asked if isinstance(one, Ranked)] == [2] * 4


def test_what_is_wrong_in_a_batch_names_the_example_that_comes_first(backbones: Backbones):
    applied = bound(backbones("bert"), MOOD)
    bare = replace(rows(8)[3], fields={"other": "film"})
    unknown = replace(rows(8)[2], target="neutral")
    examples = [*rows(8)[:2], unknown, bare]
    with pytest.raises(DataError, match=f"example {unknown.id}: target 'neutral'"):
        Lessons(examples, applied).draw(range(4))
    with pytest.raises(DataError, match=rf"example {bare.id}: .*expected a field 'text'"):
        Lessons(examples, applied).draw([0, 1, 3, 2])


def test_renderings_are_shared_by_equal_examples_rendered_alike_only(backbones: Backbones):
    backbone = backbones("bert")
    applied = bound(backbone, MOOD)
    resolved = applied.objective

    def other(source: str = "{text} it was {mask}", **changed: Any) -> Applied:
        answers = changed.pop("answers", MOOD)
        return apply(backbone, parse(source), answers, resolved, **changed)

    one = Lessons(rows(8), applied)
    assert render_alike(one, Lessons(list(rows(8)), other()))
    assert render_alike(DevQuestions(rows(8), applied), DevQuestions(rows(8), other()))
    changed = [replace(rows(8)[0], fields={"text": "another"}), *rows(8)[1:]]
    assert not render_alike(one, Lessons(changed, applied))
    assert not render_alike(one, Lessons(rows(8)[::-1], applied))
    differing = [
        other("{text} it is {mask}"),
        other("{text|lower} it was {mask}"),
        other(n_rows=2),
        other(settings=RenderSettings(limit=9)),
        other(answers=Verbalizer.read(dict(reversed(WORDS.items())))),
        other(answers=Verbalizer.read({**WORDS, "negative": "plot"})),
        bound(backbone, MOOD, normalise="vocabulary"),
        bound(backbones("gpt2"), MOOD),
    ]
    for way in differing:
        assert not render_alike(one, Lessons(rows(8), way))
