"""Whole words of tiny vocabularies, and the table of their scores at the slot of every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.predict import predict
from softprompt.inference.scoring import score
from softprompt.recipes.search.words.cache import load_table, save_table
from softprompt.recipes.search.words.classes import gold_of
from softprompt.recipes.search.words.table import Table, listed_table, read_table
from softprompt.recipes.search.words.whole_words import Vocabulary, slot_words, whole_words
from softprompt.recipes.watching import Silent
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse
from softprompt.tuning.jobs import bind
from tests.builders import Backbones, mood, task_of


def applied_on(
    backbone: Backbone,
    task: Task,
    template: str,
    words: Sequence[str] = ("good", "bad"),
    **objective: Any,
) -> Applied:
    answers = Verbalizer.read(dict(zip(task.labels, words, strict=True)))
    return bind(backbone, task, parse(template), answers, ObjectiveSettings(**objective))


def words_on(
    backbone: Backbone, task: Task, template: str, **objective: Any
) -> tuple[Applied, Vocabulary]:
    applied = applied_on(backbone, task, template, **objective)
    tokens = whole_words(backbone.tokenizer, backbone.vocabulary)
    return applied, slot_words(applied, tokens, task.examples("train"))


def table_on(
    backbone: Backbone, task: Task, template: str, **given: Any
) -> tuple[Applied, Vocabulary, Table]:
    applied, vocabulary = words_on(backbone, task, template)
    gold = gold_of(task, task.labels)
    examples = task.examples("train")
    made = read_table(
        backbone, applied, vocabulary, examples, gold.classes, gold.count, Silent(), **given
    )
    return applied, vocabulary, made


# --- what is a word -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "t5-1.1", "gpt2"])
def test_every_word_becomes_its_own_token_in_the_slot(name: str, backbones: Backbones) -> None:
    backbone = backbones(name)
    task = mood(6)
    applied, found = words_on(backbone, task, "{text} it was {mask}")
    assert len(found.words) > 5
    assert len(set(found.words)) == len(found.words) == len(set(found.ids))
    some = [word for word in found.words if word.isalpha()][:20]
    asking = replace(
        applied,
        renderer=replace(applied.renderer, answers=Verbalizer({"any": tuple((w,) for w in some)})),
    )
    ids = list(asking.candidate_ids(task.examples("train")[0]))
    assert ids == [(dict(zip(found.words, found.ids, strict=True))[word],) for word in some]
    assert not set(found.ids) & backbone.tokenizer.special


def test_pieces_of_words_are_none(backbones: Backbones) -> None:
    piece = backbones("bert").tokenizer.pieces
    _, found = words_on(backbones("bert"), mood(6), "{text} it was {mask}")
    assert not [p for p in piece(found.ids) if p.startswith("##")]
    spaced = backbones("roberta")
    _, found = words_on(spaced, mood(6), "{text} it was {mask}")
    assert all(p.startswith("Ġ") for p in spaced.tokenizer.pieces(found.ids))


def test_punctuation_counts_only_where_it_is_asked_for(backbones: Backbones) -> None:
    backbone = backbones("bert")
    letters = whole_words(backbone.tokenizer, backbone.vocabulary)
    every = whole_words(backbone.tokenizer, backbone.vocabulary, punctuation=True)
    assert "!" not in letters.values()
    assert "!" in every.values()
    assert letters.items() <= every.items()


def test_chinese_words_stand_in_chinese_templates() -> None:
    backbone = load_backbone("softprompt/tiny-mlm", device="cpu")
    task = task_of(
        {
            "train": [
                Example("1", {"text": "房间很干净"}, "好"),
                Example("2", {"text": "太慢了"}, "差"),
            ]
        },
        fields=("text",),
        kind="label",
        labels=("好", "差"),
        metrics=("accuracy",),
    )
    tokens = whole_words(backbone.tokenizer, backbone.vocabulary)
    applied = applied_on(backbone, task, "{text}。总体评价是{mask}的。", ("好", "差"))
    found = slot_words(applied, tokens, task.examples("train"))
    known = dict(zip(found.words, found.ids, strict=True))
    assert {"好", "差"} <= set(known)
    gold = gold_of(task, task.labels)
    made = read_table(backbone, applied, found, task.examples("train"), gold.classes, 2, Silent())
    assert made.log_p is not None
    own = score(backbone, None, [applied.render(e) for e in task.examples("train")], [0, 0])
    columns = [found.words.index("好"), found.words.index("差")]
    assert made.log_p[:, columns].ravel() == pytest.approx(own.summed.numpy(), abs=1e-4)


# --- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "template", "objective"),
    [
        ("bert", "{text} it was {mask} .", {}),
        ("gpt2", "{text} it was {mask}", {}),
        ("t5-1.1", "{text} it was", {"answer_end": False}),
        ("t5-1.1", "{text} it was {mask}", {"answer_end": False}),
    ],
)
def test_the_table_holds_what_the_engine_scores(
    name: str, template: str, objective: dict[str, Any], backbones: Backbones
) -> None:
    backbone, task = backbones(name), mood(9)
    _applied, vocabulary, made = table_on(backbone, task, template)
    assert made.log_p is not None
    three = vocabulary.words[:3]
    engine = listed_table(
        backbone,
        applied_on(backbone, task, template, **objective),
        three,
        task.examples("train"),
        gold_of(task, task.labels).classes,
        2,
        Silent(),
    )
    assert engine.log_p is not None
    own = made.log_p[:, [vocabulary.words.index(word) for word in three]]
    if "{mask}" in template and name.startswith("t5"):  # the closing sentinel is scored too
        assert own.shape == engine.log_p.shape
        assert bool((own >= engine.log_p - 1e-4).all())
    else:
        assert own == pytest.approx(engine.log_p, abs=1e-4)


@pytest.mark.parametrize("fill", ["parallel", "max_first", "left_to_right"])
@pytest.mark.parametrize("answer_score", ["sum", "mean"])
def test_a_table_of_listed_words_says_what_a_prediction_says(
    fill: str, answer_score: str, backbones: Backbones
) -> None:
    backbone, task = backbones("bert"), mood(9)
    words, examples = ("very good film", "not"), task.examples("train")
    applied = applied_on(
        backbone, task, "{text} it was {mask} .", words, fill=fill, answer_score=answer_score
    )
    classes = gold_of(task, task.labels).classes
    made = listed_table(backbone, applied, words, examples, classes, 2, Silent()).log_p
    assert made is not None
    found = predict(backbone, [applied], [(0, example) for example in examples])
    shares = np.log([[one.probabilities[label] for label in task.labels] for one in found])
    assert made[:, 0] - made[:, 1] == pytest.approx(shares[:, 0] - shares[:, 1], abs=1e-4)
    if fill != "parallel":
        plain = applied_on(backbone, task, "{text} it was {mask} .", words)
        other = listed_table(backbone, plain, words, examples, classes, 2, Silent()).log_p
        assert other is not None
        assert not np.allclose(other[:, 0], made[:, 0], atol=1e-3)


def test_listed_words_are_filled_in_though_the_memory_is_small(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, task = backbones("bert"), mood(9)
    words, examples = ("very good film", "not so bad", "fine"), task.examples("train")
    applied = applied_on(backbone, task, "{text} it was {mask} .", words[:2], fill="max_first")
    classes = gold_of(task, task.labels).classes
    whole = listed_table(backbone, applied, words, examples, classes, 2, Silent()).log_p
    logits = backbone.logits

    def small(inputs: Any, *given: Any, **also: Any) -> Any:
        if len(inputs.embeddings) > 2:
            raise torch.OutOfMemoryError("too much")
        return logits(inputs, *given, **also)

    monkeypatch.setattr(backbone, "logits", small)
    with pytest.warns(UserWarning, match="the memory does not hold"):
        halved = listed_table(backbone, applied, words, examples, classes, 2, Silent()).log_p
    assert whole is not None
    assert halved == pytest.approx(whole, abs=1e-4)


def test_sums_and_mean_logits_are_those_of_the_rows_of_each_class(backbones: Backbones) -> None:
    task = mood(10)
    classes = gold_of(task, task.labels).classes
    _, _, made = table_on(backbones("bert"), task, "{text} it was {mask}")
    assert made.log_p is not None
    for number in (0, 1):
        own = made.log_p[classes == number].astype(np.float64)
        assert made.sums.log_p[number] == pytest.approx(own.sum(axis=0), rel=1e-6)
        gaps = made.sums.logit[number] - own.mean(
            axis=0
        )  # the mean of log Z, the same for all words
        assert gaps == pytest.approx(np.full_like(gaps, gaps[0]), abs=1e-4)


def test_a_table_that_is_too_large_leaves_its_sums(backbones: Backbones, tmp_path: Path) -> None:
    task = mood(8)
    whole = table_on(backbones("bert"), task, "{text} it was {mask}")[2]
    large = table_on(backbones("bert"), task, "{text} it was {mask}", largest=10)[2]
    assert large.log_p is None
    assert np.array_equal(large.sums.log_p, whole.sums.log_p)
    for number, table in enumerate((whole, large)):
        save_table(tmp_path / str(number), table)
        back = load_table(tmp_path / str(number))
        assert back is not None
        assert tuple(back.words) == tuple(table.words)
        assert np.array_equal(back.sums.logit, table.sums.logit)
        assert (back.log_p is None) == (table.log_p is None)
    assert load_table(tmp_path / "2") is None


def test_text_behind_the_slot_is_refused_where_each_word_reads_it_anew(
    backbones: Backbones,
) -> None:
    with pytest.raises(SettingsError, match=r"text follows the answer slot.*--words FILE"):
        table_on(backbones("gpt2"), mood(4), "{text} it was {mask} indeed")
