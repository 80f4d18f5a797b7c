"""Settings become an optimiser; its state becomes tensors and comes back bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from softprompt.errors import RunError, SettingsError
from softprompt.tuning.adafactor import Adafactor
from softprompt.tuning.optimisers import (
    OPTIMISERS,
    OptimiserSettings,
    all_finite,
    build,
    load_state_tensors,
    resolved_learning_rate,
    state_tensors,
)


def two_parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(130, 128), (5, 4)]]


def take_steps(optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for parameter in optimiser.param_groups[0]["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_relative_rate_is_a_share_of_the_embeddings_rms(name: str):
    settings = OptimiserSettings(name=name)
    assert resolved_learning_rate(settings, rms=10.7) == pytest.approx(0.321)  # T5: Lester's 0.3
    assert resolved_learning_rate(settings, rms=0.14) == pytest.approx(0.0042)
    assert build(two_parameters(), settings, rms=10.7).param_groups[0]["lr"] == pytest.approx(0.321)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("scale", [0.02, 10.7])
def test_the_first_step_moves_a_prompt_by_the_same_share_whatever_the_scale(name, scale):
    parameter = nn.Parameter(torch.zeros(10, 8))
    optimiser = build([parameter], OptimiserSettings(name=name), rms=scale)
    parameter.grad = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    optimiser.step()
    assert parameter.detach().square().mean().sqrt().item() / scale == pytest.approx(0.03, rel=1e-4)


def test_an_absolute_rate_ignores_the_embeddings():
    settings = OptimiserSettings(learning_rate=0.3, relative=False)
    assert resolved_learning_rate(settings, rms=0.14) == 0.3
    assert resolved_learning_rate(settings, rms=float("nan")) == 0.3


@pytest.mark.parametrize("rms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_relative_rate_needs_a_real_rms(rms: float):
    with pytest.raises(SettingsError, match="positive RMS, got"):
        resolved_learning_rate(OptimiserSettings(), rms)


def test_settings_reach_adafactor():
    settings = OptimiserSettings(
        weight_decay=2e-5, eps=1e-20, step_offset=1_100_000, factored=False
    )
    optimiser = build(two_parameters(), settings, rms=1.0)
    assert isinstance(optimiser, Adafactor)
    group = optimiser.param_groups[0]
    found = [group[key] for key in ("weight_decay", "epsilon1", "step_offset", "factored")]
    assert found == [2e-5, 1e-20, 1_100_000, False]


def test_settings_reach_adamw():
    settings = OptimiserSettings(name="adamw", weight_decay=0.01, eps=1e-6, betas=(0.8, 0.9))
    optimiser = build(two_parameters(), settings, rms=1.0)
    assert isinstance(optimiser, torch.optim.AdamW)
    group = optimiser.param_groups[0]
    assert [group[key] for key in ("weight_decay", "eps", "betas")] == [0.01, 1e-6, (0.8, 0.9)]


def test_defaults_are_the_references():
    adafactor = build(two_parameters(), OptimiserSettings(), rms=1.0).param_groups[0]
    assert (adafactor["weight_decay"], adafactor["epsilon1"]) == (1e-5, 1e-30)
    assert (adafactor["clip_threshold"], adafactor["decay_rate"]) == (1.0, 0.8)
    assert not adafactor["decoupled_by_lr"]
    adamw = build(two_parameters(), OptimiserSettings(name="adamw"), rms=1.0).param_groups[0]
    assert (adamw["weight_decay"], adamw["eps"]) == (0.0, 1e-8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "adafacter"}, "unknown optimiser; did you mean 'adafactor'"),
        ({"schedule": "linaer"}, "unknown schedule; did you mean 'linear'"),
        ({"schedule": "zzz"}, "known: constant, linear"),
        ({"relative": False}, "an absolute learning rate has no default"),
        ({"learning_rate": 5}, "'relative': a relative learning rate of 5 would"),
        ({"learning_rate": 0}, "'learning_rate'"),
        ({"learning_rate": "inf"}, "'learning_rate'"),
        ({"warmup": 1.5}, "whole number of steps, or a share below 1"),
        ({"warmup": -1}, "'warmup"),
        ({"weight_decay": 1.0}, "'weight_decay'"),
        ({"clip_norm": 0}, "'clip_norm'"),
        ({"name": "adamw", "betas": [0.9, 1.0]}, "'betas': expected two numbers"),
        ({"name": "adamw", "step_offset": 5}, "'step_offset': has no effect on adamw"),
        ({"name": "adamw", "factored": False}, "'factored': has no effect on adamw"),
        ({"betas": [0.8, 0.9]}, "'betas': has no effect on adafactor"),
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(values: dict[str, Any], message: str):
    with pytest.raises(SettingsError, match=message):
        OptimiserSettings.read(values)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_settings_survive_being_written_out_in_full(name: str):
    settings = OptimiserSettings(name=name, warmup=0.1)
    assert OptimiserSettings.read(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(("warmup", "steps"), [(0, 0), (25, 25), (0.1, 20), (0.0, 0)])
def test_warm_up_is_a_number_of_steps_or_a_share(warmup: float, steps: int):
    assert OptimiserSettings(warmup=warmup).warmup_steps(200) == steps


def test_nothing_to_learn_is_an_error():
    with pytest.raises(SettingsError, match="nothing to learn"):
        build([], OptimiserSettings(), rms=1.0)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_half_precision_parameters_are_refused(name: str):
    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4).half())]
    with pytest.raises(SettingsError, match=r"parameter 1 \[4\] is torch.float16"):
        build(parameters, OptimiserSettings(name=name), rms=1.0)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("at", [0, 3])
def test_a_resumed_optimiser_goes_on_bit_for_bit(name: str, at: int):
    whole = build(two_parameters(), OptimiserSettings(name=name), rms=1.0)
    take_steps(whole, 0, 6)

    begun = build(two_parameters(), OptimiserSettings(name=name), rms=1.0)
    take_steps(begun, 0, at)
    stored = load(save(state_tensors(begun)))
    resumed = build(
        [nn.Parameter(p.detach().clone()) for p in begun.param_groups[0]["params"]],
        OptimiserSettings(name=name),
        rms=1.0,
    )
    load_state_tensors(resumed, stored)
    take_steps(resumed, at, 6)

    pairs = zip(whole.param_groups[0]["params"], resumed.param_groups[0]["params"], strict=True)
    assert all(torch.equal(expected, found) for expected, found in pairs)
    expected, found = state_tensors(whole), state_tensors(resumed)
    assert expected.keys() == found.keys() != set()
    for key, tensor in expected.items():
        assert torch.equal(tensor, found[key])
        assert tensor.dtype == found[key].dtype


@pytest.mark.parametrize("name", OPTIMISERS)
def test_saved_and_loaded_state_share_no_memory_with_the_optimiser(name: str):
    optimiser = build(two_parameters(), OptimiserSettings(name=name), rms=1.0)
    take_steps(optimiser, 0, 2)
    saved = state_tensors(optimiser)
    copies = {key: tensor.clone() for key, tensor in saved.items()}
    load_state_tensors(optimiser, saved)
    take_steps(optimiser, 2, 4)
    assert all(torch.equal(saved[key], copy) for key, copy in copies.items())


def test_the_state_is_named_by_parameter_and_moment():
    optimiser = build(two_parameters(), OptimiserSettings(), rms=1.0)
    assert state_tensors(optimiser) == {}
    take_steps(optimiser, 0, 1)
    assert set(state_tensors(optimiser)) == {
        "0|step", "0|exp_avg_sq_row", "0|exp_avg_sq_col", "1|step", "1|exp_avg_sq",
    }  # fmt: skip


def test_loading_state_leaves_the_learning_rate_to_the_settings():
    optimiser = build(two_parameters(), OptimiserSettings(), rms=1.0)
    take_steps(optimiser, 0, 1)
    other = build(two_parameters(), OptimiserSettings(learning_rate=0.05), rms=1.0)
    load_state_tensors(other, state_tensors(optimiser))
    assert other.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"7|step": torch.tensor(1)}, r"'7\|step' belongs to no parameter, expected 0\| to 1\|"),
        ({"prompt": torch.tensor(1)}, "'prompt' belongs to no parameter"),
        ({"1|exp_avg_sq": torch.zeros(9, 4)}, r"shape \[9, 4\], its parameter \[5, 4\]"),
        ({"1|exp_avg_sq": torch.zeros(5, 4)}, "of parameter 1 holds exp_avg_sq, expected"),
    ],
)
def test_state_of_another_run_is_refused(tensors: dict[str, torch.Tensor], message: str):
    with pytest.raises(RunError, match=message):
        load_state_tensors(build(two_parameters(), OptimiserSettings(), rms=1.0), tensors)


def test_the_factored_state_of_torchs_own_adafactor_comes_back_bit_for_bit():
    whole, first, resumed = (torch.optim.Adafactor(two_parameters(), lr=0.01) for _ in range(3))
    take_steps(whole, 0, 4)
    take_steps(first, 0, 2)
    with torch.no_grad():
        for own, other in zip(
            resumed.param_groups[0]["params"], first.param_groups[0]["params"], strict=True
        ):
            own.copy_(other)
    load_state_tensors(resumed, state_tensors(first))
    take_steps(resumed, 2, 4)
    for own, other in zip(
        resumed.param_groups[0]["params"], whole.param_groups[0]["params"], strict=True
    ):
        assert torch.equal(own, other)


def test_state_of_another_optimiser_is_refused():
    adamw = build(two_parameters(), OptimiserSettings(name="adamw"), rms=1.0)
    take_steps(adamw, 0, 1)
    adafactor = build(two_parameters(), OptimiserSettings(), rms=1.0)
    with pytest.raises(RunError, match="the checkpoint is of another optimiser"):
        load_state_tensors(adafactor, state_tensors(adamw))


def test_state_that_is_no_tensor_is_refused():
    optimiser = build(two_parameters(), OptimiserSettings(), rms=1.0)
    optimiser.state[optimiser.param_groups[0]["params"][0]]["step"] = 3
    with pytest.raises(RunError, match="state 'step' of parameter 0 is a int"):
        state_tensors(optimiser)


def test_adamw_pulls_matrices_towards_zero_and_no_vectors():
    """PET's hyper-parameters: decay of all but biases and norms, which have no gradient of their own here."""
    matrix, vector = (torch.nn.Parameter(torch.ones(*shape)) for shape in ((2, 3), (3,)))
    settings = OptimiserSettings(name="adamw", weight_decay=0.1, learning_rate=0.5, relative=False)
    optimiser = build([vector, matrix], settings, rms=1.0)
    matrix.grad, vector.grad = torch.zeros(2, 3), torch.zeros(3)
    optimiser.step()
    assert torch.equal(vector, torch.ones(3))
    assert torch.allclose(matrix, torch.full((2, 3), 1 - 0.1 * 0.5))


def test_huge_numbers_are_finite_and_one_that_is_none_is_found():
    huge = torch.full((4,), 1e30)  # its square is not
    assert all_finite([torch.ones(2), huge])
    assert not all_finite([huge, torch.tensor([1.0, float("nan")])])
    assert not all_finite([torch.tensor([float("inf")])])
