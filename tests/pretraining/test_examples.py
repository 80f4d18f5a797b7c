"""What a step reads is a function of its number; blocks, long blocks and tasks in their shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softprompt.data.corruption import Pair
from softprompt.data.examples import Example
from softprompt.errors import DataError, SettingsError
from softprompt.pretraining.corpus import Source, TokenFile
from softprompt.pretraining.examples import Examples
from softprompt.pretraining.layouts import Batch
from softprompt.pretraining.models import load_tokenizer
from softprompt.pretraining.objectives import Vocabulary
from softprompt.pretraining.settings import TasksSettings
from softprompt.pretraining.tasks import said, task_pairs, text_of
from tests.pretraining.toy_runs import recipe

ORDINARY = np.arange(5, 900)
SENTINELS = tuple(range(999, 899, -1))
VOCABULARIES = {
    "encoder": Vocabulary(0, 3, 1, 4, (), ORDINARY),
    "encoder_decoder": Vocabulary(0, 0, 1, -1, SENTINELS, ORDINARY),
    "decoder": Vocabulary(0, 3, 1, -1, (), ORDINARY),
    "prefix_decoder": Vocabulary(0, 3, 1, -1, SENTINELS, ORDINARY),
}
OBJECTIVE = {
    "encoder": "masked",
    "encoder_decoder": "span_corruption",
    "decoder": "causal_lm",
    "prefix_decoder": "prefix_lm",
}


def files(tokens: int = 4_000) -> list[TokenFile]:
    """Texts of ids that are drawn at random, the English ones even, the Chinese ones odd."""
    draw = np.random.default_rng(0)
    return [
        TokenFile(
            Source(name, Path(name), 1.0, name[:2]),
            (draw.choice(ORDINARY[:-1] // 2 * 2, tokens) + odd).astype(np.uint16),
        )
        for name, odd in (("en_a", 0), ("zh_b", 1))
    ]


def examples(
    layout: str = "encoder",
    labelled: Sequence[tuple[float, Sequence[Pair]]] = (),
    vocabulary: Vocabulary | None = None,
    limit: int | None = None,
    **changes: Any,
) -> Examples:
    settings = recipe(**{"layout": layout, "objective": OBJECTIVE[layout], **changes})
    return Examples(settings, vocabulary or VOCABULARIES[layout], files(), labelled, limit)


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(a, b)
        for a, b in [
            (one.gold, other.gold),
            (one.predict, other.predict),
            *((one.inputs[name], other.inputs[name]) for name in one.inputs),
        ]
    )


@pytest.mark.parametrize("layout", VOCABULARIES)
def test_a_step_depends_on_its_number_and_the_seed_only(layout: str):
    changes: dict[str, Any] = {"long": {"length": 32, "share": 0.5}}
    one, other = examples(layout, **changes), examples(layout, **changes)
    wanted = [one.at(step) for step in range(7)]  # one beyond the last: it is made ahead
    for step in (5, 0, 6, 3, 3):
        assert same(other.at(step), wanted[step])
    assert not same(wanted[0], wanted[1])
    assert not same(examples(layout, seed=1, **changes).at(0), wanted[0])
    # How a step is split, and how often it is validated, is nothing to it.
    assert same(examples(layout, micro_batch=3, evaluate_every=1, **changes).at(2), wanted[2])


def test_an_encoders_blocks_stand_in_a_frame():
    batch = examples().at(0)
    ids = batch.inputs["input_ids"]
    assert ids.shape == (8, 16)
    assert (ids[:, 0] == 3).all()
    assert (ids[:, -1] == 1).all()
    assert not batch.predict[:, [0, -1]].any()
    text = batch.gold[:, 1:-1]
    assert np.isin(text, ORDINARY).all()
    assert ((ids == batch.gold) | batch.predict).all()


def test_the_end_of_a_document_is_never_masked():
    made = examples(noise_rate=0.9)
    for file in made._mixtures[16].files:
        file.ids[::5] = 1
    batch = made.at(0)
    assert (batch.gold[:, 1:-1] == 1).any()
    assert not batch.predict[batch.gold == 1].any()


@pytest.mark.parametrize(
    ("layout", "objective", "text", "read", "said"),
    [
        ("encoder_decoder", "span_corruption", 17, 16, 5),
        ("encoder_decoder", "bert_style", 15, 16, 16),
        ("encoder_decoder", "deshuffling", 15, 16, 16),
        ("decoder", "causal_lm", 15, 15, 15),
        ("prefix_decoder", "deshuffling", 15, 31, 31),
    ],
)
def test_special_tokens_and_text_fill_the_length(
    layout: str, objective: str, text: int, read: int, said: int
):
    made = examples(layout, objective=objective)
    assert made.block_length(16) == text
    batch = made.at(0)
    assert batch.inputs["input_ids"].shape == (8, read)
    assert batch.gold.shape == (8, said)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_last_part_of_a_run_reads_longer_blocks(share: float):
    made = examples(long={"length": 32, "share": share}, steps=8)
    first = made.first_long_step
    assert first == 8 * (1 - share)
    for step in range(8):
        length = 32 if step >= first else 16
        assert made.length_at(step) == length
        batch = made.at(step)
        assert batch.gold.shape == (8 * 16 // length, length)  # as many tokens
        assert made.rows_at(step, 4) == 4 * 16 // length
    held = {id(source): batch.gold.shape for source, batch in made.validation()}
    assert set(held.values()) == {(4, 16)}


def test_without_a_long_part_there_is_none():
    made = examples(steps=8)
    assert [made.length_at(step) for step in (0, 7, 8)] == [16, 16, 16]


def test_validation_is_the_same_each_time_and_never_trained_on():
    made = examples("decoder", steps=4, long={"length": 32, "share": 0.5})
    first, second = list(made.validation()), list(made.validation())
    assert [source.language for source, _ in first] == ["en", "zh"]
    for (_, one), (_, other) in zip(first, second, strict=True):
        assert same(one, other)
        assert len(one) == 4
    held = {row.tobytes() for _, batch in first for row in batch.gold[:, :6]}
    trained = [b for step in range(4) for b in made.at(step).gold]
    windows = {r[i : i + 6].tobytes() for r in trained for i in range(len(r) - 5)}
    assert not held & windows


def test_one_held_out_block_is_enough_for_a_corrupted_one():
    # 17 tokens of text make 16 positions: a held-out part of 16 tokens would hold no block.
    made = examples("encoder_decoder", held_out=1)
    assert [len(batch) for _, batch in made.validation()] == [1, 1]


# --- tasks ------------------------------------------------------------------------------------


def task(first: int, size: int = 3) -> list[Pair]:
    """Examples whose inputs are one token, told apart by it, and whose target is one token."""
    return [Pair(np.asarray([first + n]), np.asarray([895 + n])) for n in range(size)]


def labelled_rows(batch: Batch) -> np.ndarray:
    """Rows of an encoder-decoder batch that are labelled: two tokens read, two said."""
    return np.flatnonzero(batch.inputs["attention_mask"].sum(axis=1) == 2)


def test_tasks_are_mixed_in_at_their_share_and_by_weight():
    labelled = [(3.0, task(20)), (1.0, task(40))]
    changes: dict[str, Any] = {"batch_size": 16, "tasks": {"rates": {"x": 1}, "share": 0.25}}
    made = examples("encoder_decoder", labelled, **changes)
    drawn = []
    for step in range(100):
        batch = made.at(step)
        rows = labelled_rows(batch)
        assert len(batch) == 16
        assert rows.tolist() == [12, 13, 14, 15]
        drawn += batch.inputs["input_ids"][rows, 0].tolist()
        said = batch.gold[rows, :2]
        assert (said[:, 1] == 1).all()
        assert np.array_equal(said[:, 0] - 895, np.asarray(drawn[-4:]) % 20)
    first = np.asarray(drawn) < 40
    assert first.mean() == pytest.approx(0.75, abs=0.09)  # 400 draws, four deviations
    assert set(drawn) == {20, 21, 22, 40, 41, 42}
    again = examples("encoder_decoder", labelled, **changes)
    assert same(again.at(57), made.at(57))


@pytest.mark.parametrize("layout", ["encoder_decoder", "decoder", "prefix_decoder"])
def test_the_end_of_an_answer_is_said_whatever_the_objective(layout: str):
    changes: dict[str, Any] = {"tasks": {"rates": {"x": 1}, "share": 0.5}}
    objective = "causal_lm" if layout == "decoder" else "prefix_lm"
    batch = examples(layout, [(1.0, task(20))], objective=objective, **changes).at(0)
    for row in range(4, 8):
        said = batch.gold[row][batch.predict[row]].tolist()
        assert len(said) == 2
        assert said[1] == 1
    for row in range(4):
        assert 1 not in batch.gold[row][batch.predict[row]]


def test_a_step_may_hold_tasks_only():
    changes: dict[str, Any] = {"tasks": {"rates": {"x": 1}, "share": 0.9}, "batch_size": 1}
    batch = examples("encoder_decoder", [(1.0, task(20))], **changes).at(0)
    assert labelled_rows(batch).tolist() == [0]


def test_an_example_is_written_as_t5_writes_it():
    fields = {"sentence2": "So is this.", "sentence1": "This is it."}
    example = Example("mrpc-7", fields, "equivalent")
    assert text_of("glue/mrpc", example) == "mrpc sentence1: This is it. sentence2: So is this."
    assert said("glue/mrpc", example) == "equivalent"
    with pytest.raises(DataError, match=r"stsb: the target of 7 is 3\.2, expected a label"):
        said("stsb", Example("7", fields, 3.2))


def test_a_task_becomes_text_to_text(tokenizers: dict[str, Path]):
    tokenizer = load_tokenizer(tokenizers["encoder_decoder"])
    settings = TasksSettings(rates={"softprompt/reviews-en": 2.0, "softprompt/reviews-zh": 0.0})
    ((weight, found),) = task_pairs(settings, tokenizer, length=40)
    assert weight == 2.0
    one = found[0]
    assert tokenizer.decode(one.inputs).startswith("reviews-en text: ")
    assert max(len(p.inputs) for p in found) == 40
    assert {tokenizer.decode(p.targets) for p in found} >= {"positive", "negative"}


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "lacking", "changes", "message"),
    [
        ("encoder", {"mask": -1}, {}, "masked with layout encoder needs a mask token;"),
        ("encoder", {"start": -1, "end": -1}, {}, "needs an end token, a start token;"),
        ("encoder_decoder", {"sentinels": ()}, {}, "needs sentinels"),
        (
            "encoder_decoder",
            {"sentinels": ()},
            {"objective": "bert_style"},
            "needs a mask token or sentinels",
        ),
        ("encoder", {}, {"whole_word": True}, "needs a mark where words begin"),
        (
            "encoder_decoder",
            {"sentinels": (999, 998)},
            {"length": 64},
            "3 spans in a block of 70 tokens.* has 2 sentinels",
        ),
        (
            "encoder_decoder",
            {"sentinels": (999, 998)},
            {"long": {"length": 64, "share": 0.5}},
            "3 spans in a block of 70 tokens.* has 2 sentinels",
        ),
    ],
)
def test_tokens_that_an_objective_needs_are_named(
    layout: str, lacking: dict[str, Any], changes: dict[str, Any], message: str
):
    vocabulary = dataclasses.replace(VOCABULARIES[layout], **lacking)
    with pytest.raises(SettingsError, match=message):
        examples(layout, vocabulary=vocabulary, **changes)


def test_rows_that_outgrow_the_model_are_refused():
    examples("decoder", limit=15)
    with pytest.raises(SettingsError, match=r"makes rows of 31 positions, but the model has 16"):
        examples("decoder", objective="deshuffling", limit=16)


def test_a_text_shorter_than_its_validation_is_named():
    with pytest.raises(DataError, match="too short for a validation set of 3,200 tokens: en_a, zh"):
        examples(held_out=200)
