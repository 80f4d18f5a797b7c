"""All settings of the fit loop, with their defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from softprompt.settings import Settings
from softprompt.tuning.optimisers import OptimiserSettings


class TrainingSettings(Settings):
    """How long, with what, and what is kept."""

    steps: int = Field(default=1_000, ge=0, description="optimiser steps")
    batch_size: int = Field(default=32, ge=1, description="examples per step")
    order: Literal["by_length", "shuffled"] = Field(
        default="by_length",
        description="which examples meet in a step; decided by seed and data alone",
    )
    token_budget: int = Field(
        default=8192,
        ge=1,
        description="padded tokens per forward pass; a step is split, its numbers stay",
    )
    optimiser: OptimiserSettings = Field(
        default_factory=OptimiserSettings, description="adafactor at 3 % of the embeddings' RMS"
    )
    evaluate_every: int = Field(default=100, ge=1, description="steps between evaluations on dev")
    checkpoint_every: int = Field(
        default=100, ge=1, description="steps between checkpoints to resume from"
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many evaluations without a better one"
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="which step's prompt is saved: the best on dev, or the last"
    )
    dropout: bool = Field(
        default=False,
        description="dropout in the frozen network as in its pretraining (Lester's code)",
    )
    tensorboard: bool = Field(default=False, description="write TensorBoard events too")
