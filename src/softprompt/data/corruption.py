"""Text with something hidden: ids and a generator in, what is read and what is to be said out.

Integers only: no tensors, no model, no text. Both pretraining and the language-model loss beside a fit hide
tokens with these functions.
B rows, T tokens, V vocabulary, S and D tokens of inputs and targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    return Masked(replaced(ids, predict, 0.8, mask_id, ordinary, generator), predict)


def _first_of_word(ids: Ids, protected: Flags, word_starts: Flags) -> Ids:
    """Index of the first token of the word that each position belongs to, `[B, T]`."""
    begins = word_starts[ids] | protected
    begins[:, 1:] |= protected[:, :-1]  # what follows a special token begins anew
    begins[:, 0] = True
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return np.maximum.accumulate(np.where(begins, positions, 0), axis=1)


def replaced(
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


def noise_spans(length: int, noise: Noise, generator: np.random.Generator) -> Flags:
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


def with_sentinels(ids: Ids, hidden: Flags, sentinels: Sequence[int]) -> Pair:
    """Replace each run of hidden tokens by the next sentinel; list the runs behind theirs.

    Args:
        ids: `[T]`; hidden: which of them, `[T]`.
        sentinels: ids, the first one first.
    Raises:
        SettingsError: more runs than sentinels.
    """
    begins = hidden & ~np.concatenate([[False], hidden[:-1]])
    number = np.cumsum(begins) - 1  # of the run at or before each position
    if number[-1] >= len(sentinels):
        raise SettingsError(
            f"{number[-1] + 1} spans in a block of {len(ids)} tokens, but the tokenizer has "
            f"{len(sentinels)} sentinels; lower length or noise_rate, or raise mean_span"
        )
    names = np.asarray(sentinels, dtype=np.int64)
    inputs = np.where(begins, names[np.maximum(number, 0)], ids)[begins | ~hidden]
    places = np.flatnonzero(begins)
    targets = np.insert(ids[hidden], np.cumsum(hidden)[places] - 1, names[number[places]])
    return Pair(inputs.astype(np.int64), targets.astype(np.int64))
