"""How fast a device multiplies, and how many operations a piece of work holds."""

from __future__ import annotations

import pytest
import torch

from softprompt.pretraining import throughput


def test_operations_are_two_for_each_product_forwards_and_twice_that_backwards():
    left = torch.ones(3, 5, requires_grad=True)
    right = torch.ones(5, 7, requires_grad=True)
    assert throughput.operations(lambda: left @ right) == 2 * 3 * 5 * 7
    assert throughput.operations(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 5 * 7


def test_the_matrix_rate_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throughput, "SIDE", 64)
    monkeypatch.setattr(throughput, "SECONDS", 0.01)
    rate = throughput.matrix_rate(torch.device("cpu"), torch.float32)
    assert rate > 2 * 64**3  # at least one product a second
