"""How pairs are laid before each architecture, and that real models agree with the masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.corruption import Masked, Pair
from softprompt.pretraining.layouts import (
    Batch,
    decoder,
    encoder_decoder,
    in_place,
    prefix_decoder,
)
from softprompt.pretraining.objectives import Vocabulary
from tests.tiny_models import build_model, build_tokenizer

PAD, END, START = 0, 1, 3
DECODING = Vocabulary(PAD, START, END, -1, (), np.arange(5, 60))
TWO_STACKS = Vocabulary(PAD, PAD, END, -1, (), np.arange(5, 60))
BART_LIKE = Vocabulary(PAD, END, END, -1, (), np.arange(5, 60))

Arrange = Callable[[Sequence[Pair], Vocabulary, bool], Batch]


def pair(inputs: Sequence[int], targets: Sequence[int]) -> Pair:
    return Pair(np.asarray(inputs, dtype=np.int64), np.asarray(targets, dtype=np.int64))


LONG, SHORT = pair([11, 12, 13, 14], [21, 22, 23]), pair([15], [24, 25])
EMPTY = pair([], [26, 27, 28])
ids = st.lists(st.integers(5, 59), max_size=9)
pairs = st.lists(st.builds(pair, ids, ids.filter(len)), min_size=1, max_size=4)


def test_an_encoder_answers_where_it_was_asked():
    masked = Masked(np.asarray([[3, 4, 12, 1]]), np.asarray([[False, True, False, False]]))
    batch = in_place(masked, np.asarray([[3, 11, 12, 1]]))
    assert batch.inputs["input_ids"].tolist() == [[3, 4, 12, 1]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1]]
    assert batch.gold[batch.predict].tolist() == [11]


def test_an_encoder_decoder_reads_inputs_and_says_targets():
    batch = encoder_decoder([LONG, SHORT], TWO_STACKS, closed=True)
    assert batch.inputs["input_ids"].tolist() == [[11, 12, 13, 14, END], [15, END, 0, 0, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert batch.inputs["decoder_input_ids"].tolist() == [[PAD, 21, 22, 23], [PAD, 24, 25, 0]]
    assert batch.gold.tolist() == [[21, 22, 23, END], [24, 25, END, 0]]
    assert batch.predict.tolist() == [[True] * 4, [True, True, True, False]]


def test_targets_that_go_on_are_not_closed():
    batch = encoder_decoder([SHORT], TWO_STACKS, closed=False)
    assert (batch.gold.tolist(), len(batch)) == ([[24, 25]], 1)
    assert decoder([SHORT], DECODING, closed=False).gold.tolist() == [[15, 24, 25]]


def test_a_decoder_begins_as_its_model_does():
    batch = encoder_decoder([SHORT], BART_LIKE, closed=True)
    assert batch.inputs["decoder_input_ids"].tolist() == [[END, 24, 25]]


def test_a_decoder_reads_one_row_and_says_its_end():
    batch = decoder([LONG, EMPTY], DECODING, closed=True)
    assert batch.inputs["input_ids"].tolist() == [
        [START, 11, 12, 13, 14, 21, 22, 23],
        [START, 26, 27, 28, 0, 0, 0, 0],
    ]
    assert batch.inputs["attention_mask"].tolist() == [[1] * 8, [1] * 4 + [0] * 4]
    assert batch.gold[0][batch.predict[0]].tolist() == [21, 22, 23, END]
    assert batch.gold[1][batch.predict[1]].tolist() == [26, 27, 28, END]


def test_without_a_start_token_the_first_word_is_not_said():
    batch = decoder([EMPTY], Vocabulary(PAD, -1, END, -1, (), DECODING.ordinary), closed=False)
    assert batch.inputs["input_ids"].tolist() == [[26, 27]]
    assert batch.gold[batch.predict].tolist() == [27, 28]


@pytest.mark.parametrize("arrange", [decoder, prefix_decoder])
@given(pairs=pairs, closed=st.booleans())
def test_position_i_says_token_i_plus_one_and_nothing_of_the_inputs(
    arrange: Arrange, pairs: list[Pair], closed: bool
):
    batch = arrange(pairs, DECODING, closed)
    assert batch.gold.shape == batch.predict.shape == batch.inputs["input_ids"].shape
    for row, one in enumerate(pairs):
        said = batch.gold[row][batch.predict[row]].tolist()
        assert said == [*one.targets, *([END] if closed else [])]
        places = np.flatnonzero(batch.predict[row])
        assert places[0] == len(one.inputs)  # the last input, or the start token, says the first
        read = batch.inputs["input_ids"][row]
        for place in places[:-1]:
            assert read[place + 1] == batch.gold[row, place]


def test_a_prefix_sees_forward_inside_itself_only():
    batch = prefix_decoder([pair([11, 12], [21, 22]), EMPTY], DECODING, closed=False)
    sees = batch.inputs["attention_mask"]
    assert sees.shape == (2, 1, 4, 4)
    assert sees.dtype == np.bool_
    # Start token and two inputs are the prefix; of the other row, the start token alone.
    assert sees[0, 0].astype(int).tolist() == [
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    assert np.array_equal(sees[1, 0], np.tri(4, dtype=bool))


def test_a_part_of_a_batch_holds_those_rows():
    batch = prefix_decoder([LONG, SHORT, EMPTY], DECODING, closed=True)
    part = batch.part(slice(1, 3))
    assert len(part) == 2
    assert np.array_equal(part.gold, batch.gold[1:])
    for name, array in batch.inputs.items():
        assert np.array_equal(part.inputs[name], array[1:])


# --- with real models -------------------------------------------------------------------------

MODELS: dict[str, tuple[str, Vocabulary, Arrange]] = {
    "llama, causal": ("llama", DECODING, decoder),
    "llama, prefix": ("llama", DECODING, prefix_decoder),
    "gpt2, prefix": ("gpt2", DECODING, prefix_decoder),
    "t5": ("t5-1.1", TWO_STACKS, encoder_decoder),
    "bart": ("bart", BART_LIKE, encoder_decoder),
}


@pytest.fixture(scope="module")
def model() -> Callable[[str], Any]:
    kinds = {"llama": "unigram_llama", "gpt2": "bytes_gpt2", "bart": "bytes_roberta"}
    made: dict[str, Any] = {}

    def of(name: str) -> Any:
        if name not in made:
            tokenizer = build_tokenizer(kinds.get(name, "unigram_t5"))
            made[name] = build_model(name, tokenizer).double()
        return made[name]

    return of


@torch.no_grad()
def logits(model: Any, batch: Batch) -> torch.Tensor:
    inputs = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in batch.inputs.items()}
    return model(**inputs).logits


def loss(model: Any, batch: Batch) -> float:
    said, gold = logits(model, batch), torch.from_numpy(batch.gold)
    where = torch.from_numpy(batch.predict)
    return float(torch.nn.functional.cross_entropy(said[where], gold[where], reduction="sum"))


@pytest.mark.parametrize("name", MODELS)
def test_a_pair_has_the_same_loss_alone_and_padded_in_a_batch(
    name: str, model: Callable[[str], Any]
):
    kind, vocabulary, arrange = MODELS[name]
    given_pairs = [SHORT, LONG, EMPTY]
    alone = sum(loss(model(kind), arrange([one], vocabulary, True)) for one in given_pairs)
    together = loss(model(kind), arrange(given_pairs, vocabulary, True))
    # Summed in another order, in f64.
    assert together == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_prefix_is_read_in_both_directions_and_targets_only_forwards(
    kind: str, model: Callable[[str], Any]
):
    def output(inputs: list[int], targets: list[int], arrange: Arrange) -> torch.Tensor:
        return logits(model(kind), arrange([pair(inputs, targets)], DECODING, True))[0]

    plain = output([11, 12, 13], [21, 22], prefix_decoder)
    later_prefix = output([11, 12, 14], [21, 22], prefix_decoder)
    assert (plain[:2] - later_prefix[:2]).abs().amax(dim=1).min() > 1e-6
    later_target = output([11, 12, 13], [21, 23], prefix_decoder)
    assert torch.equal(plain[:5], later_target[:5])
    assert not torch.equal(plain[5], later_target[5])
    causal = output([11, 12, 13], [21, 22], decoder)
    causal_later = output([11, 12, 14], [21, 22], decoder)
    assert torch.equal(causal[:3], causal_later[:3])


def test_t5_shifts_targets_as_the_batch_does(model: Callable[[str], Any]):
    t5 = model("t5-1.1")
    batch = encoder_decoder([LONG, SHORT], TWO_STACKS, closed=True)
    labels = torch.from_numpy(np.where(batch.predict, batch.gold, -100))
    with torch.no_grad():
        own = t5(
            input_ids=torch.from_numpy(batch.inputs["input_ids"]),
            attention_mask=torch.from_numpy(batch.inputs["attention_mask"]),
            labels=labels,
        ).loss
    assert loss(t5, batch) / batch.predict.sum() == pytest.approx(float(own), rel=1e-9)
