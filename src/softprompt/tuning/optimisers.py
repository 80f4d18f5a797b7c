"""From settings to an optimiser, and an optimiser's state to plain tensors and back.

The learning rate is by default *relative*: a share of the RMS of the backbone's own embeddings.
Rows of T5 have an RMS near 10.7 and rows of GPT-2 or Llama of 0.02 to 0.15, so that one absolute
rate is right for one of them and absurd for the other.

Does not know what the parameters mean, nor the loop: the loop sets each group's `lr` to the
resolved rate times `schedules.learning_rate_factor`, and clips the gradient where `clip_norm`
is given.
Adding an optimiser is one entry in OPTIMISERS.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from softprompt.errors import RunError, SettingsError
from softprompt.settings import Settings
from softprompt.tuning.adafactor import WIDE, Adafactor
from softprompt.tuning.schedules import SCHEDULES


class OptimiserSettings(Settings):
    """How the learned parameters move."""

    name: str = Field(default="adafactor", description="adafactor or adamw")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="peak rate; relative: RMS of one step as a share of the embeddings' RMS "
        "(default 0.03); absolute: no default",
    )
    relative: bool = Field(
        default=True, description="multiply the rate by the RMS of the backbone's embeddings"
    )
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="adafactor: share taken off at each step (default 1e-5, not multiplied by the "
        "rate); adamw: multiplied by the rate (default 0), not of biases and norms, which are vectors",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="largest norm of the gradient; null: no limit",
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="adamw: averaging of the moments"
    )
    eps: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="adafactor: added to the squared gradient (default 1e-30); "
        "adamw: to the denominator (default 1e-8)",
    )
    step_offset: int = Field(
        default=0,
        ge=0,
        description="adafactor: added to the step count; 1100000 reproduces the authors'",
    )
    factored: bool = Field(
        default=True,
        description="adafactor: row and column means for matrices with both sides >= 128",
    )
    schedule: str = Field(default="constant", description="course of the rate after the warm-up")
    warmup: int | float = Field(
        default=0,
        ge=0,
        description="steps of linear warm-up, or, below 1, their share of all steps",
    )

    @field_validator("name")
    @classmethod
    def _known_optimiser(cls, value: str) -> str:
        return _one_of(value, OPTIMISERS, "optimiser")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return _one_of(value, SCHEDULES, "schedule")

    @field_validator("relative")
    @classmethod
    def _rate_fits(cls, value: bool, info: ValidationInfo) -> bool:
        if "learning_rate" not in info.data:  # itself refused: one message is enough
            return value
        rate = info.data["learning_rate"]
        if not value and rate is None:
            raise ValueError(
                "an absolute learning rate has no default, for it depends on the scale of the "
                "backbone's embeddings; give learning_rate (the authors' 0.3 is for T5 alone)"
            )
        if value and rate is not None and rate > 1:
            raise ValueError(
                f"a relative learning rate of {rate:g} would move a prompt by more than its own "
                "size at every step; give about 0.03, or relative: false for an absolute rate"
            )
        return value

    @field_validator("betas")
    @classmethod
    def _betas_in_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("expected two numbers of 0 or more, below 1")
        return value

    @field_validator("betas", "step_offset", "factored")
    @classmethod
    def _has_an_effect(cls, value: object, info: ValidationInfo) -> object:
        kind, field = OPTIMISERS.get(info.data.get("name", "")), info.field_name or ""
        if kind and field not in kind.uses and value != cls.model_fields[field].default:
            raise ValueError(f"has no effect on {info.data['name']}; leave it out")
        return value

    @field_validator("warmup")
    @classmethod
    def _steps_or_share(cls, value: int | float) -> int | float:
        if isinstance(value, float) and not value < 1:
            raise ValueError("expected a whole number of steps, or a share below 1")
        return value

    def warmup_steps(self, steps: int) -> int:
        """The warm-up in steps, for a run of `steps`."""
        return self.warmup if isinstance(self.warmup, int) else round(self.warmup * steps)


@dataclass(frozen=True)
class OptimiserKind:
    """One row of OPTIMISERS.

    Args:
        build: from parameters, settings and the resolved (absolute) learning rate.
        learning_rate: the default, relative to the embeddings' RMS.
        uses: those settings that this optimiser reads and not all others do.
    """

    build: Callable[[Sequence[nn.Parameter], OptimiserSettings, float], torch.optim.Optimizer]
    learning_rate: float
    uses: frozenset[str]


def _adafactor(
    parameters: Sequence[nn.Parameter], settings: OptimiserSettings, rate: float
) -> torch.optim.Optimizer:
    return Adafactor(
        parameters,
        lr=rate,
        epsilon1=_given(settings.eps, 1e-30),
        weight_decay=_given(settings.weight_decay, 1e-5),
        factored=settings.factored,
        step_offset=settings.step_offset,
    )


def _adamw(
    parameters: Sequence[nn.Parameter], settings: OptimiserSettings, rate: float
) -> torch.optim.Optimizer:
    # Not torch's 0.01: times a rate of 0.3 (T5) it would pull a prompt to zero in 300 steps.
    decay = _given(settings.weight_decay, 0.0)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]] if decay else parameters,
        lr=rate,
        betas=settings.betas,
        eps=_given(settings.eps, 1e-8),
        weight_decay=decay,
        fused=True,  # one pass over each weight; the plain loop takes seven times as long
    )


OPTIMISERS: Mapping[str, OptimiserKind] = MappingProxyType(
    {
        "adafactor": OptimiserKind(_adafactor, 0.03, frozenset({"step_offset", "factored"})),
        "adamw": OptimiserKind(_adamw, 0.03, frozenset({"betas"})),
    }
)


# What the state of one parameter is made of; an optimiser that is not listed is not checked.
_STATE_NAMES: Mapping[type, tuple[set[str], ...]] = MappingProxyType(
    {
        Adafactor: (
            {"step", "exp_avg_sq"},
            {"step", "exp_avg_sq_row", "exp_avg_sq_col"},
        ),
        torch.optim.AdamW: ({"step", "exp_avg", "exp_avg_sq"},),
    }
)


def resolved_learning_rate(settings: OptimiserSettings, rms: float) -> float:
    """The absolute peak rate: about the RMS of one step, in units of the embeddings.

    Args:
        settings: the rate and whether it is relative.
        rms: root mean square over all elements of the backbone's input embeddings, as the network
            receives them.
    Raises:
        SettingsError: a relative rate and an RMS that is not a positive number.
    """
    rate = _given(settings.learning_rate, OPTIMISERS[settings.name].learning_rate)
    if not settings.relative:
        return rate
    if not (math.isfinite(rms) and rms > 0):
        raise SettingsError(
            f"optimiser: a relative learning rate needs embeddings with a positive RMS, got {rms}; "
            "check the backbone's weights, or give relative: false and an absolute learning_rate"
        )
    return rate * rms


def build(
    parameters: Sequence[nn.Parameter], settings: OptimiserSettings, rms: float
) -> torch.optim.Optimizer:
    """The optimiser of one fit, its groups at the peak learning rate.

    Args:
        parameters: what is learned, float32 or float64, at least one; their order names the saved
            state.
        settings: which optimiser and how.
        rms: RMS of the backbone's input embeddings, for a relative learning rate.
    Raises:
        SettingsError: nothing to learn, a parameter narrower than float32, or a rate at odds with it.
    """
    if not parameters:
        raise SettingsError("optimiser: nothing to learn: the method opens no parameter")
    for index, parameter in enumerate(parameters):
        if parameter.dtype not in WIDE:
            raise SettingsError(
                f"optimiser: learned parameter {index} {list(parameter.shape)} is "
                f"{parameter.dtype}, expected torch.float32, where small steps are not lost; "
                "load the backbone with dtype float32 to open its weights"
            )
    rate = resolved_learning_rate(settings, rms)
    return OPTIMISERS[settings.name].build(parameters, settings, rate)


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state as named copies on the CPU: `0|exp_avg` is parameter 0's running mean.

    The groups' settings are not part of it; a run writes those in its own file.

    Raises:
        RunError: state that is not a tensor.
    """
    tensors = {}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise RunError(
                    f"optimiser: state '{name}' of parameter {index} is a {type(value).__name__}, "
                    "expected a tensor: it cannot be put in a checkpoint"
                )
            tensors[f"{index}|{name}"] = value.detach().to("cpu", copy=True)
    return tensors


