"""Pretraining objectives: token ids and a generator in, what is read and what is to be said out.

Knows token ids only; no model, no text. Two forms: `Masked`, where a position of the input is to be
predicted in place, and `Pair`, a text-to-text example; both, and what hides tokens, are in
`data/corruption.py`. How a pair is laid before an architecture is `layouts.py`'s matter. Adding an objective is one function and one entry in OBJECTIVES.
T is the number of tokens of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from softprompt.data.corruption import (
    Flags,
    Ids,
    Noise,
    Pair,
    noise_spans,
    replaced,
    span_counts,
    with_sentinels,
)


@dataclass(frozen=True)
class Vocabulary:
    """What the objectives must know of a tokenizer; -1 where it has no such token.

    Args:
        pad, start, end, mask: ids. `start` begins an input (of an encoder-decoder: what the decoder
            reads), `end` closes inputs and targets.
        sentinels: of span corruption, the first one first.
        ordinary: ids of text, `[n]`.
        word_starts: whether an id begins a word, `[V]`; None where the tokenizer does not show it.
    """

    pad: int
    start: int
    end: int
    mask: int
    sentinels: tuple[int, ...]
    ordinary: Ids
    word_starts: Flags | None = None


# --- text to text -----------------------------------------------------------------------------


def span_corruption(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Hide spans of a fixed total length; each becomes one sentinel, the targets name them in turn
    (Raffel et al. 2019, section 3.3.4; `random_spans_noise_mask` of the released code).

    Args:
        ids: a block, `[T]`; at least two tokens.
    Returns:
        `round(T rate)` noise tokens in `round(noise / mean_span)` spans, the block beginning with
        text. Inputs: text, sentinel 0, text, sentinel 1, …; targets: sentinel 0, its span, ….
    Raises:
        SettingsError: more spans than sentinels.
    """
    return with_sentinels(ids, noise_spans(len(ids), noise, generator), vocabulary.sentinels)


def iid_spans(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Hide tokens independently; each run of hidden tokens becomes one sentinel ("replace corrupted
    spans", Raffel et al. 2019, section 3.3.2).

    Args and returns as `span_corruption`, the number of hidden tokens varying about `rate`.
    """
    return with_sentinels(ids, generator.random(len(ids)) < noise.rate, vocabulary.sentinels)


def bert_style(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Mask tokens in the input, say the whole text (Raffel et al. 2019, section 3.3.1: of the chosen
    tokens 90 % become the mask, 10 % another token).

    A tokenizer without a mask token lends its first sentinel, as T5's code does.
    """
    chosen = generator.random(len(ids)) < noise.rate
    mask = vocabulary.mask if vocabulary.mask >= 0 else vocabulary.sentinels[0]
    return Pair(replaced(ids, chosen, 0.9, mask, vocabulary.ordinary, generator), ids)


def deshuffling(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Say the text, its tokens given in a random order (Liu et al. 2019; Raffel et al. 2019, 3.3.1)."""
    return Pair(generator.permutation(ids), ids)


def prefix_lm(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Split at a point drawn uniformly: the first part is read, the rest said (Raffel et al. 2019,
    section 3.2.2; the LM adaptation of Lester et al. 2021, section 3.1.1).

    Both parts hold at least one token.
    """
    split = int(generator.integers(1, len(ids)))
    return Pair(ids[:split], ids[split:])


def causal_lm(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Say everything, nothing is read before."""
    return Pair(ids[:0], ids)


# --- how long a block must be -----------------------------------------------------------------


def raw_span_length(length: int, noise: Noise) -> int:
    """Most tokens whose corrupted form fills `length` positions, the end token among them.

    568 raw tokens make inputs of 512 and targets of 114 at 15 % and a mean span of 3 (Raffel et al.
    2019, section 3.1.4 and the released code).
    """
    raw = 2
    while True:
        n_noise, n_spans = span_counts(raw + 1, noise)
        if raw + 1 - n_noise + n_spans + 1 > length:
            return raw
        raw += 1


TextToText = Callable[[Ids, Vocabulary, Noise, np.random.Generator], Pair]


@dataclass(frozen=True)
class Objective:
    """One row of OBJECTIVES.

    Args:
        make: from a block to a pair; None for the objective in place.
        sentinels: it needs a tokenizer with sentinels.
        rate: its usual share of hidden tokens; None where nothing is hidden.
        closes: the targets are whole, so that the end token is said behind them.
    """

    make: TextToText | None
    sentinels: bool = False
    rate: float | None = None
    closes: bool = True


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "masked": Objective(None, rate=0.15),
        "span_corruption": Objective(span_corruption, sentinels=True, rate=0.15),
        "iid_spans": Objective(iid_spans, sentinels=True, rate=0.15),
        "bert_style": Objective(bert_style, rate=0.15),
        "deshuffling": Objective(deshuffling),
        "prefix_lm": Objective(prefix_lm, closes=False),
        "causal_lm": Objective(causal_lm, closes=False),
    }
)
