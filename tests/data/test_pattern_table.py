"""The patterns of the tasks fit them: fields, labels and words, on a backbone and on real rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.data.normalising import holds_chinese
from softprompt.data.registry import find_entry, load_task, task_without_rows
from softprompt.data.task import Task
from softprompt.data.tasks.pattern import OWN, Pattern
from softprompt.data.tasks.patterns import PATTERNS, patterns_of
from softprompt.errors import DataError
from softprompt.inference.applied import Applied
from softprompt.inference.objective import ObjectiveSettings
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Verbalizer
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse
from softprompt.tuning.run import bind
from tests.official_files import write_all

EVERY = [(task, number) for task in PATTERNS for number in range(len(PATTERNS[task]))]
CHINESE = [task for task in PATTERNS if find_entry(task).language == "zh"]


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return load_backbone("softprompt/tiny-mlm", device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


def bound(pattern: Pattern, task: Task, tiny: Backbone, spaced: bool = False) -> Applied:
    answers: Answers | None = None if pattern.words is None else Verbalizer.read(pattern.words)
    if answers is None and not task.splits:  # without rows nothing tells candidates from free text
        answers = OwnCandidates() if "{mask}" in pattern.template else FreeText()
    template = parse((spaced and pattern.spaced) or pattern.template)
    render = RenderSettings(per_piece=spaced)
    return bind(tiny, task, template, answers, ObjectiveSettings(), render=render)


def test_each_task_has_as_many_patterns_as_its_paper() -> None:
    counts = {task: len(found) for task, found in PATTERNS.items()}
    assert counts["yelp_review"] == counts["yelp_polarity"] == 4
    assert counts["ag_news"] == 5
    assert counts["yahoo_answers"] == 6
    assert counts["x_stance_de"] == counts["x_stance_fr"] == 2
    assert counts["mnli_dev"] == counts["glue/mnli"] == counts["lm_bff/snli"] == 4
    assert counts["super_glue/rte"] == counts["super_glue/cb"] == 5
    assert counts["super_glue/boolq"] == 6
    assert counts["super_glue/wic"] == 3
    assert counts["super_glue/multirc"] == 4
    assert counts["super_glue/copa"] == counts["super_glue/copa:pet"] == 2
    assert counts["super_glue/wsc:pet"] == 3
    assert all(counts[task] == 3 for task in CHINESE)
    assert patterns_of("no such task") == patterns_of("super_glue/rte:t5") == ()


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_every_pattern_binds_on_a_masked_backbone(name: str, number: int, tiny: Backbone) -> None:
    task, pattern = task_without_rows(name), patterns_of(name)[number]
    for spaced in (False, True):
        assert bound(pattern, task, tiny, spaced).renderer.template.fields


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_words_stand_in_the_order_of_the_tasks_labels(name: str, number: int) -> None:
    task, pattern = task_without_rows(name), patterns_of(name)[number]
    if pattern.words is None:
        assert task.kind == "text"
        return
    assert tuple(pattern.words) == task.labels
    words = [word for words in pattern.words.values() for word in words]
    assert len(set(words)) == len(words), "two labels would be one"


@pytest.mark.parametrize("name", PATTERNS)
def test_a_task_has_no_pattern_twice(name: str) -> None:
    every = [(p.template, str(p.words)) for p in patterns_of(name)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_render_rows_of_the_official_layout(
    name: str, files: Path, tiny: Backbone
) -> None:
    task = load_task(name, files)
    split = "train" if "train" in task.splits else "test"
    for pattern in patterns_of(name):
        applied = bound(pattern, task, tiny)
        for row in task.examples(split)[:2]:
            free = applied.renderer.writes_in_masks
            assert applied.source(row).masks if free else applied.render(row).queries


def test_labels_mean_what_their_words_say() -> None:
    """A spot check of the tables by hand: the worst mistake here would be silent."""
    said = {
        (task, label): words[0]
        for task, number in EVERY
        for label, words in (patterns_of(task)[number].words or {}).items()
        if number == 0
    }
    assert said["yelp_review", "1 star"] == "terrible"
    assert said["yelp_review", "5 stars"] == "great"
    assert said["yelp_polarity", "positive"] == "good"
    assert said["mnli_dev", "contradiction"] == said["lm_bff/mnli", "contradiction"] == "Wrong"
    assert said["super_glue/cb", "neutral"] == "Maybe"
    assert said["super_glue/rte", "entailment"] == said["super_glue/boolq", "True"] == "Yes"
    assert said["eprstmt", "Negative"] == said["softprompt/reviews-zh", "negative"] == "差"
    assert said["ocnli", "contradiction"] == said["csl", "others"] == "不"


@pytest.mark.parametrize("name", CHINESE)
def test_chinese_words_have_one_length_of_one_or_two_characters(name: str, tiny: Backbone) -> None:
    for pattern in patterns_of(name):
        assert pattern.source == OWN
        assert pattern.spaced is None
        words = [words[0] for words in (pattern.words or {}).values()]
        assert {len(word) for word in words} in ({1}, {2})
        assert all(holds_chinese(word) for word in words)
        # Labels of one length need as many masks each, and none is the likelier for being short.
        counts = Counter(len(tiny.tokenizer.encode(w, continues=True).ids) for w in words)
        assert len(counts) == 1


FIRST = {
    "eprstmt": ("。总体评价是", "评！"),
    "tnews": ("这是一条关于", "新闻："),
    "csl": ("以上摘要的关键词", "是下文的关键词"),
    "ocnli": ("？", "这个推断是"),
    "hotel_reviews": ("。这家酒店很", "评！"),
}


@pytest.mark.parametrize("name", FIRST)
def test_chinese_patterns_render_real_rows(name: str, shared: Path, tiny: Backbone) -> None:
    try:
        task = load_task(name, shared / "data")
    except DataError as error:
        pytest.skip(str(error))
    rows = task.examples("train")[:50]
    for number, pattern in enumerate(patterns_of(name)):
        applied = bound(pattern, task, tiny)
        texts = [_text(applied, row, tiny) for row in rows]
        assert all(text.count("[MASK]") + text.count("<mask>") >= 1 for text in texts)
        opening = pattern.template.partition("{text|strip_end}")[2][:2]
        if opening:  # a review's own full stop is not doubled
            assert all(mark + opening not in text for text in texts for mark in "。！，")
        if number < 2:
            assert all(FIRST[name][number].replace(" ", "") in text for text in texts)


def test_yelp_and_ag_news_load_and_render(shared: Path, tiny: Backbone) -> None:
    for name, variant in (("yelp_review", "small"), ("yelp_polarity", "small"), ("ag_news", None)):
        try:
            task = load_task(name, shared / "data", variant)
        except DataError as error:
            pytest.skip(str(error))
        labels = {row.target for row in task.examples("train")}
        assert labels == set(task.labels)
        for pattern in patterns_of(name):
            assert bound(pattern, task, tiny).render(task.examples("test")[0]).queries


def _text(applied: Applied, row: Example, tiny: Backbone) -> str:
    """The tokens of a row's longest query, put together without spaces."""
    query = max(applied.render(row).queries, key=lambda one: len(one.ids))
    pieces = tiny.tokenizer.pieces(tuple(query.ids))
    return "".join(pieces).replace("▁", "").replace(" ", "")
