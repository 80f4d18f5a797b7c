"""Pretraining objectives: token ids and a generator in, what is read and what is to be said out.

Knows token ids only; no model, no text. Two forms: `Masked`, where a position of the input is to be
predicted in place, and `Pair`, a text-to-text example. How a pair is laid before an architecture is
`layouts.py`'s matter. Adding an objective is one function and one entry in OBJECTIVES.
T is the number of tokens of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softprompt.errors import SettingsError

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Masked(NamedTuple):
    """A batch for the masked-language-model loss: inputs `[B, T]`, and where to predict `[B, T]`."""

    inputs: Ids
    predict: Flags


class Pair(NamedTuple):
    """A text-to-text example, both without start and end tokens: inputs `[S]`, targets `[D]`."""

    inputs: Ids
    targets: Ids


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


@dataclass(frozen=True)
class Noise:
    """How much an objective hides.

    Args:
        rate: share of the tokens, in (0, 1).
        mean_span: mean length of a corrupted span, in tokens (span corruption).
        whole_word: a word is masked with all of its pieces or not at all (masked).
    """

    rate: float = 0.15
    mean_span: float = 3.0
    whole_word: bool = False


# --- in place ---------------------------------------------------------------------------------


def mask_tokens(
    ids: Ids,
    protected: Flags,
    *,
    rate: float,
    mask_id: int,
    ordinary: Ids,
    generator: np.random.Generator,
    word_starts: Flags | None = None,
) -> Masked:
    """Choose `rate` of the tokens to predict; of these 80 % become the mask token, 10 % another
    token, 10 % stay (Devlin et al. 2019, section 3.1; rates other than 15 %: Raffel et al. 2019).

    Args:
        ids: token ids, `[B, T]`.
        protected: true where a token is never chosen (special tokens, padding, answer slots).
        rate: share of the unprotected tokens to predict, in (0, 1).
        mask_id: id of the mask token.
        ordinary: ids that a replaced token is drawn from, `[n]`.
        generator: the only source of chance.
        word_starts: which ids begin a word, `[V]`; given, words are chosen whole (the whole-word
            masking of Devlin et al.'s later release) and share the fate mask / other / stay per
            token.
    Returns:
        The corrupted ids and the positions to predict. Each position (word) is drawn on its own, so
        the number of predicted tokens varies about `rate`.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"the mask rate lies between 0 and 1, got {rate}")
    chosen = generator.random(ids.shape) < rate
    if word_starts is not None:
        chosen = np.take_along_axis(chosen, _first_of_word(ids, protected, word_starts), axis=1)
    predict = chosen & ~protected
    return Masked(_replaced(ids, predict, 0.8, mask_id, ordinary, generator), predict)


def _first_of_word(ids: Ids, protected: Flags, word_starts: Flags) -> Ids:
    """Index of the first token of the word that each position belongs to, `[B, T]`."""
    begins = word_starts[ids] | protected
    begins[:, 1:] |= protected[:, :-1]  # what follows a special token begins anew
    begins[:, 0] = True
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return np.maximum.accumulate(np.where(begins, positions, 0), axis=1)


def _replaced(
    ids: Ids,
    chosen: Flags,
    masked: float,
    mask_id: int,
    ordinary: Ids,
    generator: np.random.Generator,
) -> Ids:
    """Of the chosen tokens, the share `masked` becomes the mask, 10 % any token, the rest stays."""
    fate = generator.random(ids.shape)
    inputs = np.where(chosen & (fate < masked), mask_id, ids)
    swapped = chosen & (fate >= 0.9)
    inputs = np.where(swapped, generator.choice(ordinary, size=ids.shape), inputs)
    return inputs.astype(np.int64)


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
    return _with_sentinels(ids, _noise_spans(len(ids), noise, generator), vocabulary)


def iid_spans(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Hide tokens independently; each run of hidden tokens becomes one sentinel ("replace corrupted
    spans", Raffel et al. 2019, section 3.3.2).

    Args and returns as `span_corruption`, the number of hidden tokens varying about `rate`.
    """
    return _with_sentinels(ids, generator.random(len(ids)) < noise.rate, vocabulary)


def bert_style(
    ids: Ids, vocabulary: Vocabulary, noise: Noise, generator: np.random.Generator
) -> Pair:
    """Mask tokens in the input, say the whole text (Raffel et al. 2019, section 3.3.1: of the chosen
    tokens 90 % become the mask, 10 % another token).

    A tokenizer without a mask token lends its first sentinel, as T5's code does.
    """
    chosen = generator.random(len(ids)) < noise.rate
    mask = vocabulary.mask if vocabulary.mask >= 0 else vocabulary.sentinels[0]
    return Pair(_replaced(ids, chosen, 0.9, mask, vocabulary.ordinary, generator), ids)


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


def _noise_spans(length: int, noise: Noise, generator: np.random.Generator) -> Flags:
    """Which tokens are noise, `[length]`: spans of random lengths with a fixed sum."""
    n_noise, n_spans = span_counts(length, noise)
    hidden = _segments(n_noise, n_spans, generator)
    kept = _segments(length - n_noise, n_spans, generator)
    lengths = np.stack([kept, hidden], axis=1).reshape(-1)  # text first, then noise, in turn
    return np.repeat(np.arange(2 * n_spans) % 2 == 1, lengths)


def span_counts(length: int, noise: Noise) -> tuple[int, int]:
    """How many of `length` tokens span corruption hides, and in how many spans."""
    n_noise = min(max(round(length * noise.rate), 1), length - 1)
    n_spans = min(max(round(n_noise / noise.mean_span), 1), length - n_noise)
    return n_noise, n_spans


def _segments(total: int, parts: int, generator: np.random.Generator) -> Ids:
    """`total` split into `parts` lengths of at least one, all splits equally likely, `[parts]`."""
    cuts = np.sort(generator.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def _with_sentinels(ids: Ids, hidden: Flags, vocabulary: Vocabulary) -> Pair:
    """Replace each run of hidden tokens by the next sentinel; list the runs behind theirs."""
    begins = hidden & ~np.concatenate([[False], hidden[:-1]])
    number = np.cumsum(begins) - 1  # of the run at or before each position
    if number[-1] >= len(vocabulary.sentinels):
        raise SettingsError(
            f"{number[-1] + 1} spans in a block of {len(ids)} tokens, but the tokenizer has "
            f"{len(vocabulary.sentinels)} sentinels; lower length or noise_rate, or raise mean_span"
        )
    sentinels = np.asarray(vocabulary.sentinels, dtype=np.int64)
    inputs = np.where(begins, sentinels[np.maximum(number, 0)], ids)[begins | ~hidden]
    places = np.flatnonzero(begins)
    targets = np.insert(ids[hidden], np.cumsum(hidden)[places] - 1, sentinels[number[places]])
    return Pair(inputs.astype(np.int64), targets.astype(np.int64))


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
