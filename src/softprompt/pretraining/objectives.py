"""Pretraining objectives: token ids and a generator in, inputs and targets out.

Knows token ids only; no model, no text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Masked(NamedTuple):
    """A batch for the masked-language-model loss: inputs `[B, T]`, and where to predict `[B, T]`."""

    inputs: Ids
    predict: Flags


def mask_tokens(
    ids: Ids,
    protected: Flags,
    *,
    rate: float,
    mask_id: int,
    ordinary: Ids,
    generator: np.random.Generator,
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
    Returns:
        The corrupted ids and the positions to predict. Each position is drawn on its own, so the
        number of predicted tokens varies about `rate`.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"the mask rate lies between 0 and 1, got {rate}")
    predict = (generator.random(ids.shape) < rate) & ~protected
    fate = generator.random(ids.shape)
    inputs = np.where(predict & (fate < 0.8), mask_id, ids)
    swapped = predict & (fate >= 0.9)
    inputs = np.where(swapped, generator.choice(ordinary, size=ids.shape), inputs)
    return Masked(inputs.astype(np.int64), predict)
