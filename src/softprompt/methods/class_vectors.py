"""What methods share whose answer is read by learned class vectors: where these start, how they move.

Score of class c = W[c] · h + b[c], with h what the output head would read at the answer slot
(`prompts/readout.py`). Knows the backbone's head, not what else a method learns.
Dimensions: C classes, H width of the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.errors import BackboneError, SettingsError
from softprompt.methods.method import Learner, Method, Scene, Staged, learned_dtype
from softprompt.prompts.addition import Addition
from softprompt.prompts.readout import BIAS, WEIGHT, Readout
from softprompt.text.answers import Classes

CLASS_PARAMETERS = (WEIGHT, BIAS)
"""What the two are called among a learner's parameters."""

RANDOM = 0.1
"""How large random vectors are, as a share of the output rows' RMS."""


class ClassMethod(Method):
    """Base of the methods whose class vectors answer; C(H + 1) parameters."""

    class_init: Literal["words", "zero", "random"] = Field(
        default="random",
        description="what class vectors start from: the output head's rows of the label words, so that "
        "the first scores are those of the words; zero; random ones, small beside the head's",
    )

    @property
    def reads_classes(self) -> bool:
        return True

    def first_classes(self, scene: Scene, generator: torch.Generator) -> Readout:
        """Where the class vectors start, f32 on the CPU.

        Raises:
            SettingsError: words, on a backbone whose head has no rows for them.
        """
        answers, head = scene.renderer.answers, scene.backbone.head
        count = len(answers.labels(None))
        if self.class_init == "words" and isinstance(answers, Classes):
            return _of_words(scene, answers)
        drawn = torch.zeros(count, head.width)
        if self.class_init == "random":
            drawn = RANDOM * head.rms * torch.randn(drawn.shape, generator=generator)
        return Readout(drawn, torch.zeros(count))


class ClassVectors:
    """Weight and bias as two parameters.

    Args:
        start: where they start.
        backbone: for its device and precision, and the scales of its embeddings and of its head.
        unit: the learning rate at which one step would move the weight by the head's RMS, and the bias
            by a nat: that of the embeddings where the rate is a share of it; None: both move by the
            rate itself, as weights of a network do.
    """

    def __init__(self, start: Readout, backbone: Backbone, *, unit: float | None):
        self._scales = (1.0, 1.0) if unit is None else (backbone.head.rms / unit, 1.0 / unit)
        dtype = learned_dtype(backbone)
        self._weight, self._bias = (
            nn.Parameter(tensor.to(backbone.device, dtype, copy=True) / scale)
            for tensor, scale in zip((start.weight, start.bias), self._scales, strict=True)
        )

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(zip(CLASS_PARAMETERS, (self._weight, self._bias), strict=True))

    def readout(self) -> Readout:
        """The class vectors now, with gradient."""
        return Readout(self._weight * self._scales[0], self._bias * self._scales[1])


class WithClasses:
    """A learner and class vectors beside it.

    Args:
        inner: what else is learned.
        classes: the class vectors.
    """

    def __init__(self, inner: Learner, classes: ClassVectors):
        self._inner, self._classes = inner, classes

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {**self._inner.parameters(), **self._classes.parameters()}

    def addition(self) -> Addition:
        return replace(self._inner.addition(), readout=self._classes.readout())

    def at(self, step: int) -> None:
        """As the learner that it holds has it; class vectors learn at every step."""
        if isinstance(self._inner, Staged):
            self._inner.at(step)


def _of_words(scene: Scene, answers: Classes) -> Readout:
    """The mean row of each label's words, as they are tokenised in the template."""
    fields = dict.fromkeys(scene.renderer.template.fields, "…")
    rows: list[list[tuple[Tensor, Tensor]]] = [[] for _ in answers.words]
    spelled = scene.renderer.candidate_ids(fields)
    for candidate, (_, words) in zip(answers.candidates(None), spelled, strict=True):
        try:
            weight, bias = scene.backbone.head.rows([number for ids in words for number in ids])
        except BackboneError as error:
            raise SettingsError(
                f"method.class_init: words, but {scene.backbone.name} has no rows for them ({error}); "
                "use random"
            ) from None
        rows[candidate.label].append((weight.mean(dim=0), bias.mean()))
    return Readout(
        torch.stack([torch.stack([weight for weight, _ in own]).mean(dim=0) for own in rows]),
        torch.stack([torch.stack([bias for _, bias in own]).mean() for own in rows]),
    )
