"""All settings of the fit loop, with their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from softprompt.settings import Settings
from softprompt.tuning.optimisers import OptimiserSettings


def _budget(value: Any) -> Any:
    """One sentence, where pydantic would complain once for each type."""
    if value == "auto" or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError("expected a whole number from 1, or auto")


class AuxiliarySettings(Settings):
    """The language-model loss on the task's unlabelled rows, put through the same template (PET)."""

    weight: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="α: the loss is (1 − α) · labelled + α · language model (PET: 1e-4); 0: off",
    )
    per_example: int = Field(
        default=3, ge=1, description="unlabelled rows for each labelled one of a step"
    )
    rate: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="share of the text's tokens that is hidden; a causal backbone says them all",
    )

    @property
    def on(self) -> bool:
        """Whether there is such a loss."""
        return self.weight > 0


class TrainingSettings(Settings):
    """How long, with what, and what is kept."""

    steps: int = Field(default=1_000, ge=0, description="optimiser steps")
    batch_size: int = Field(default=32, ge=1, description="examples per step")
    order: Literal["by_length", "shuffled"] = Field(
        default="by_length",
        description="which examples meet in a step; decided by seed and data alone",
    )
    # Not `auto` by default: a seed would mean the same bits only where as much memory is free.
    token_budget: Annotated[int | Literal["auto"], BeforeValidator(_budget)] = Field(
        default=8192,
        description="padded tokens per forward pass; a step is split, its numbers stay; "
        "auto: as many as the free memory holds",
    )
    optimiser: OptimiserSettings = Field(
        default_factory=OptimiserSettings, description="adafactor at 3 % of the embeddings' RMS"
    )
    auxiliary: AuxiliarySettings = Field(
        default_factory=AuxiliarySettings,
        description="language-model loss on unlabelled rows beside the labelled ones",
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
    keep_weights: bool = Field(
        default=True,
        description="save weights of the backbone that were trained; full_tuning: off by default",
    )
    dropout: bool = Field(
        default=False,
        description="dropout in the frozen network as in its pretraining (Lester's code)",
    )
    tensorboard: bool = Field(default=False, description="write TensorBoard events too")
