"""One beam for a whole training set, against all sequences and the model called plainly."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.recipes.search.templates.beam import Rules, beam_search, text_rules
from softprompt.recipes.search.templates.grown import rules_of
from softprompt.recipes.search.templates.joint import JointDecoder
from tests.builders import backbones

__all__ = ["backbones"]

MOST = 4
PIECES = ["<pad>", "</s>", "<unk>", "▁", "▁it", "s", ".", "...", "▁.", "。", "。。"]
SENTINELS = (13, 12, 11)
SIZE = 15


@pytest.fixture(scope="module")
def t5(backbones):
    return backbones("t5-1.1", "float64")


def small_rules(t5) -> Rules:
    """The backbone's own rules with a text vocabulary of four pieces, two of them stops."""
    rules = rules_of(t5)
    pieces = t5.tokenizer.pieces(tuple(range(t5.tokenizer.size)))
    chosen = torch.zeros_like(rules.ordinary)
    for piece in ("▁film", "▁good", "s", "."):
        chosen[pieces.index(piece)] = True
    return replace(rules, ordinary=rules.ordinary & chosen)


def sources(t5, texts=("the film was good", "a very long and dull plot it was", "so slow")):
    tokenizer, (first, second, _) = t5.tokenizer, t5.tokenizer.sentinels[:3]
    encoded = [tokenizer.encode(text, continues=False).ids for text in texts]
    return [(*ids, first, ids[-1], second, *tokenizer.end) for ids in encoded]


def plain_score(t5, source, opening, ids, combine_later):
    """What transformers itself says of each token of an output, `[n, V]`."""
    decoder = torch.tensor([[*t5.decoder_start, opening, *ids[:-1]]])
    with torch.no_grad():
        logits = t5.model(
            input_ids=torch.tensor([source]), decoder_input_ids=decoder, use_cache=False
        ).logits[0]
    made = logits[len(t5.decoder_start) :]
    return made if combine_later else made.log_softmax(dim=-1)


def every_output(rules):
    """All finished outputs within the limit, by the rules said once more."""
    stops = set(rules.stops.nonzero().flatten().tolist())
    text = rules.ordinary.nonzero().flatten().tolist()
    (end,), (_, second, third) = rules.ends, rules.sentinels
    parts = [()]
    for length in range(1, MOST):
        parts += [
            ids
            for ids in product(text, repeat=length)
            if not any(one in stops and two in stops for one, two in pairwise(ids))
        ]
    found = [(*one, end) for one in parts]
    found += [(*a, second, *b, last) for a in parts for b in parts for last in (third, end)]
    return [ids for ids in found if len(ids) <= MOST]


@pytest.mark.parametrize("combine", ["log_p", "logits"])
def test_a_wide_beam_on_a_random_t5_is_brute_force_over_all_sequences(t5, combine):
    rules = small_rules(t5)
    read, opening = sources(t5), rules.sentinels[0]
    joint = JointDecoder(t5, read, opening, width=5_000, most=MOST, combine=combine)
    found = beam_search(joint, rules, 5_000, MOST)
    expected = {}
    for ids in every_output(rules):
        each = torch.stack([plain_score(t5, s, opening, ids, combine == "logits") for s in read])
        together = each.sum(0) if combine == "log_p" else each.mean(0).log_softmax(dim=-1)
        expected[ids] = float(together[torch.arange(len(ids)), torch.tensor(ids)].sum())
    assert {one.ids for one in found} == set(expected)
    assert [one.score for one in found] == pytest.approx(
        [expected[one.ids] for one in found], rel=1e-9
    )
    assert [one.ids for one in found] == sorted(expected, key=lambda ids: -expected[ids])


@pytest.mark.parametrize("changes", [{"token_budget": 1}, {"token_budget": 90}, {"kept": 0}])
def test_how_rows_are_cut_and_what_is_remembered_changes_nothing(t5, changes):
    rules = rules_of(t5)
    read = [*sources(t5), *sources(t5, ("two scenes", "one film, one book"))]

    def outputs(**how):
        joint = JointDecoder(t5, read, rules.sentinels[0], width=6, most=7, **how)
        return beam_search(joint, rules, 6, 7)

    whole, cut = outputs(), outputs(**changes)
    assert [one.ids for one in cut] == [one.ids for one in whole]
    assert [o.score for o in cut] == pytest.approx([o.score for o in whole], rel=1e-9)


