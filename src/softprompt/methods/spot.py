"""SPoT: prompt tuning that starts from the prompt of another task, chosen among several.

Vu et al. 2022, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer" (arXiv
2110.07904), section 4: the source whose prompt is most like one of the target task, by the cosine of
the two prompts' mean rows. The rows then are learned as in prompt tuning; with one source known
beforehand, `prompt_tuning` with `init: prompt` is the same.

The target's own prompt is the user's to make: a short `prompt_tuning` run on the target task (the
paper trains 10,000 steps), named as `target`. Left out, the prompt that prompt tuning would start
from stands in for it: rows of the label words and of frequent words of the task's texts. That costs
nothing and says less: it compares a prompt that was learned with one that was not.
The paper's other measure, over pairs of rows, and its transfer from mixtures of tasks are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from softprompt.errors import SettingsError
from softprompt.methods.initialisation import (
    alike_rows,
    initial_rows,
    source_length,
    source_rows,
)
from softprompt.methods.method import Learner, Scene, learned_dtype
from softprompt.methods.soft_rows import RowsMethod, SoftRows


class Spot(RowsMethod):
    """Prompt tuning from the most similar of several source prompts (SPoT); P·E."""

    name: ClassVar[str] = "spot"
    title: ClassVar[str] = "SPoT"

    sources: tuple[str, ...] = Field(
        description="prompt folders or .npy files of other tasks, learned on this backbone, of one "
        "length"
    )
    choose: Literal["cosine", "first"] = Field(
        default="cosine", description="cosine: the most similar source; first: the first one"
    )
    target: str | None = Field(
        default=None,
        description="a prompt learned on the target task, to compare sources with; else the rows "
        "that prompt tuning would start from",
    )

    @field_validator("sources")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected at least one prompt folder or .npy file")
        return value

    def n_rows(self, explicit: int | None) -> int:
        length = source_length(self.sources[0], "sources")
        for given, who in ((explicit, "the template says"), (self.length, "length is")):
            if given is not None and given != length:
                raise SettingsError(
                    f"spot: {who} {given}, the source {self.sources[0]} has {length} rows; give "
                    f"{length}, or leave it out"
                )
        return length

    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        source = self.chosen(scene, generator)
        rows = initial_rows("prompt", scene, generator, source=source)
        return SoftRows(rows.to(scene.backbone.device, learned_dtype(scene.backbone)))

    def chosen(self, scene: Scene, generator: torch.Generator) -> str:
        """The source that the rows start from; the first of equals.

        Raises:
            UsageError: a source or a target that cannot be read, or does not fit.
        """
        found = alike_rows(self.sources, scene.backbone, "sources")
        if self.choose == "first":
            return self.sources[0]
        if self.target is not None:
            target = source_rows(self.target, scene.backbone, "target")
        else:
            target = initial_rows("labels", scene, generator)
        cosines = similarities(target, found)
        return self.sources[max(range(len(cosines)), key=cosines.__getitem__)]


def similarities(
    target: Float[Tensor, "Q E"], sources: Sequence[Float[Tensor, "P E"]]
) -> list[float]:
    """The cosine of each source's mean row with the target's, −1 to 1."""
    mean = target.mean(dim=0)
    return [float(functional.cosine_similarity(mean, rows.mean(dim=0), dim=0)) for rows in sources]
