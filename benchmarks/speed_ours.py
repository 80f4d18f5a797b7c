"""Our side of a comparison: the fit loop's own steps, and prediction as a user calls it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import softprompt as sp
from benchmarks.gauges import Contender
from benchmarks.shapes import SHAPES, word
from benchmarks.speed_cases import Case
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.task import Task
from softprompt.inference.applied import Applied
from softprompt.inference.predict import Prediction, predict
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import Job, make_fit, training_settings
from softprompt.tuning.lessons import lesson
from softprompt.tuning.loop import Loop

RATE = 1e-3
_FIRST_WORD = 40
"""Words below are label words only where there are few labels."""


@dataclass(frozen=True)
class Data:
    """The texts of a case and the words of its labels: what both sides are given.

    Args:
        texts: one for each example.
        answers: the words of each label.
    """

    texts: tuple[str, ...]
    answers: tuple[str, ...]

    def gold(self, number: int) -> int:
        """The label of an example."""
        return number % len(self.answers)


def data_of(case: Case, lengths: Sequence[int], words: int, seed: int = 0) -> Data:
    """Texts of random words.

    Args:
        lengths: tokens of each text.
        words: how many there are to draw from.
    """
    rng = random.Random(seed)
    texts = [
        " ".join(word(rng.randrange(_FIRST_WORD, words)) for _ in range(length))
        for length in lengths
    ]
    answers = [
        " ".join(word((n + step) % words) for step in range(1 + n % case.label_tokens))
        for n in range(case.labels)
    ]
    return Data(tuple(texts), tuple(answers))


class Ours:
    """A case on a backbone.

    Args:
        case: what is measured.
        backbone: frozen.
        data: texts and answers.
    """

    def __init__(self, case: Case, backbone: Backbone, data: Data):
        self.case, self.backbone, self.data = case, backbone, data

    @cached_property
    def examples(self) -> list[Example]:
        texts = enumerate(self.data.texts)
        return [Example(str(n), {"text": text}, _label(self.data.gold(n))) for n, text in texts]

    def fit(self, seed: int = 0, *, answer_end: bool = True) -> Fit:
        """A fresh fit, its rows drawn from the seed.

        Args:
            answer_end: whether a decoder's answer is scored with its end, as it is trained.
        """
        case, method = self.case, sp.PromptTuning(length=self.case.rows, init="uniform")
        labels = [_label(n) for n in range(len(self.data.answers))]
        task = Task(
            name="words",
            fields=("text",),
            kind="label",
            labels=tuple(labels),
            splits={"train": Split.of(self.examples)},
            metrics=("accuracy",),
        )
        optimiser = {"name": "adamw", "learning_rate": RATE, "relative": False}
        course = {"steps": 1_000_000, "batch_size": case.batch, "optimiser": optimiser}
        job = Job(
            task,
            method,
            seed,
            template=SHAPES[case.shape].template.format(rows=case.rows),
            words=dict(zip(labels, self.data.answers, strict=True)),
            objective=sp.ObjectiveSettings(normalise="vocabulary", answer_end=answer_end),
            training=training_settings(method, course),
            test=None,
        )
        return make_fit(self.backbone, job)

    # --- training -------------------------------------------------------------------------------

    def loss_and_gradient(self, fit: Fit, count: int) -> tuple[float, Tensor]:
        """Of the first examples, without a step."""
        lessons = [lesson(example, fit.applied) for example in self.examples[:count]]
        loss = Loop(self.backbone, [fit]).backward({0: lessons})[0]["loss"]
        (rows,) = fit.parameters.values()
        assert rows.grad is not None
        gradient, rows.grad = rows.grad.detach().clone(), None
        return loss, gradient

    def training(self, seeds: Sequence[int], name: str = "ours") -> Contender:
        """An epoch of every seed, all of them in shared batches; a unit is a step of each."""
        fits = [self.fit(seed) for seed in seeds]
        return Contender(name, lambda: self._epoch(fits), self.case.batches)

    def training_in_turn(self, seeds: Sequence[int], name: str) -> Contender:
        """The same as runs of their own, one after the other."""
        fits = [self.fit(seed) for seed in seeds]

        def round() -> None:
            for fit in fits:
                self._epoch([fit])

        return Contender(name, round, self.case.batches)

    def _epoch(self, fits: Sequence[Fit]) -> None:
        loop = Loop(self.backbone, fits)
        for _ in range(self.case.batches):
            losses = loop.backward({number: fit.draw() for number, fit in enumerate(fits)})
            for number, fit in enumerate(fits):
                fit.update(losses[number])

    # --- prediction -----------------------------------------------------------------------------

    @cached_property
    def applied(self) -> list[Applied]:
        """The case's prompts, each with rows of its own. Where the loop beside it looks at the first
        token of an answer alone, so do we."""
        family, one = self.backbone.family, self.case.label_tokens == 1
        end = not (one and family == "encoder_decoder")
        return [self.fit(seed, answer_end=end).applied for seed in range(self.case.prompts)]

    def predict(self, items: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Items of (prompt, number of the example): texts in, probabilities out."""
        asked = [(prompt, self.examples[number]) for prompt, number in items]
        return predict(self.backbone, self.applied, asked)

    def predictions(self, items: Sequence[tuple[int, int]]) -> Tensor:
        """The probabilities of labels, `[items, labels]`."""
        return torch.tensor([list(each.probabilities.values()) for each in self.predict(items)])

    def predicting(self, items: Sequence[tuple[int, int]], units: int) -> Contender:
        """Tokenising included."""
        return Contender("ours", lambda: self.predict(items), units)


def _label(number: int) -> str:
    return f"label {number}"
