"""Prompt design: a template and its words as they are, nothing learned.

Zero-shot; or in-context, with solved examples of train in front of each question (Brown et al. 2020).
Contextual calibration divides what the model thinks of each label by what it thinks of it where there
is no question (Zhao et al. 2021, "Calibrate Before Use").
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from softprompt.methods.method import Learner, Method, NothingLearned, Scene, Showing


class PromptDesign(Method):
    """The template alone; soft slots are left out."""

    name: ClassVar[str] = "prompt_design"

    demonstrations: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        default=0,
        description="solved examples of train at {demo}, or in front, evenly over the labels; all: as "
        "many as fit",
    )
    demonstrations_by: Literal["random", "similarity"] = Field(
        default="random",
        description="the same ones for all, drawn by the seed, or those nearest to each question",
    )
    calibration: Literal["none", "contextual"] = Field(
        default="none",
        description="contextual: divide by the probabilities of questions without content",
    )

    @model_validator(mode="after")
    def _one_prior(self) -> Self:
        nearest = self.demonstrations and self.demonstrations_by == "similarity"
        if nearest and self.calibration == "contextual":
            raise ValueError(
                "calibration: contextual asks without content behind the demonstrations that all "
                "questions share; with similarity each has its own"
            )
        return self

    def n_rows(self, explicit: int | None) -> int:
        return 0

    def shows(self) -> Showing | None:
        if not self.demonstrations:
            return None
        count = None if self.demonstrations == "all" else self.demonstrations
        return Showing(count, self.demonstrations_by)

    @property
    def calibrates(self) -> bool:
        return self.calibration == "contextual"

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        return NothingLearned()
