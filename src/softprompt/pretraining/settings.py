"""All settings of a pretraining run, with their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from softprompt.settings import Settings
from softprompt.tuning.schedules import SCHEDULES


class TokenizerSettings(Settings):
    """How the tokenizer is trained; ignored when `tokenizer_from` names one."""

    vocabulary: int = Field(default=12_000, ge=300, description="pieces, special tokens included")
    alphabet: int = Field(
        default=4_500, ge=64, description="single characters kept; rarer are unknown"
    )
    characters: int = Field(default=40_000_000, ge=1_000, description="size of the training sample")


class PretrainSettings(Settings):
    """A masked language model from text files."""

    architecture: dict[str, Any] = Field(description="a transformers config, with model_type")
    tokenizer: TokenizerSettings = Field(
        default_factory=lambda: TokenizerSettings(), description="how it is trained"
    )
    tokenizer_from: str | None = Field(
        default=None, description="folder of a tokenizer to use instead of a new one"
    )
    objective: Literal["masked"] = "masked"
    mask_rate: float = Field(default=0.2, gt=0, lt=1, description="share of tokens to predict")
    rates: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default={}, description="file name without ending: passes over it per pass of the mixture"
    )
    languages: dict[str, str] = Field(
        default={}, description="file name without ending: language; else its first two letters"
    )
    length: int = Field(default=128, ge=8, description="tokens per block")
    batch_size: int = Field(default=64, ge=1, description="blocks per step")
    micro_batch: int = Field(default=64, ge=1, description="blocks per forward pass")
    steps: int = Field(default=1_000, ge=1, description="optimiser steps")
    learning_rate: float = Field(default=1.5e-3, gt=0, description="peak rate of AdamW")
    warmup: int = Field(default=100, ge=0, description="steps of linear warm-up")
    schedule: str = Field(default="trapezoid", description="course of the rate after the warm-up")
    weight_decay: float = Field(
        default=0.05, ge=0, description="of matrices only, multiplied by the rate"
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.98), description="of AdamW")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    bf16: bool = Field(
        default=True, description="bfloat16 matrix products (where the device has them)"
    )
    held_out: int = Field(default=32, ge=1, description="validation blocks per file")
    evaluate_every: int = Field(default=500, ge=1, description="steps between validations")
    checkpoint_every: int = Field(default=500, ge=1, description="steps between checkpoints")
    seed: int = Field(default=0, ge=0, description="of weights, order, masks and dropout")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        if value not in SCHEDULES:
            raise ValueError(f"unknown schedule; known: {', '.join(SCHEDULES)}")
        return value
