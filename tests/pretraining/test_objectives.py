"""Which tokens are hidden, and how: a worked example of each objective, and what always holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.corruption import Ids, Noise, Pair, mask_tokens, span_counts, with_sentinels
from softprompt.errors import SettingsError
from softprompt.pretraining import objectives
from softprompt.pretraining.objectives import (
    OBJECTIVES,
    Vocabulary,
    bert_style,
    causal_lm,
    deshuffling,
    iid_spans,
    prefix_lm,
    raw_span_length,
    span_corruption,
)

ORDINARY = np.arange(10, 1_010)
MASK = 4
SENTINELS = tuple(range(1_199, 1_099, -1))  # as in T5: the first one is the last id
VOCABULARY = Vocabulary(0, 0, 1, MASK, SENTINELS, ORDINARY)

SENTENCE = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
WORDS = dict(enumerate(SENTENCE, start=10)) | {1_199: "<X>", 1_198: "<Y>", MASK: "<M>"}
IDS = np.arange(10, 21)


def text(ids: Ids) -> str:
    return " ".join(WORDS[int(n)] for n in ids)


class Fixed:
    """A generator that gives these draws, in this order, and these words for other words."""

    def __init__(self, *draws: Any, words: Any = None):
        self.draws, self.words = [np.asarray(draw) for draw in draws], np.asarray(words)

    def random(self, shape: Any) -> np.ndarray:
        return self.draws.pop(0)

    def choice(self, values: Any, size: Any = None, replace: bool = True) -> np.ndarray:
        return self.draws.pop(0) if self.words.ndim == 0 else self.words

    def permutation(self, ids: Ids) -> Ids:
        return ids[self.draws.pop(0)]

    def integers(self, low: int, high: int) -> np.ndarray:
        return self.draws.pop(0)


# --- in place ---------------------------------------------------------------------------------


def masked(ids: Any, generator: Any, rate: float = 0.2, **given: Any) -> objectives.Masked:
    ids = np.asarray(ids)
    protected = given.pop("protected", np.isin(ids, (2, 3)))
    return mask_tokens(
        ids, protected, rate=rate, mask_id=MASK, ordinary=ORDINARY, generator=generator, **given
    )


def test_masking_a_worked_example():
    ids = np.asarray([[2, 11, 12, 13, 14, 3]])
    drawn = Fixed(
        [[0.0, 0.1, 0.1, 0.1, 0.9, 0.0]],  # below the rate of 0.2: to be predicted
        [[0.0, 0.79, 0.80, 0.90, 0.0, 0.95]],  # mask, stay, swap
        words=[[500, 501, 502, 503, 504, 505]],
    )
    inputs, predict = masked(ids, drawn)
    assert inputs.tolist() == [[2, MASK, 12, 503, 14, 3]]
    assert predict.tolist() == [[False, True, True, True, False, False]]
    assert ids.tolist() == [[2, 11, 12, 13, 14, 3]]


@pytest.mark.parametrize(("rate", "hidden"), [(0.1, 1), (0.15, 2), (0.25, 3), (0.5, 5)])
def test_masking_at_each_rate_of_the_paper(rate: float, hidden: int):
    draws = [0.9, 0.49, 0.24, 0.9, 0.14, 0.9, 0.4, 0.9, 0.09, 0.9, 0.9]
    inputs, predict = masked([IDS], Fixed([draws], np.zeros((1, 11)), words=[IDS]), rate)
    assert predict.sum() == hidden
    assert np.array_equal(predict[0], np.asarray(draws) < rate)
    assert text(inputs[0]).count("<M>") == hidden


def test_whole_words_are_masked_or_not_together():
    #        [  walk ##ing  the  ]  ##ly  dogs   ]: after a special token a word begins anew
    ids = [[2, 20, 30, 21, 3, 31, 22, 3]]
    starts = np.zeros(1_200, dtype=bool)
    starts[20:30] = True
    drawn = Fixed(
        [[0.0, 0.1, 0.9, 0.9, 0.0, 0.1, 0.9, 0.0]],  # the draw of a word's first piece decides
        [[0.0] * 8],
        words=[[9] * 8],
    )
    inputs, predict = masked(ids, drawn, word_starts=starts)
    assert inputs.tolist() == [[2, MASK, MASK, 21, 3, MASK, 22, 3]]
    assert predict.sum() == 3


@pytest.mark.parametrize("whole_word", [False, True])
def test_rates_over_many_tokens(whole_word: bool):
    generator = np.random.default_rng(0)
    ids = generator.choice(ORDINARY, size=(400, 250))
    protected = generator.random(ids.shape) < 0.1
    starts = np.arange(1_200) % 3 > 0 if whole_word else None
    inputs, predict = masked(ids, generator, 0.3, protected=protected, word_starts=starts)
    # 90,000 tokens, or 60,000 words: a share is within 0.01 of its rate (four deviations).
    assert predict[~protected].mean() == pytest.approx(0.3, abs=0.01)
    assert not predict[protected].any()
    assert (inputs == ids)[~predict].all()
    hidden, kept = inputs[predict] == MASK, inputs[predict] == ids[predict]
    assert hidden.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    assert np.isin(inputs[predict & (inputs != MASK)], ORDINARY).all()


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_without_sense_is_refused(rate: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        masked([IDS], np.random.default_rng(0), rate)


# --- text to text -----------------------------------------------------------------------------


def test_span_corruption_of_the_papers_sentence():
    # 3 of 11 tokens in 2 spans: noise 2 + 1, cut behind the second; text 2 + 6 behind the second.
    noise = Noise(rate=0.27, mean_span=1.5)
    drawn: Any = Fixed([1], [1])
    pair = span_corruption(IDS, VOCABULARY, noise, drawn)
    # Lengths in turn: text 2, noise 2, text 6, noise 1.
    assert text(pair.inputs) == "Thank you <X> me to your party last week <Y>"
    assert text(pair.targets) == "<X> for inviting <Y> ."


def test_sentinels_in_the_form_of_the_paper():
    # Figure 2 of Raffel et al. 2019; its closing <Z> is left out, as in the released code.
    hidden = np.isin(np.arange(11), (2, 3, 8))
    pair = with_sentinels(IDS, hidden, VOCABULARY.sentinels)
    assert text(pair.inputs) == "Thank you <X> me to your party <Y> week ."
    assert text(pair.targets) == "<X> for inviting <Y> last"


def test_568_raw_tokens_make_512_and_114():
    noise = Noise()
    assert span_counts(568, noise) == (85, 28)
    assert raw_span_length(512, noise) == 568
    block = np.arange(568) % 1_000 + 10
    pair = span_corruption(block, VOCABULARY, noise, np.random.default_rng(0))
    assert (len(pair.inputs) + 1, len(pair.targets) + 1) == (512, 114)  # the end token counted


@given(
    st.integers(8, 600),
    st.sampled_from([0.1, 0.15, 0.25, 0.5, 0.9]),
    st.sampled_from([1.0, 1.3, 2.0, 3.0, 10.0]),
)
def test_a_raw_block_fills_its_inputs_and_no_more(length: int, rate: float, mean_span: float):
    noise = Noise(rate, mean_span)
    raw = raw_span_length(length, noise)

    def positions(tokens: int) -> int:
        n_noise, n_spans = span_counts(tokens, noise)
        return tokens - n_noise + n_spans + 1

    assert positions(raw) <= length < positions(raw + 1)


def test_iid_spans_a_worked_example():
    draws = [0.0, 0.9, 0.1, 0.14, 0.9, 0.15, 0.9, 0.9, 0.9, 0.9, 0.9]
    names = {**WORDS, 1_198: "<Y>"}
    pair = iid_spans(IDS, VOCABULARY, Noise(0.15), Fixed(draws))  # type: ignore[arg-type]
    assert " ".join(names[n] for n in pair.inputs) == "<X> you <Y> me to your party last week ."
    assert " ".join(names[n] for n in pair.targets) == "<X> Thank <Y> for inviting"


def test_iid_spans_may_hide_nothing():
    drawn: Any = Fixed(np.ones(11))
    pair = iid_spans(IDS, VOCABULARY, Noise(0.15), drawn)
    assert (pair.inputs.tolist(), pair.targets.tolist()) == (IDS.tolist(), [])


def test_bert_style_masks_nine_in_ten_and_says_everything():
    chosen = [0.9, 0.1, 0.9, 0.0, 0.9, 0.9, 0.14, 0.9, 0.9, 0.9, 0.9]
    fate = [0.0, 0.0, 0.0, 0.89, 0.0, 0.0, 0.9, 0.0, 0.95, 0.0, 0.0]
    words = [11] * 11
    drawn: Any = Fixed(chosen, fate, words=words)
    pair = bert_style(IDS, VOCABULARY, Noise(0.15), drawn)
    assert text(pair.inputs) == "Thank <M> for <M> me to you party last week ."
    assert pair.targets.tolist() == IDS.tolist()


def test_bert_style_borrows_the_first_sentinel_where_there_is_no_mask():
    vocabulary = Vocabulary(0, 0, 1, -1, SENTINELS, ORDINARY)
    drawn: Any = Fixed(np.zeros(11), np.zeros(11), words=IDS)
    assert text(bert_style(IDS, vocabulary, Noise(), drawn).inputs) == " ".join(["<X>"] * 11)


def test_bert_style_rates_over_many_tokens():
    block = np.random.default_rng(1).choice(ORDINARY, size=60_000)
    pair = bert_style(block, VOCABULARY, Noise(0.15), np.random.default_rng(0))
    changed = pair.inputs != block
    # A swapped token is by chance the same once in a thousand.
    assert changed.mean() == pytest.approx(0.15, abs=0.006)
    assert (pair.inputs[changed] == MASK).mean() == pytest.approx(0.9, abs=0.012)


def test_deshuffling_a_worked_example():
    order = [4, 0, 1, 2, 3, 10, 9, 8, 7, 6, 5]
    drawn: Any = Fixed(order)
    pair = deshuffling(IDS, VOCABULARY, Noise(), drawn)
    assert text(pair.inputs) == "me Thank you for inviting . week last party your to"
    assert text(pair.targets) == " ".join(SENTENCE)


def test_prefix_lm_a_worked_example():
    drawn: Any = Fixed(4)
    pair = prefix_lm(IDS, VOCABULARY, Noise(), drawn)
    assert text(pair.inputs) == "Thank you for inviting"
    assert text(pair.targets) == "me to your party last week ."


def test_causal_lm_says_everything_and_reads_nothing():
    pair = causal_lm(IDS, VOCABULARY, Noise(), np.random.default_rng(0))
    assert (len(pair.inputs), text(pair.targets)) == (0, " ".join(SENTENCE))


# --- what always holds ------------------------------------------------------------------------


def runs(pair: Pair) -> dict[int, list[int]]:
    """The tokens behind each sentinel of the targets, in order."""
    found: dict[int, list[int]] = {}
    for n in pair.targets.tolist():
        if n in SENTINELS:
            found[n] = []
        else:
            found[next(reversed(found))].append(n)
    return found


def restored(pair: Pair) -> list[int]:
    """The block, each sentinel of the inputs replaced by what the targets say of it."""
    hidden = runs(pair)
    return [m for n in pair.inputs.tolist() for m in hidden.get(n, [n])]


blocks = st.lists(st.integers(10, 1_009), min_size=2, max_size=150).map(np.asarray)
seeds = st.integers(0, 2**32 - 1)
noises = st.builds(Noise, st.floats(0.05, 0.7), st.floats(2.0, 8.0))


@given(blocks, noises, seeds)
def test_span_corruption_can_be_undone_and_hides_an_exact_number(
    block: Ids, noise: Noise, seed: int
):
    pair = span_corruption(block, VOCABULARY, noise, np.random.default_rng(seed))
    assert restored(pair) == block.tolist()
    hidden = runs(pair)
    n_noise, n_spans = span_counts(len(block), noise)
    assert sum(map(len, hidden.values())) == n_noise
    assert tuple(hidden) == SENTINELS[:n_spans]
    assert [n for n in pair.inputs.tolist() if n in hidden] == list(hidden)
    assert min(map(len, hidden.values())) >= 1
    assert pair.inputs[0] == block[0]  # a block begins with text


@given(blocks, st.floats(0.01, 0.99), seeds)
def test_iid_spans_can_be_undone(block: Ids, rate: float, seed: int):
    pair = iid_spans(block, VOCABULARY, Noise(rate), np.random.default_rng(seed))
    assert restored(pair) == block.tolist()
    assert tuple(runs(pair)) == SENTINELS[: len(runs(pair))]


def test_every_split_of_the_spans_is_equally_likely():
    # 6 noise tokens in 3 spans: ten splits, each about a tenth of 4,000 draws.
    block, noise = np.arange(10, 30), Noise(0.3, 2.0)
    generator = np.random.default_rng(0)
    drawn = [
        tuple(map(len, runs(span_corruption(block, VOCABULARY, noise, generator)).values()))
        for _ in range(4_000)
    ]
    shares = {lengths: drawn.count(lengths) / len(drawn) for lengths in set(drawn)}
    assert len(shares) == 10
    assert all(abs(share - 0.1) < 0.02 for share in shares.values())  # four deviations


@given(blocks, seeds)
def test_deshuffling_is_a_permutation(block: Ids, seed: int):
    pair = deshuffling(block, VOCABULARY, Noise(), np.random.default_rng(seed))
    assert sorted(pair.inputs.tolist()) == sorted(block.tolist())
    assert pair.targets.tolist() == block.tolist()


@given(blocks, seeds)
def test_a_prefix_and_its_rest_are_the_block(block: Ids, seed: int):
    pair = prefix_lm(block, VOCABULARY, Noise(), np.random.default_rng(seed))
    assert [*pair.inputs, *pair.targets] == block.tolist()
    assert len(pair.inputs) >= 1
    assert len(pair.targets) >= 1


TEXT_TO_TEXT = [name for name, entry in OBJECTIVES.items() if entry.make is not None]


@pytest.mark.parametrize("name", TEXT_TO_TEXT)
@given(block=blocks, seed=seeds)
def test_a_seed_means_the_same_pair_and_the_block_is_left_alone(name: str, block: Ids, seed: int):
    make = OBJECTIVES[name].make
    assert make is not None
    before = block.copy()
    first, second = (
        make(block, VOCABULARY, Noise(), np.random.default_rng(seed)) for _ in range(2)
    )
    assert np.array_equal(block, before)
    for part, again in zip(first, second, strict=True):
        assert part.dtype == np.int64
        assert np.array_equal(part, again)


@given(blocks, seeds)
def test_a_seed_means_the_same_masks_and_the_block_is_left_alone(block: Ids, seed: int):
    before = block.copy()
    starts = np.arange(1_200) % 2 > 0
    for given_starts in (None, starts):
        first, second = (
            masked([block], np.random.default_rng(seed), word_starts=given_starts) for _ in range(2)
        )
        assert np.array_equal(first.inputs, second.inputs)
        assert np.array_equal(first.predict, second.predict)
    assert np.array_equal(block, before)
    assert np.array_equal(starts, np.arange(1_200) % 2 > 0)


def test_more_spans_than_sentinels_are_refused():
    few = Vocabulary(0, 0, 1, MASK, SENTINELS[:3], ORDINARY)
    with pytest.raises(SettingsError, match=r"4 spans in a block of 80 tokens.* has 3 sentinels"):
        span_corruption(np.arange(10, 90), few, Noise(), np.random.default_rng(0))