def load_state_tensors(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, bit for bit; the groups' settings stay as they are.

    Args:
        optimiser: built over the same parameters in the same order.
        tensors: `index|name` to tensor; copied. Empty: before the first step.
    Raises:
        RunError: a name or a shape that does not belong to this optimiser or its parameters.
    """
    saved = optimiser.state_dict()
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("|")
        if not (index.isdecimal() and name and int(index) < len(parameters)):
            raise RunError(
                f"optimiser: state '{key}' belongs to no parameter, expected 0| to "
                f"{len(parameters) - 1}|; the checkpoint is of another run"
            )
        shape = parameters[int(index)].shape
        # one number, a whole moment, the row means or the column means (torch's keep a side of 1)
        rows, columns = shape[:-1], shape[:-2] + shape[-1:]
        kept = ((*shape[:-1], 1), (*shape[:-2], 1, *shape[-1:]))
        if tensor.shape not in ((), shape, rows, columns, *kept):
            raise RunError(
                f"optimiser: state '{key}' has shape {list(tensor.shape)}, its parameter "
                f"{list(shape)}; the checkpoint is of another run"
            )
        states.setdefault(int(index), {})[name] = tensor.detach().clone()
    for number, state in states.items():
        expected = _STATE_NAMES.get(type(optimiser), (set(state),))
        if set(state) not in expected:
            raise RunError(
                f"optimiser: the state of parameter {number} holds {', '.join(sorted(state))}, "
                f"expected {' or '.join(', '.join(sorted(names)) for names in expected)}; the "
                "checkpoint is of another optimiser"
            )
    optimiser.load_state_dict({"state": states, "param_groups": saved["param_groups"]})


@torch.no_grad()
def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every element is a number. One pass for their norm says so; where that is none, as it is of
    huge numbers too, each element is looked at."""
    norm = nn.utils.get_total_norm(tensors)
    return math.isfinite(float(norm)) or all(bool(torch.isfinite(t).all()) for t in tensors)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _one_of(value: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    if value not in names:
        close = difflib.get_close_matches(value, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
        raise ValueError(f"unknown {what}; {hint}")
    return value
