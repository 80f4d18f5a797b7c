"""How examples of an objective are laid before an architecture: one batch of arrays, padded.

Pure functions of token ids. Dimensions: B examples, S positions that are read, T positions at which
something can be said (S itself in an encoder or a decoder alone).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from softprompt.data.corruption import Flags, Ids, Masked, Pair
from softprompt.pretraining.objectives import Vocabulary


@dataclass(frozen=True)
class Batch:
    """What one forward pass takes and what it is to say.

    Args:
        inputs: keyword arguments of the model by name, arrays with B first.
        gold: the right token at each position, `[B, T]`.
        predict: where it counts, `[B, T]`.
    """

    inputs: Mapping[str, NDArray[np.int64] | NDArray[np.bool_]]
    gold: Ids
    predict: Flags

    def __len__(self) -> int:
        return len(self.gold)

    def part(self, rows: slice) -> Batch:
        """Some of the examples."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return Batch(inputs, self.gold[rows], self.predict[rows])


def in_place(masked: Masked, original: Ids) -> Batch:
    """An encoder: the answer stands where the question stood."""
    inputs = {"input_ids": masked.inputs, "attention_mask": np.ones_like(masked.inputs)}
    return Batch(inputs, original, masked.predict)


def encoder_decoder(pairs: Sequence[Pair], vocabulary: Vocabulary, closed: bool) -> Batch:
    """The encoder reads inputs and the end token, the decoder says the targets.

    The decoder begins with the start token (T5's is the padding token).

    Args:
        pairs: the examples.
        vocabulary: the special ids.
        closed: whether the end token is to be said behind the targets.
    """
    read = [np.append(pair.inputs, vocabulary.end) for pair in pairs]
    said = [_closed(pair.targets, vocabulary, closed) for pair in pairs]
    begun = [np.concatenate([[vocabulary.start], target[:-1]]) for target in said]
    ids, real = _padded(read, vocabulary.pad)
    gold, predict = _padded(said, vocabulary.pad)
    inputs = {
        "input_ids": ids,
        "attention_mask": real.astype(np.int64),
        "decoder_input_ids": _padded(begun, vocabulary.pad)[0],
    }
    return Batch(inputs, gold, predict)


def decoder(pairs: Sequence[Pair], vocabulary: Vocabulary, closed: bool) -> Batch:
    """One row of start token, inputs, targets, read left to right; the targets are said."""
    rows, firsts = _rows(pairs, vocabulary, closed)
    ids, real = _padded([row[:-1] for row in rows], vocabulary.pad)
    gold, predict = _padded([row[1:] for row in rows], vocabulary.pad)
    # What position i says stands at i + 1.
    predict &= np.arange(gold.shape[1])[None, :] + 1 >= np.asarray(firsts)[:, None]
    return Batch({"input_ids": ids, "attention_mask": real.astype(np.int64)}, gold, predict)


def prefix_decoder(pairs: Sequence[Pair], vocabulary: Vocabulary, closed: bool) -> Batch:
    """As `decoder`, but the inputs see each other in both directions (Raffel et al. 2019, 3.2.1).

    The mask is `[B, 1, S, S]`, true where a position (third axis) sees another (fourth).
    """
    plain = decoder(pairs, vocabulary, closed)
    _, firsts = _rows(pairs, vocabulary, closed)
    places = np.arange(plain.gold.shape[1])
    causal = places[None, :, None] >= places[None, None, :]
    prefix = places[None, None, :] < np.asarray(firsts)[:, None, None]
    mask = (causal | prefix)[:, None]
    return Batch({"input_ids": plain.inputs["input_ids"], "attention_mask": mask}, *_said(plain))


def _said(batch: Batch) -> tuple[Ids, Flags]:
    return batch.gold, batch.predict


def _rows(
    pairs: Sequence[Pair], vocabulary: Vocabulary, closed: bool
) -> tuple[list[Ids], list[int]]:
    """Each example as one row, and where its targets begin."""
    start = [vocabulary.start] if vocabulary.start >= 0 else []
    head = np.asarray(start, dtype=np.int64)
    rows = [
        np.concatenate([head, pair.inputs, _closed(pair.targets, vocabulary, closed)])
        for pair in pairs
    ]
    return rows, [len(head) + len(pair.inputs) for pair in pairs]


def _closed(targets: Ids, vocabulary: Vocabulary, closed: bool) -> Ids:
    return np.append(targets, vocabulary.end) if closed else targets


def _padded(rows: Sequence[Ids], pad: int) -> tuple[Ids, Flags]:
    """Rows of one length, `[B, longest]`, and where they are real."""
    lengths = np.asarray([len(row) for row in rows])
    real = np.arange(max(1, lengths.max()))[None, :] < lengths[:, None]
    ids = np.full(real.shape, pad, dtype=np.int64)
    ids[real] = np.concatenate(rows)
    return ids, real


Arrange = Callable[[Sequence[Pair], Vocabulary, bool], Batch]


@dataclass(frozen=True)
class Layout:
    """One row of LAYOUTS.

    Args:
        family: of the model: masked, encoder_decoder or causal.
        arrange: from pairs to a batch; None where the objective works in place.
    """

    family: str
    arrange: Arrange | None


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "encoder": Layout("masked", None),
        "encoder_decoder": Layout("encoder_decoder", encoder_decoder),
        "decoder": Layout("causal", decoder),
        "prefix_decoder": Layout("causal", prefix_decoder),
    }
)
