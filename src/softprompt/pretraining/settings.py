"""All settings of a pretraining run, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from softprompt.data.corruption import Noise
from softprompt.errors import SettingsError
from softprompt.pretraining.layouts import LAYOUTS
from softprompt.pretraining.objectives import OBJECTIVES
from softprompt.pretraining.preparation import PreparationSettings
from softprompt.settings import Settings
from softprompt.tuning.schedules import SCHEDULES

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class TokenizerSettings(Settings):
    """How the tokenizer is trained; ignored when `tokenizer_from` names one."""

    vocabulary: int = Field(
        default=12_000, ge=400, description="pieces, special tokens and bytes included"
    )
    ideographs: int = Field(
        default=3_600, ge=0, description="Chinese characters with a piece of their own"
    )
    characters: int = Field(default=20_000_000, ge=1_000, description="size of the training sample")


class OptimiserSettings(Settings):
    """How the weights move."""

    name: Literal["adamw", "adafactor"] = Field(
        default="adamw",
        description="adafactor: steps relative to each matrix's own size (Raffel et al. 2019)",
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="peak rate")
    warmup: int = Field(default=100, ge=0, description="steps of linear warm-up")
    schedule: str = Field(default="trapezoid", description="course of the rate after the warm-up")
    weight_decay: float = Field(
        default=0.05, ge=0, description="of matrices only, multiplied by the rate (adamw)"
    )
    betas: tuple[Share, Share] = Field(default=(0.9, 0.98), description="adamw")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        if value not in SCHEDULES:
            raise ValueError(f"unknown schedule; known: {', '.join(SCHEDULES)}")
        return value


class AverageSettings(Settings):
    """Checkpoint averaging: the mean of several late weights is the result."""

    last: int = Field(default=0, ge=0, description="how many weights are averaged; 0: none")
    every: int = Field(default=50, ge=1, description="steps between them")


class LongSettings(Settings):
    """A last part of the run on longer blocks, as BERT's (Devlin et al. 2019, appendix A.2)."""

    length: int = Field(default=512, ge=8, description="tokens per block")
    share: float = Field(default=0.0, ge=0, lt=1, description="of the steps, at the end")


class TasksSettings(Settings):
    """Labelled text-to-text tasks mixed in (multi-task pretraining, Raffel et al. 2019, 3.5.3)."""

    rates: dict[str, Rate] = Field(default={}, description="task name: weight among the tasks")
    share: float = Field(default=0.1, gt=0, lt=1, description="of the examples of a step")
    folder: str | None = Field(default=None, description="where the tasks' files lie")


class PretrainSettings(Settings):
    """A backbone from text."""

    size: str | None = Field(default=None, description="one of `sizes`")
    sizes: dict[str, dict[str, Any]] = Field(
        default={}, description="what each size adds to the architecture"
    )
    architecture: dict[str, Any] = Field(
        default={}, description="a transformers config, with model_type; or give start_from"
    )
    start_from: str | None = Field(
        default=None, description="folder or name of a checkpoint to go on from, with its tokenizer"
    )
    layout: str = Field(
        default="encoder", description="encoder, encoder_decoder, decoder or prefix_decoder"
    )
    objective: str = Field(default="masked", description="what is hidden and what is to be said")
    noise_rate: float | None = Field(
        default=None, gt=0, lt=1, description="share of hidden tokens; null: the objective's 0.15"
    )
    mean_span: float = Field(default=3.0, ge=1, description="tokens per span (span_corruption)")
    whole_word: bool = Field(default=False, description="mask whole words (masked)")
    tokenizer: TokenizerSettings = Field(
        default_factory=lambda: TokenizerSettings(), description="how it is trained"
    )
    tokenizer_from: str | None = Field(
        default=None, description="folder of a tokenizer to use instead of a new one"
    )
    preparation: PreparationSettings = Field(
        default_factory=lambda: PreparationSettings(), description="what of the text is kept"
    )
    rates: dict[str, Rate] = Field(
        default={},
        description="file name without ending, or hub:owner/name: passes per pass of the mixture",
    )
    languages: dict[str, str] = Field(
        default={}, description="file name without ending: language; else its first two letters"
    )
    tasks: TasksSettings = Field(
        default_factory=lambda: TasksSettings(), description="labelled tasks mixed in"
    )
    length: int = Field(default=128, ge=8, description="positions of an input")
    long: LongSettings = Field(
        default_factory=lambda: LongSettings(), description="longer blocks at the end"
    )
    batch_size: int = Field(default=64, ge=1, description="blocks per step, of `length`")
    micro_batch: int = Field(default=16, ge=1, description="blocks per forward pass, of `length`")
    steps: int = Field(default=1_000, ge=1, description="optimiser steps")
    optimiser: OptimiserSettings = Field(
        default_factory=lambda: OptimiserSettings(), description="how the weights move"
    )
    average: AverageSettings = Field(
        default_factory=lambda: AverageSettings(), description="of late weights"
    )
    bf16: bool = Field(
        default=True, description="bfloat16 matrix products (where the device has them)"
    )
    compile: bool | None = Field(
        default=None, description="torch.compile; null: on an accelerator only"
    )
    keep_models: list[int] = Field(
        default=[], description="steps whose model is kept in OUT/models; 0: the one started from"
    )
    held_out: int = Field(default=32, ge=1, description="validation blocks per text")
    evaluate_every: int = Field(default=500, ge=1, description="steps between validations")
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")
    seed: int = Field(default=0, ge=0, description="of weights, order, masks and dropout")

    @property
    def noise(self) -> Noise:
        """How much the objective hides."""
        usual = OBJECTIVES[self.objective].rate or Noise.rate
        return Noise(self.noise_rate or usual, self.mean_span, self.whole_word)

    @property
    def config(self) -> Mapping[str, Any]:
        """The architecture at the chosen size."""
        return {**self.architecture, **(self.sizes[self.size] if self.size else {})}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("objective", self.objective, OBJECTIVES)
        if self.size is not None:
            _one_of("size", self.size, self.sizes)
        if bool(self.config) == bool(self.start_from):
            raise ValueError("give either an architecture or start_from")
        objective = OBJECTIVES[self.objective]
        if (self.layout == "encoder") != (objective.make is None):
            inside = [name for name, entry in OBJECTIVES.items() if entry.make is None]
            raise ValueError(
                f"objective {self.objective} does not fit layout {self.layout}: an encoder learns "
                f"{', '.join(inside)}, the other layouts learn all others"
            )
        if self.noise_rate is not None and objective.rate is None:
            raise ValueError(f"noise_rate has no effect on {self.objective}; leave it out")
        if self.whole_word and objective.make is not None:
            raise ValueError(f"whole_word has no effect on {self.objective}; leave it out")
        if self.tasks.rates and self.layout == "encoder":
            raise ValueError("tasks are text to text: an encoder cannot say their answers")
        if self.batch_size * self.length % self.long.length and self.long.share:
            raise ValueError("batch_size * length must be a multiple of long.length")
        return self


def _one_of(what: str, value: str, known: Mapping[str, Any]) -> None:
    if value not in known:
        raise ValueError(f"{what}: no '{value}'; known: {', '.join(known) or 'none'}")


def at_size(settings: PretrainSettings, size: str) -> PretrainSettings:
    """The same recipe at another of its sizes.

    Raises:
        SettingsError: no such size.
    """
    if size not in settings.sizes:
        raise SettingsError(f"size: no '{size}'; known: {', '.join(settings.sizes) or 'none'}")
    return settings.model_copy(update={"size": size})
