"""Which unlabelled rows meet a step, and what of them is hidden and asked for."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.auxiliary import Tokens
from tests.builders import Backbones
from tests.unlabelled_fits import auxiliary, one_fit, originals, pooled, unlabelled, with_pool


def test_every_row_is_drawn_once_before_one_is_drawn_again(backbones: Backbones):
    fit = one_fit(backbones("bert"), with_pool(task=pooled(n=30)))  # 8 rows a step
    drawn = [place for step in range(15) for place in auxiliary(fit).places(step)]
    for epoch in range(4):
        assert sorted(drawn[30 * epoch :][:30]) == list(range(30))
    assert drawn[:30] != drawn[30:60]
    other = one_fit(backbones("bert"), with_pool(task=pooled(n=30), seed=1))
    assert auxiliary(other).places(3) != auxiliary(fit).places(3)
    few = one_fit(backbones("bert"), with_pool(task=pooled(n=3)))
    assert Counter(auxiliary(few).places(0)).most_common()[-1][1] == 2


@pytest.mark.parametrize("name", ["bert", "t5-1.1"])
def test_what_is_hidden_follows_from_seed_and_step(backbones: Backbones, name: str):
    task = pooled(n=1, most=40)
    found = {}
    for seed in (0, 1):
        fit = one_fit(backbones(name), with_pool(task=task, seed=seed))
        for fit.step in (0, 1):
            found[seed, fit.step] = unlabelled(fit)
            assert unlabelled(fit) == found[seed, fit.step]
            queries = {query for one in unlabelled(fit) for query in one.rendering.queries}
            assert len(queries) > 4  # the one row is hidden in another way each time
    for one, other in itertools.combinations(found.values(), 2):
        assert one != other


def test_a_learned_row_is_no_text_whatever_the_first_token_is():
    tokens = Tokens(np.arange(4), np.asarray([True, True, True, False]))
    found = tokens.text(np.asarray([-1, 0, 3, -4, 1]))
    assert found.tolist() == [False, True, False, False, True]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    step=st.integers(0, 500),
    rate=st.floats(0.05, 0.95),
    which=st.sampled_from(["front", "around", "pair"]),
)
def test_slot_special_tokens_and_learned_rows_are_never_hidden_or_asked_for(
    backbones: Backbones, seed: int, step: int, rate: float, which: str
):
    templates = {
        "front": "{text} it was {mask}.",
        "around": "{soft:2}{text}{soft:1}{mask}{soft:'very good'} !",
        "pair": "{mask} : {text}{sep}a story{soft:2}",
    }
    backbone = backbones("bert")
    special = backbone.tokenizer.special
    method = PromptTuning(length=3 if which == "front" else None)
    one = with_pool({"rate": rate}, seed=seed, method=method, template=templates[which])
    fit = one_fit(backbone, one)
    fit.step = step
    before = {(q.ids, q.segments) for lesson in originals(fit) for q in lesson.rendering.queries}
    for lesson in unlabelled(fit):
        (query,) = lesson.rendering.queries
        (read,) = query.reads
        assert len(read.positions) == len(set(read.positions)) > 0
        assert not special & set(read.tokens)
        assert min(read.tokens) >= 0
        # With what is asked for put back it is the row as it was: slot, rows and special tokens too.
        ids = list(query.ids)
        for place, token in zip(read.positions, read.tokens, strict=True):
            ids[place] = token
        assert (tuple(ids), query.segments) in before
        mask = backbone.tokenizer.mask
        assert ids.count(mask) == 1
        assert ids.index(mask) not in read.positions


def test_15_percent_are_hidden_and_80_10_10_of_them_are_masks_others_and_themselves(
    backbones: Backbones,
):
    backbone = backbones("bert")
    fit = one_fit(backbone, with_pool({"per_example": 8}, task=pooled(n=64, most=40)))
    special, counts, n_text = backbone.tokenizer.special, Counter[str](), 0
    for step in range(60):
        fit.step = step
        for lesson in originals(fit):
            (query,) = lesson.rendering.queries
            n_text += sum(token >= 0 and token not in special for token in query.ids)
        for lesson in unlabelled(fit):
            (query,) = lesson.rendering.queries
            (read,) = query.reads
            for place, token in zip(read.positions, read.tokens, strict=True):
                inside = query.ids[place]
                same = "same" if inside == token else "other"
                counts["mask" if inside == backbone.tokenizer.mask else same] += 1
    hidden = sum(counts.values())
    other = 1 - 1 / (backbone.tokenizer.size - len(special))  # a drawn token may be the same one
    wanted = {"mask": 0.8, "other": 0.1 * other, "same": 0.1 + 0.1 * (1 - other)}

    def near(count: int, of: int, share: float) -> bool:
        return abs(count - of * share) < 4 * (of * share * (1 - share)) ** 0.5

    assert hidden > 3_000
    assert near(hidden, n_text, 0.15), (hidden, n_text)
    assert all(near(counts[fate], hidden, share) for fate, share in wanted.items()), counts


def test_a_causal_backbone_says_the_text_before_the_answer(backbones: Backbones):
    backbone = backbones("gpt2")
    template = "{soft:2}{text} it was {mask}, said one"
    one = with_pool(method=PromptTuning(), template=template, training={"batch_size": 1})
    fit = one_fit(backbone, one)
    texts = [e.fields["text"] for e in one.task.examples("unlabelled")]
    wanted = [f"{texts[place]} it was" for place in auxiliary(fit).places(0)]
    for lesson, text in zip(unlabelled(fit), wanted, strict=True):
        (query,) = lesson.rendering.queries
        (read,) = query.reads
        assert backbone.tokenizer.decode(read.tokens) == text
        assert read.positions == tuple(range(1, 1 + len(read.tokens)))  # behind both learned rows
        assert query.ids == (-1, -2, *read.tokens[:-1])


@pytest.mark.parametrize("template", ["{soft:2}{text} it was {mask} .", "{text}"])
def test_an_encoder_decoder_says_the_spans_that_sentinels_stand_for(
    backbones: Backbones, template: str
):
    backbone = backbones("t5-1.1")
    tokenizer = backbone.tokenizer
    method = PromptTuning(length=2)
    fit = one_fit(backbone, with_pool({"rate": 0.3}, method=method, template=template))
    has_slot = "mask" in template
    for lesson, one in zip(unlabelled(fit), originals(fit), strict=True):
        (query,), (before,) = lesson.rendering.queries, one.rendering.queries
        (read,) = query.reads
        said = list(read.tokens)
        assert (query.decoder or ())[len(backbone.decoder_start) :] == tuple(said[:-1])
        spans: dict[int, list[int]] = {}
        for token in said[:-1]:
            if token in tokenizer.sentinels:
                spans[token] = []
            else:
                spans[list(spans)[-1]].append(token)
        assert tuple(spans) == tokenizer.sentinels[: len(spans)]
        assert spans
        assert all(spans.values())
        # What the slot holds is not known: its sentinel is the next one, and ends what is said.
        slot = {tokenizer.sentinels[len(spans)]: [tokenizer.sentinels[0]]} if has_slot else {}
        assert said[-1:] == (list(slot) if has_slot else list(tokenizer.end))
        restored = [t for token in query.ids for t in (spans | slot).get(token, [token])]
        assert tuple(restored) == before.ids


def test_every_part_of_a_row_is_hidden_from_an_encoder_decoder_as_often(backbones: Backbones):
    fit = one_fit(backbones("t5-1.1"), with_pool({"per_example": 8}, template="{text} it was very"))
    special, places = backbones("t5-1.1").tokenizer.special, Counter[str]()
    for fit.step in range(60):
        for lesson, one in zip(unlabelled(fit), originals(fit), strict=True):
            (query,), (before,) = lesson.rendering.queries, one.rendering.queries
            middle = before.ids[len(before.ids) // 2]
            if before.ids.count(middle) == before.ids.count(before.ids[-2]) == 1:
                said = set(query.reads[0].tokens) - special
                places["middle"] += middle in said
                places["last"] += before.ids[-2] in said  # before the end token
    # Without chance the last word would be in every span that ends a row.
    assert 50 < min(places.values()) <= max(places.values()) < 1.5 * min(places.values())
