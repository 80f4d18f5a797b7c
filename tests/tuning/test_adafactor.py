"""Adafactor as the prompt-tuning authors ran it, against arithmetic done elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.optimization import Adafactor as TransformersAdafactor

from softprompt.errors import RunError, SettingsError
from softprompt.tuning.adafactor import Adafactor


def gradients(shape: tuple[int, ...], steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Of changing size, so that the clip is active at some steps and not at others."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.rand(steps, generator=generator) * 3
    return [size * torch.randn(shape, generator=generator) for size in sizes]


def run(
    optimiser_class: Any, start: torch.Tensor, steps: list[torch.Tensor], **options: Any
) -> Any:
    parameter = nn.Parameter(start.clone())
    optimiser = optimiser_class([parameter], **options)
    for gradient in steps:
        parameter.grad = gradient.clone()
        optimiser.step()
    return parameter.detach(), optimiser.state[parameter]


def by_hand(
    start: torch.Tensor,
    steps: list[torch.Tensor],
    lr: float,
    factored: bool,
    offset: int = 0,
    decay: float = 1e-5,
) -> np.ndarray:
    """The same rule in plain numpy, float64."""
    p = start.numpy().astype(np.float64)
    v, row, col = np.zeros_like(p), np.zeros(p.shape[:-1]), np.zeros(p.shape[-1])
    for number, gradient in enumerate(steps):
        g = gradient.numpy().astype(np.float64)
        beta = 1 - (number + offset + 1) ** -0.8
        square = g**2 + 1e-30
        if factored:
            row = beta * row + (1 - beta) * square.mean(-1)
            col = beta * col + (1 - beta) * square.mean(-2)
            u = g / np.sqrt(np.outer(row, col) / row.mean())
        else:
            v = beta * v + (1 - beta) * square
            u = g / np.sqrt(v)
        u /= max(1.0, np.sqrt((u**2).mean()))
        p = (1 - decay) * p - lr * u
    return p


def rms(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().mean().sqrt())


def test_two_steps_worked_by_hand():
    # Step 1: beta2 = 0, v = g², u = sign(g), RMS 1: p = 0.9·p - 0.5·sign(g).
    # Step 2: beta2 = 1 - 2^-0.8 = 0.425651, v[0] = 0.425651·4 + 0.574349·1 = 2.276953,
    # u = [1 / sqrt(v[0]), 0] = [0.662708, 0], RMS below 1: p = 0.9·p - 0.5·u.
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimiser = Adafactor([parameter], lr=0.5, weight_decay=0.1)
    parameter.grad = torch.tensor([2.0, -3.0])
    optimiser.step()
    assert parameter.tolist() == pytest.approx([0.4, 2.3], rel=1e-6)
    parameter.grad = torch.tensor([1.0, 0.0])
    optimiser.step()
    assert parameter.tolist() == pytest.approx([0.36 - 0.331354, 2.07], abs=1e-6)


@pytest.mark.parametrize("offset", [0, 1_100_000])
@pytest.mark.parametrize(("shape", "factored"), [((5, 7), False), ((6, 8), True)])
def test_twenty_steps_equal_plain_numpy(shape: tuple[int, int], factored: bool, offset: int):
    start = gradients(shape, 1, seed=1)[0]
    steps = gradients(shape, 20)
    learned, state = run(
        Adafactor, start, steps, lr=0.3, min_dim_size_to_factor=6 if factored else 128,
        step_offset=offset,
    )  # fmt: skip
    assert ("exp_avg_sq_row" in state) == factored
    # float32 against float64: 20 steps of 0.3 leave about 1e-6 of rounding.
    expected = by_hand(start, steps, 0.3, factored, offset)
    np.testing.assert_allclose(learned.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-5 / 0.3])
def test_agrees_with_transformers_on_a_vector(weight_decay: float):
    # Theirs factors every matrix and multiplies the decay by the rate: hence a vector, and
    # 1e-5 / 0.3 = 3.3e-5 there for 1e-5 here.
    start, steps = gradients((60,), 1, seed=1)[0] * 10, gradients((60,), 12)
    ours, _ = run(Adafactor, start, steps, lr=0.3, weight_decay=weight_decay * 0.3)
    theirs, _ = run(
        TransformersAdafactor, start, steps, lr=0.3, scale_parameter=False, relative_step=False,
        warmup_init=False, weight_decay=weight_decay,
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-5)


def test_decoupled_by_lr_multiplies_the_decay_by_the_rate():
    start, still = torch.ones(4), [torch.zeros(4)]
    plain, _ = run(Adafactor, start, still, lr=0.5, weight_decay=0.1)
    scaled, _ = run(Adafactor, start, still, lr=0.5, weight_decay=0.1, decoupled_by_lr=True)
    assert plain.tolist() == pytest.approx([0.9] * 4)
    assert scaled.tolist() == pytest.approx([0.95] * 4)


def test_with_the_authors_step_count_each_step_has_the_rms_of_the_rate():
    # v stays near 1.5e-5·g², so that the normalised update would be some 260 and the clip decides.
    start, steps = torch.zeros(10, 16), gradients((10, 16), 5)
    previous = start
    for number in range(1, 6):
        learned, _ = run(
            Adafactor, start, steps[:number], lr=0.3, weight_decay=0.0,
            step_offset=1_100_000,
        )  # fmt: skip
        assert rms(learned - previous) == pytest.approx(0.3, rel=1e-5)
        previous = learned


def test_a_fresh_step_count_lets_later_steps_be_smaller():
    steps = [torch.full((4,), 1.0), torch.full((4,), 0.1)]
    first, _ = run(Adafactor, torch.zeros(4), steps[:1], lr=0.3, weight_decay=0.0)
    second, _ = run(Adafactor, torch.zeros(4), steps, lr=0.3, weight_decay=0.0)
    assert rms(second - first) < 0.3 * 0.2


def test_a_step_does_not_depend_on_the_scale_of_the_gradient():
    steps = gradients((6, 8), 3)
    small, _ = run(Adafactor, torch.zeros(6, 8), [1e-6 * step for step in steps], lr=0.1)
    large, _ = run(Adafactor, torch.zeros(6, 8), steps, lr=0.1)
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "factored"),
    [
        ((100, 768), {}, False),
        ((768, 100), {}, False),
        ((128, 128), {}, True),
        ((2, 128, 130), {}, True),
        ((300,), {}, False),
        ((128, 128), {"factored": False}, False),
    ],
)
def test_only_matrices_with_two_large_sides_are_factored(shape, options, factored):
    _, state = run(Adafactor, torch.zeros(shape), [torch.ones(shape)], lr=0.1, **options)
    if factored:
        assert state["exp_avg_sq_row"].shape == shape[:-1]
        assert state["exp_avg_sq_col"].shape == shape[:-2] + shape[-1:]
        assert "exp_avg_sq" not in state
    else:
        assert set(state) == {"step", "exp_avg_sq"}
        assert state["exp_avg_sq"].shape == shape


def test_a_stack_of_factored_matrices_is_normalised_matrix_by_matrix_before_the_clip():
    steps = gradients((2, 6, 8), 3)
    options: dict[str, Any] = {"lr": 0.1, "min_dim_size_to_factor": 6, "clip_threshold": None}
    both, _ = run(Adafactor, torch.zeros(2, 6, 8), steps, **options)
    alone, _ = run(Adafactor, torch.zeros(6, 8), [step[1] for step in steps], **options)
    torch.testing.assert_close(both[1], alone)


def test_state_is_tensors_only():
    _, state = run(Adafactor, torch.zeros(3), gradients((3,), 2), lr=0.1)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert state["step"] == 2


def test_a_zero_gradient_moves_nothing_but_the_decay():
    learned, _ = run(Adafactor, torch.ones(3), [torch.zeros(3)] * 3, lr=0.3, weight_decay=0.0)
    assert learned.tolist() == [1, 1, 1]


def test_a_parameter_without_gradient_is_left_alone():
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = Adafactor([moved, still], lr=0.1)
    moved.grad = torch.ones(2)
    optimiser.step()
    assert still.tolist() == [1, 1]
    assert still not in optimiser.state
    assert moved.tolist() != [1, 1]


def test_the_closure_is_run_with_gradients_and_its_loss_returned():
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimiser = Adafactor([parameter], lr=0.1)

    def closure() -> float:
        loss = parameter.square().sum()
        loss.backward()
        return loss.item()

    assert optimiser.step(closure) == 4.0
    assert parameter.item() == pytest.approx(2.0 * (1 - 1e-5) - 0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -0.1),
        ("lr", float("nan")),
        ("decay_rate", 0.0),
        ("decay_rate", 1.5),
        ("epsilon1", 0.0),
        ("clip_threshold", 0.0),
        ("weight_decay", 1.0),
        ("weight_decay", -1e-5),
        ("min_dim_size_to_factor", 0),
        ("step_offset", -1),
    ],
)
def test_an_argument_out_of_range_is_named(name: str, value: float):
    with pytest.raises(SettingsError, match=f"adafactor: {name}: expected .*, got"):
        Adafactor([nn.Parameter(torch.zeros(2))], **{"lr": 0.1, name: value})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_parameter_that_is_not_float32_is_refused(dtype: torch.dtype):
    with pytest.raises(SettingsError, match=r"\[2\] is torch\..*expected torch\.float32"):
        Adafactor([nn.Parameter(torch.zeros(2, dtype=dtype))], lr=0.1)


def test_a_sparse_gradient_is_refused():
    table = nn.Embedding(4, 2, sparse=True)
    optimiser = Adafactor(table.parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RunError, match="sparse"):
        optimiser.step()
