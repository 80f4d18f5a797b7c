from __future__ import annotations

import pytest
import torch

from softprompt.errors import PromptError
from softprompt.prompts.addition import Addition, pick, stack


def _rows(n: int, width: int = 4, start: float = 1.0) -> torch.Tensor:
    return torch.arange(n * width, dtype=torch.float32).reshape(n, width) + start


def test_rows_that_are_no_matrix_are_refused_with_their_shape() -> None:
    with pytest.raises(PromptError, match=r"expected a floating point matrix .* \[3\]"):
        Addition(torch.zeros(3))
    with pytest.raises(PromptError, match=r"got torch\.int64"):
        Addition(torch.zeros(3, 4, dtype=torch.long))


def test_tensors_and_from_tensors_are_inverses() -> None:
    rows = _rows(2)
    assert Addition.from_tensors(Addition(rows).tensors()).rows is rows
    assert Addition.from_tensors({}).n_rows == 0


def test_an_unknown_tensor_is_refused_by_name() -> None:
    with pytest.raises(PromptError, match=r"unknown tensors in a prompt: keys"):
        Addition.from_tensors({"keys": torch.zeros(1, 4)})


def test_a_snapshot_does_not_follow_further_training() -> None:
    rows = torch.nn.Parameter(_rows(2).double())
    snapshot = Addition(rows).snapshot().rows
    assert snapshot is not None
    with torch.no_grad():
        rows.zero_()
    assert not snapshot.requires_grad
    assert torch.equal(snapshot, _rows(2))


def test_stack_fills_shorter_prompts_with_zeros() -> None:
    stacked = stack([Addition(_rows(1)), Addition(None), Addition(_rows(3))])
    assert stacked.lengths.tolist() == [1, 0, 3]
    assert stacked.rows.shape == (3, 3, 4)
    assert torch.equal(stacked.rows[0, :1], _rows(1))
    assert stacked.rows[0, 1:].abs().sum() == 0
    assert stacked.rows[1].abs().sum() == 0
    assert torch.equal(stacked.rows[2], _rows(3))


def test_prompts_without_rows_stack_to_an_empty_block() -> None:
    stacked = stack([Addition(), Addition()])
    assert stacked.rows.shape == (2, 0, 0)
    picked = pick(stacked, torch.tensor([1]), torch.tensor([[-1, -1]]))
    assert picked.shape == (1, 2, 0)


def test_stack_refuses_prompts_that_cannot_share_a_batch() -> None:
    with pytest.raises(PromptError, match="at least one"):
        stack([])
    with pytest.raises(PromptError, match=r"width 4, .*got width 5"):
        stack([Addition(_rows(1)), Addition(_rows(1, width=5))])
    with pytest.raises(PromptError, match=r"got width 4, torch\.float64"):
        stack([Addition(_rows(1)), Addition(_rows(1).double())])


def test_pick_reads_each_examples_own_prompt_row_by_row() -> None:
    first, second = _rows(2), _rows(3, start=100.0)
    stacked = stack([Addition(first), Addition(second)])
    picked = pick(
        stacked, torch.tensor([1, 0, 1]), torch.tensor([[2, -1, 0], [-1, 1, 0], [1, 1, 1]])
    )
    zeros = torch.zeros(4)
    assert torch.equal(picked[0], torch.stack([second[2], zeros, second[0]]))
    assert torch.equal(picked[1], torch.stack([zeros, first[1], first[0]]))
    assert torch.equal(picked[2], second[1].expand(3, 4))


def test_pick_refuses_a_row_beyond_its_own_prompt_even_if_another_is_longer() -> None:
    stacked = stack([Addition(_rows(2)), Addition(_rows(3))])
    with pytest.raises(PromptError, match=r"row 2 .* have \[2, 3\] rows"):
        pick(stacked, torch.tensor([0]), torch.tensor([[2]]))


def test_gradients_reach_each_prompts_own_rows_and_add_up_where_a_row_repeats() -> None:
    first, second = (torch.nn.Parameter(_rows(n)) for n in (1, 3))
    stacked = stack([Addition(first), Addition(second)])
    picked = pick(stacked, torch.tensor([0, 1]), torch.tensor([[0, 0, -1], [2, -1, 0]]))
    picked.sum().backward()
    assert first.grad is not None
    assert second.grad is not None
    assert torch.equal(first.grad, torch.full((1, 4), 2.0))
    assert torch.equal(second.grad, torch.tensor([1.0, 0.0, 1.0])[:, None].expand(3, 4))