def test_the_order_of_the_examples_changes_nothing(t5):
    rules = rules_of(t5)

    def outputs(read):
        joint = JointDecoder(t5, read, rules.sentinels[0], width=5, most=5)
        return beam_search(joint, rules, 5, 5)

    one, other = outputs(sources(t5)), outputs(sources(t5)[::-1])
    assert [o.ids for o in one] == [o.ids for o in other]


def test_a_search_begun_again_is_the_same(t5):
    rules = rules_of(t5)
    joint = JointDecoder(t5, sources(t5), rules.sentinels[0], width=5, most=5)
    assert beam_search(joint, rules, 5, 5) == beam_search(joint, rules, 5, 5)


# The rules.


class Random:
    """Scores by seed and prefix; the tokens in `loved` score best of all."""

    def __init__(self, seed: int, loved: tuple[int, ...] = ()):
        self.seed, self.loved = seed, loved

    def begin(self):
        self.prefixes = [()]
        return self._scores()

    def extend(self, parents, tokens):
        pairs = zip(parents, tokens, strict=True)
        self.prefixes = [(*self.prefixes[row], token) for row, token in pairs]
        return self._scores()

    def _scores(self):
        rows = []
        for prefix in self.prefixes:
            number = self.seed + sum((n + 1) * (token + 7) for n, token in enumerate(prefix))
            row = -torch.rand(SIZE, generator=torch.Generator().manual_seed(number)) - 1
            row[list(self.loved)] = -0.1
            rows.append(row)
        return torch.stack(rows)


def rules():
    return text_rules(PIECES, (0, 1, 2, *SENTINELS, 14), SENTINELS, (1,), SIZE)


@given(seed=st.integers(0, 10_000), width=st.integers(1, 40), most=st.integers(1, 8))
def test_forbidden_sequences_never_come_however_likely_they_are(seed, width, most):
    loved = tuple(PIECES.index(piece) for piece in ("▁", ".", "...", "▁.", "。", "。。", "<unk>"))
    for one in beam_search(Random(seed, loved), rules(), width, most):
        assert len(one.ids) <= most
        assert one.ids[-1] in (1, SENTINELS[2])
        assert not set(one.ids[:-1]) & {0, 1, 2, 14, SENTINELS[0], SENTINELS[2]}
        for part in rules().parts(one.ids):
            pieces = [PIECES[token] for token in part]
            assert not {"▁", "...", "。。"} & set(pieces)
            stops = [piece in (".", "▁.", "。") for piece in pieces]
            assert not any(a and b for a, b in pairwise(stops))


@given(seed=st.integers(0, 10_000), width=st.integers(1, 30))
def test_outputs_come_best_first_once_each_and_no_more_than_the_beam_is_wide(seed, width):
    found = beam_search(Random(seed), rules(), width, 6)
    assert 0 < len(found) <= width
    assert len({one.ids for one in found}) == len(found)
    assert [one.score for one in found] == sorted((o.score for o in found), reverse=True)


def test_parts_end_at_the_next_sentinel_and_all_of_them_at_the_end():
    own = rules()
    assert own.parts((4, 5, 12, 6, 11)) == ((4, 5), (6,))
    assert own.parts((4, 5, 1)) == ((4, 5), ())
    assert own.parts((12, 6, 1)) == ((), (6,))
    assert [own.part(ids) for ids in ((), (4,), (4, 12), (4, 12, 6, 11), (4, 1))] == [0, 0, 1, 2, 2]


def test_the_last_token_only_ends():
    own = rules()
    assert own.allowed((4,), last=True).nonzero().flatten().tolist() == [1]
    assert own.allowed((4, 12), last=True).nonzero().flatten().tolist() == [1, 11]


def test_equal_scores_are_ordered_by_their_tokens():
    class Flat(Random):
        def _scores(self):
            return torch.full((len(self.prefixes), SIZE), -1.0)

    found = beam_search(Flat(0), rules(), 1_000, 3)
    assert [(one.score, one.ids) for one in found] == sorted(
        ((o.score, o.ids) for o in found), key=lambda pair: (-pair[0], pair[1])
    )
