"""What a method is: its settings, what it adds, what it opens. Each method is one file beside this.

A method knows the backbone and the rendering; the loop that trains it knows only this interface.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from softprompt.backbones.attended import Shape
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Stack
from softprompt.prompts.addition import Addition
from softprompt.prompts.weights import Weights
from softprompt.settings import Settings
from softprompt.text.renderer import Renderer

Stacks = Mapping[Stack, Shape]
NO_STACKS: Stacks = MappingProxyType({})


class Learner(Protocol):
    """What is learned in one fit."""

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The learned parameters by name; their order is the optimiser's."""

    def addition(self) -> Addition:
        """What enters the batch now, with gradient."""


@runtime_checkable
class Staged(Protocol):
    """A learner that does not learn the same parameters at every step."""

    def at(self, step: int) -> None:
        """Let those take gradients that learn after `step` steps; the others are left as they are."""


@dataclass(frozen=True)
class Showing:
    """Solved examples of train in front of each question.

    Args:
        k: how many; None: all of train, as many as fit.
        by: the same ones drawn at random, or the nearest ones of each question.
    """

    k: int | None
    by: Literal["random", "similarity"]


@dataclass(frozen=True)
class Scene:
    """What a method may look at when it starts.

    Args:
        backbone: frozen.
        renderer: template and answers, with the rows placed.
        labels: the task's label words, for an initialiser that starts from them.
        texts: training texts, for counting pieces.
    """

    backbone: Backbone
    renderer: Renderer
    labels: Sequence[str]
    texts: Sequence[str]


class Method(Settings):
    """Base of all methods; a subclass is its own settings."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """As papers write it; empty: its name, in words."""
    opens_weights: ClassVar[bool] = False

    @abstractmethod
    def n_rows(self, explicit: int | None) -> int:
        """Learned rows of each bare `{soft}`, or in front; 0 for a method without rows.

        Args:
            explicit: the sum of the lengths that the template itself gives, if it gives all.
        """

    def n_attended(self) -> int:
        """Learned keys and values of each layer, beside the rows; a causal model counts them among
        its positions."""
        return 0

    def shows(self) -> Showing | None:
        """Which demonstrations stand in front of each question; None: none."""
        return None

    @property
    def calibrates(self) -> bool:
        """Whether probabilities are divided by those of questions without content."""
        return False

    @property
    def reads_classes(self) -> bool:
        """Whether learned class vectors answer instead of label words."""
        return False

    @abstractmethod
    def learner(self, scene: Scene, generator: torch.Generator) -> Learner:
        """A fresh learner; `generator` is the only source of chance."""

    def n_learned(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        """Parameters that training moves beside the backbone's own: its formula.

        Args:
            rows: P, as the template places them.
            width: E, of the input embeddings.
            stacks: of a method that learns keys and values, what they must measure.
        """
        return rows * width

    def n_stored(self, rows: int, width: int, stacks: Stacks = NO_STACKS) -> int:
        """Parameters that a saved prompt holds; what only training needs is folded into them."""
        return rows * width

    def n_readout(self, classes: int, head: int) -> int:
        """Parameters of the class vectors, learned and stored: C(H + 1) where they answer.

        Args:
            classes: C, the task's labels.
            head: H, the width of what the backbone's output head reads.
        """
        return classes * (head + 1) if self.reads_classes else 0

    def n_opened(self, backbone: Backbone) -> int:
        """Of the backbone's own weights, or of those built into it, how many are trained: its formula.

        Raises:
            UsageError: this backbone has not what the method opens; says what it has.
        """
        return 0

    def weights(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter]) -> Weights | None:
        """What is kept of the backbone's weights that were trained; None of a frozen one.

        Args:
            backbone: opened.
            parameters: those that were learned, by name.
        """
        return None

    @contextmanager
    def opened(self, backbone: Backbone) -> Iterator[None]:
        """Within the block the weights that this method trains take gradients; none by default."""
        yield

    @classmethod
    def training_defaults(cls) -> Mapping[str, Any]:
        """Training settings that suit this method, in place of the general defaults."""
        return {}


def learned_dtype(backbone: Backbone) -> torch.dtype:
    """The precision of what is learned: f32, whatever the backbone runs in; f64 on a f64 one."""
    return torch.promote_types(backbone.dtype, torch.float32)


class NothingLearned:
    """A learner without parameters: the template alone."""

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {}

    def addition(self) -> Addition:
        return Addition()
