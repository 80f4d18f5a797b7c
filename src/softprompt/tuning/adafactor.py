"""Adafactor as the prompt-tuning authors ran it: normalised, clipped steps of a given size.

Follows the rule of flax and t5x (Shazeer & Stern 2018) with parameter scaling and momentum left out
(Lester et al. 2021). For step number i = 0, 1, … and gradient g:

    t = i + step_offset + 1,  beta2 = 1 - t^-decay_rate
    v <- beta2 v + (1 - beta2) (g^2 + epsilon1)
    u = g / sqrt(v),  u <- u / max(1, RMS(u) / clip_threshold)
    p <- (1 - weight_decay) p - lr u

Knows tensors, not prompts: where the learning rate comes from is `tuning/optimisers.py`'s matter.
Neither `torch.optim.Adafactor` (always scaled by the parameter, caps the rate) nor that of
transformers (factors every matrix, multiplies the decay by the rate) can express this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from softprompt.errors import RunError, SettingsError

WIDE = (torch.float32, torch.float64)
"""What is learned is kept at least in float32."""


class Adafactor(torch.optim.Optimizer):
    """Adafactor without parameter scaling and without momentum; state and parameters in float32 (or 64).

    Args:
        params: float32 or float64 parameters, or groups of them.
        lr: size of a step, absolute: with an active clip, each step has RMS `lr * clip_threshold`.
        decay_rate: exponent of the second moment's averaging, above 0, at most 1.
        epsilon1: added to the squared gradient.
        clip_threshold: largest RMS of the normalised update; None switches the clip off.
        weight_decay: share of the parameter taken off at each step, *not* multiplied by `lr`.
        decoupled_by_lr: multiply the weight decay by `lr` after all, as transformers does.
        factored: keep row and column means of the second moment where a matrix is large enough.
        min_dim_size_to_factor: both of the last two sides must reach this, so that a prompt of 100
            rows is never factored. (flax takes the two largest sides: for a matrix, the same.)
        step_offset: *added* to the step count. The authors restore a checkpoint whose counter
            stands at 1,100,000: beta2 is then nearly 1, v hardly moves, and the clip is active
            almost throughout. 1_100_000 reproduces that, 0 is a fresh count. (flax's option of
            the same name is subtracted, to undo such a counter: theirs is the opposite sign.)
    Raises:
        SettingsError: an argument out of range, or a parameter narrower than float32.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        decay_rate: float = 0.8,
        epsilon1: float = 1e-30,
        clip_threshold: float | None = 1.0,
        weight_decay: float = 1e-5,
        decoupled_by_lr: bool = False,
        factored: bool = True,
        min_dim_size_to_factor: int = 128,
        step_offset: int = 0,
    ) -> None:
        _require(math.isfinite(lr) and lr >= 0, "lr", "a finite number, 0 or more", lr)
        _require(0 < decay_rate <= 1, "decay_rate", "above 0, at most 1", decay_rate)
        _require(0 < epsilon1 < 1, "epsilon1", "between 0 and 1", epsilon1)
        _require(
            clip_threshold is None or 0 < clip_threshold < math.inf,
            "clip_threshold",
            "a number above 0, or None for no clip",
            clip_threshold,
        )
        _require(0 <= weight_decay < 1, "weight_decay", "0 or more, below 1", weight_decay)
        _require(
            min_dim_size_to_factor >= 1,
            "min_dim_size_to_factor",
            "1 or more",
            min_dim_size_to_factor,
        )
        _require(step_offset >= 0, "step_offset", "0 or more steps", step_offset)
        defaults = {
            "lr": lr,
            "decay_rate": decay_rate,
            "epsilon1": epsilon1,
            "clip_threshold": clip_threshold,
            "weight_decay": weight_decay,
            "decoupled_by_lr": decoupled_by_lr,
            "factored": factored,
            "min_dim_size_to_factor": min_dim_size_to_factor,
            "step_offset": step_offset,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; refuses parameters narrower than float32, whose small steps would be lost."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype not in WIDE:
                raise SettingsError(
                    f"adafactor: a parameter {list(parameter.shape)} is {parameter.dtype}, "
                    "expected torch.float32: what is learned is kept in float32, whatever the "
                    "backbone runs in"
                )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse:
            raise RunError("adafactor: got a sparse gradient, expected a dense one")
        state = self.state[parameter]
        if not state:
            state.update(_fresh_state(parameter, group))
        # Two Python floats, so that 1 - beta2 keeps its digits where beta2 is nearly 1.
        mixing = float(int(state["step"]) + group["step_offset"] + 1) ** -group["decay_rate"]
        squared = gradient.square().add_(group["epsilon1"])
        update = _normalised(gradient, squared, state, mixing)
        if group["clip_threshold"] is not None:
            rms = update.square().mean().sqrt()
            update.div_((rms / group["clip_threshold"]).clamp_(min=1.0))
        decay = group["weight_decay"] * (group["lr"] if group["decoupled_by_lr"] else 1.0)
        if decay:
            parameter.mul_(1.0 - decay)
        parameter.add_(update, alpha=-group["lr"])
        state["step"] += 1


def _fresh_state(parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
    """Zeros; `step` lives on the CPU, so that reading it never waits for an accelerator."""
    state = {"step": torch.zeros((), dtype=torch.int64)}
    shape = parameter.shape
    if group["factored"] and len(shape) >= 2 and min(shape[-2:]) >= group["min_dim_size_to_factor"]:
        state["exp_avg_sq_row"] = parameter.new_zeros(shape[:-1])
        state["exp_avg_sq_col"] = parameter.new_zeros(shape[:-2] + shape[-1:])
    else:
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def _normalised(
    gradient: Tensor, squared: Tensor, state: dict[str, Tensor], mixing: float
) -> Tensor:
    """Move the second moment by `mixing` towards `squared`; the gradient over its square root."""
    if "exp_avg_sq" in state:
        moment = state["exp_avg_sq"].mul_(1.0 - mixing).add_(squared, alpha=mixing)
        return gradient * moment.rsqrt()
    row = state["exp_avg_sq_row"].mul_(1.0 - mixing).add_(squared.mean(dim=-1), alpha=mixing)
    col = state["exp_avg_sq_col"].mul_(1.0 - mixing).add_(squared.mean(dim=-2), alpha=mixing)
    row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt_()
    return gradient * row_factor.unsqueeze(-1) * col.rsqrt().unsqueeze(-2)


def _require(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise SettingsError(f"adafactor: {name}: expected {expected}, got {got!r}")
