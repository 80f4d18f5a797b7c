"""Which tokens are hidden, and how."""

from __future__ import annotations

import numpy as np
import pytest

from softprompt.pretraining.objectives import mask_tokens

ORDINARY = np.arange(10, 1_010)
MASK = 4


class Fixed:
    """A generator that gives these numbers, in this order."""

    def __init__(self, *draws: list[list[float]], words: list[list[int]]):
        self.draws, self.words = [np.asarray(draw) for draw in draws], np.asarray(words)

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.draws.pop(0)

    def choice(self, ordinary: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        return self.words


def test_a_worked_example():
    ids = np.asarray([[2, 11, 12, 13, 14, 3]])
    drawn = Fixed(
        [[0.0, 0.1, 0.1, 0.1, 0.9, 0.0]],  # below the rate of 0.2: to be predicted
        [[0.0, 0.79, 0.80, 0.90, 0.0, 0.95]],  # mask, stay, swap
        words=[[500, 501, 502, 503, 504, 505]],
    )
    protected = np.asarray([[True, False, False, False, False, True]])
    inputs, predict = mask_tokens(
        ids,
        protected,
        rate=0.2,
        mask_id=MASK,
        ordinary=ORDINARY,
        generator=drawn,  # type: ignore[arg-type]
    )
    assert inputs.tolist() == [[2, MASK, 12, 503, 14, 3]]
    assert predict.tolist() == [[False, True, True, True, False, False]]
    assert ids.tolist() == [[2, 11, 12, 13, 14, 3]]


def test_rates_over_many_tokens():
    generator = np.random.default_rng(0)
    ids = generator.choice(ORDINARY, size=(400, 250))
    protected = generator.random(ids.shape) < 0.1
    inputs, predict = mask_tokens(
        ids, protected, rate=0.3, mask_id=MASK, ordinary=ORDINARY, generator=generator
    )
    # 90,000 tokens: a share is within 0.006 of its rate (four standard deviations).
    assert predict[~protected].mean() == pytest.approx(0.3, abs=0.006)
    assert not predict[protected].any()
    assert (inputs == ids)[~predict].all()
    masked, kept = inputs[predict] == MASK, inputs[predict] == ids[predict]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    assert np.isin(inputs[predict & (inputs != MASK)], ORDINARY).all()


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_without_sense_is_refused(rate: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mask_tokens(
            np.ones((1, 4), dtype=np.int64),
            np.zeros((1, 4), dtype=bool),
            rate=rate,
            mask_id=MASK,
            ordinary=ORDINARY,
            generator=np.random.default_rng(0),
        )
