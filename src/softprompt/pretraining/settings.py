"""All settings of a pretraining run, with their defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from softprompt.settings import Settings


class TokenizerSettings(Settings):
    """How the tokenizer is trained; ignored when `tokenizer_from` names one."""

    vocabulary: int = Field(12_000, ge=300, description="pieces, special tokens included")
    alphabet: int = Field(4_500, ge=64, description="single characters kept; rarer are unknown")
    characters: int = Field(40_000_000, ge=1_000, description="size of the training sample")


class PretrainSettings(Settings):
    """A masked language model from text files."""

    architecture: dict[str, Any] = Field(description="a transformers config, with model_type")
    tokenizer: TokenizerSettings = TokenizerSettings()
    tokenizer_from: str | None = Field(None, description="use this tokenizer instead of a new one")
    objective: Literal["masked"] = "masked"
    mask_rate: float = Field(0.2, gt=0, lt=1, description="share of tokens to predict")
    rates: dict[str, float] = Field(
        default={}, description="file name without ending: passes over it per pass of the mixture"
    )
    languages: dict[str, str] = Field(
        default={}, description="file name without ending: language; else its first two letters"
    )
    length: int = Field(128, ge=8, description="tokens per block")
    batch_size: int = Field(64, ge=1, description="blocks per step")
    micro_batch: int = Field(64, ge=1, description="blocks per forward pass")
    steps: int = Field(1_000, ge=1)
    learning_rate: float = Field(1.5e-3, gt=0)
    warmup: int = Field(100, ge=0)
    schedule: str = "trapezoid"
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = Field(1.0, gt=0)
    bf16: bool = Field(True, description="bfloat16 matrix products (where the device has them)")
    held_out: int = Field(32, ge=1, description="validation blocks per file")
    evaluate_every: int = Field(500, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    seed: int = 0
