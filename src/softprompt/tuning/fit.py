"""One fit: what is learned, from which examples, how far it is. The loop steps a list of these.

Knows learners and renderings, not methods by name, batches of several fits, or folders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import BatchPlan
from softprompt.data.examples import Example
from softprompt.data.metrics import PartScore, find_metric, hard
from softprompt.errors import RunError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.scoring import Scores
from softprompt.methods.method import Learner, Staged
from softprompt.tuning.alarms import Alarm, check_loss, check_predictions
from softprompt.tuning.auxiliary import Auxiliary, check_addition
from softprompt.tuning.lessons import DevQuestions, Lesson, Lessons, Part, render_alike, text_length
from softprompt.tuning.losses import Losses, divisor, needs_normaliser, summed_loss
from softprompt.tuning.optimisers import (
    all_finite,
    build,
    load_state_tensors,
    resolved_learning_rate,
    state_tensors,
)
from softprompt.tuning.schedules import learning_rate_factor
from softprompt.tuning.settings import TrainingSettings
from softprompt.tuning.trackers import EarlyStopping


@dataclass(frozen=True)
class FitData:
    """What a fit learns from and is selected on.

    Args:
        train, dev: labelled examples; dev may be empty, then nothing is selected.
        metrics: the task's metrics; the first one selects.
        labels: the task's labels.
        parts: how each task of a mixture is scored.
        unlabelled: rows of the language-model loss; needed where `training.auxiliary` is on.
    """

    train: Sequence[Example]
    dev: Sequence[Example]
    metrics: Sequence[str]
    labels: Sequence[str]
    parts: Mapping[str, PartScore] = field(default_factory=dict)
    unlabelled: Sequence[Example] = ()


class Fit:
    """The whole state of one fit.

    Args:
        name: for messages.
        seed: of data order and, where there is any, dropout.
        applied: template and answers bound to the backbone; its addition is replaced by what the
            learner has learned so far.
        learner: what is learned.
        data: examples and metrics.
        settings: the training settings.
        backbone: for its embeddings' RMS and for evaluation.

    Attributes:
        step: how many steps were taken.
        history: the metrics of every evaluation on dev, with their `step`.
        alarms: what looked wrong at the last evaluation.
        cut: how many examples of the first epoch lost tokens.
        failure: why no more steps can be taken; None while all is well.
    """

    def __init__(
        self,
        *,
        name: str,
        seed: int,
        applied: Applied,
        learner: Learner,
        data: FitData,
        settings: TrainingSettings,
        backbone: Backbone,
    ):
        self.name, self.seed, self.data, self.settings = name, seed, data, settings
        self.learner, self._applied, self._backbone = learner, applied, backbone
        self.parameters: dict[str, nn.Parameter] = dict(learner.parameters())
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.alarms: list[Alarm] = []
        self.cut = 0
        self.failure: str | None = None
        higher = find_metric(data.metrics[0])[0].higher_is_better
        self.early = EarlyStopping(settings.patience, higher)
        self._shown: set[str] = set()  # kinds of alarms that were raised before
        self._best: dict[str, Tensor] | None = None
        self._questions = DevQuestions(data.dev, applied)
        self._lessons = Lessons(data.train, applied)
        if self.parameters:
            self._peak = resolved_learning_rate(settings.optimiser, backbone.rms)
            self._optimiser = build(
                list(self.parameters.values()), settings.optimiser, backbone.rms
            )
            lengths = [text_length(example) for example in data.train]
            self._plan = BatchPlan(lengths, settings.batch_size, seed, settings.order)
        beside = settings.auxiliary
        self._auxiliary: Auxiliary | None = None
        if beside.on and self.parameters:
            check_addition(learner.addition(), backbone)
            rows = beside.per_example * settings.batch_size
            self._auxiliary = Auxiliary(data.unlabelled, applied, beside, rows, seed, backbone)

    @property
    def applied(self) -> Applied:
        """Template, answers and what has been learned so far, with gradient."""
        return self._applied.with_addition(self.learner.addition())

    @property
    def done(self) -> bool:
        """Whether no step will be taken any more."""
        finished = self.step >= self.settings.steps or self.early.should_stop
        return not self.parameters or finished or self.failure is not None

    def render_with(self, others: Iterable[Fit]) -> None:
        """Use another fit's renderings of train, and of dev, where it renders the same ones alike:
        seeds that share their data tokenise them once."""
        for other in others:
            if render_alike(self._lessons, other._lessons):
                self._lessons = other._lessons
            if render_alike(self._questions, other._questions):
                self._questions = other._questions
            if self._auxiliary is not None and other._auxiliary is not None:
                self._auxiliary.render_with(other._auxiliary)

    # --- one step -----------------------------------------------------------------------------

    def draw(self) -> list[Lesson]:
        """The lessons of the step about to be taken, the unlabelled ones last."""
        if isinstance(self.learner, Staged):
            self.learner.at(self.step)
        drawn = self._lessons.draw(self._plan.step(self.step), self.step)
        if self.step < self._plan.steps_per_epoch:  # an epoch draws every example once
            self.cut += sum(lesson.rendering.cut > 0 for lesson in drawn)
        return drawn if self._auxiliary is None else [*drawn, *self._auxiliary.draw(self.step)]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of its loss."""
        return ("loss",) if self._auxiliary is None else ("loss", "auxiliary_loss")

    def divisor(self, part: Part, lessons: Sequence[Lesson]) -> float:
        """What the summed loss of a part of a whole step is divided by."""
        return divisor(self._applied.objective, part, lessons)

    def share(self, part: Part) -> float:
        """What a part's mean counts in the whole loss of a step."""
        weight = self.settings.auxiliary.weight
        return weight if part == "auxiliary_loss" else 1.0 - weight

    def needs_normaliser(self, part: Part) -> bool:
        """Whether a part's loss is of log-probabilities over the vocabulary."""
        return needs_normaliser(self._applied.objective, part)

    def loss(self, scores: Scores, lessons: Sequence[Lesson]) -> Tensor:
        """The summed loss of some of a step's lessons of one part, a scalar."""
        return summed_loss(self._applied.objective, scores, lessons)

    def update(self, losses: Losses) -> dict[str, float]:
        """Take the optimiser's step with the gradients that stand there.

        Args:
            losses: the mean loss of each part of the step.
        Returns:
            What the step's record holds: losses, learning rate, norm of the gradient.
        Raises:
            RunError: loss, gradient or what came of them is no number; nothing learned has an effect.
        """
        s = self.settings.optimiser
        warmup = s.warmup_steps(self.settings.steps)
        rate = self._peak * learning_rate_factor(s.schedule, self.step, self.settings.steps, warmup)
        parameters = list(self.parameters.values())
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            raise RunError(f"{self._place}: nothing that is learned has an effect on the loss")
        norm = nn.utils.get_total_norm(gradients)
        length = float(norm)
        for part, loss in losses.items():
            if not math.isfinite(loss):
                raise RunError(f"{self._place}: the {part.replace('_', ' ')} is {loss}{_ADVICE}")
        if not math.isfinite(length):
            raise RunError(f"{self._place}: the gradient is not finite{_ADVICE}")
        if s.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, s.clip_norm, norm)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if not all_finite(parameters):
            raise RunError(f"{self._place}: the parameters are no longer finite{_ADVICE}")
        self.step += 1
        return {**losses, "learning_rate": rate, "gradient_norm": length}

    def fail(self, reason: str) -> None:
        """Take no more steps; what was learned up to the last evaluation can still be chosen."""
        self.failure = reason
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forget what of a step's gradients stands there."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @property
    def _place(self) -> str:
        return f"{self.name}, step {self.step + 1}"

    # --- evaluation ---------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether dev is due after the step just taken."""
        if not self.data.dev:
            return False
        return self.step % self.settings.evaluate_every == 0 or self.step >= self.settings.steps

    def look(self) -> dict[str, Any]:
        """Evaluate on dev, remember the best parameters, look for what is wrong.

        Returns:
            What the step's record holds: `dev` with the metrics, and `alarms` with the messages of
            those whose kind is raised for the first time.
        Raises:
            RunError: scores that are not numbers.
        """
        try:
            evaluation = self.evaluate_dev(both_ways=False)
        except RunError as error:
            where = f"{self.name}, evaluation after step {self.step}"
            raise type(error)(f"{where}: {error}") from None
        self.history.append({"step": float(self.step), **evaluation.metrics})
        self.early = self.early.after(self.step, evaluation.metrics[self.data.metrics[0]])
        if self.early.improved:
            self._best = self._copy()
        losses = [record["loss"] for record in self.history if "loss" in record]
        self.alarms = [*self._look_at_predictions(evaluation), *check_loss(losses)]
        record: dict[str, Any] = {"dev": dict(evaluation.metrics)}
        fresh = [alarm for alarm in self.alarms if alarm.kind not in self._shown]
        if fresh:
            record["alarms"] = [alarm.message for alarm in fresh]
        self._shown |= {alarm.kind for alarm in fresh}
        return record

    def evaluate_dev(self, *, both_ways: bool) -> Evaluation:
        """Score dev with what has been learned so far; dev is rendered at the first call only."""
        return evaluate(
            self._backbone,
            self.applied,
            self.data.dev,
            self.data.metrics,
            self.data.labels,
            asked=self._questions.ask(),
            token_budget=self.settings.token_budget,
            both_ways=both_ways,
            parts=self.data.parts,
        )

    def _look_at_predictions(self, evaluation: Evaluation) -> list[Alarm]:
        labels = self.data.labels
        golds = [str(hard(example.target)) for example in self.data.dev]
        # An illegal output may read like a label's name; it is none.
        shown = [
            p.label if p.label is not None or p.text in labels else p.text
            for p in evaluation.predictions
        ]
        return check_predictions(shown, golds, labels)

    # --- state --------------------------------------------------------------------------------

    def _copy(self) -> dict[str, Tensor]:
        return {n: p.detach().to("cpu", copy=True) for n, p in self.parameters.items()}

    def choose(self) -> None:
        """Put the parameters to keep in place: the best on dev, or the last."""
        if self.settings.keep == "best" and self._best is not None:
            self._put(self._best)

    @property
    def chosen_step(self) -> int:
        """The step that `choose` goes back to."""
        if self.settings.keep == "best" and self.early.best_step is not None:
            return self.early.best_step
        return self.step

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors needed to go on bit for bit, the best parameters among them."""
        if not self.parameters:
            return {}
        tensors = {f"parameter|{n}": t for n, t in self._copy().items()}
        tensors |= {f"optimiser|{n}": t for n, t in state_tensors(self._optimiser).items()}
        return tensors | {f"best|{n}": t for n, t in (self._best or {}).items()}

    def state(self) -> dict[str, Any]:
        """All else that is needed, as JSON values."""
        return {
            "step": self.step,
            "early": self.early.to_state(),
            "history": self.history,
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "shown": sorted(self._shown),
            "cut": self.cut,
            "failure": self.failure,
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from what `tensors` and `state` gave.

        Raises:
            RunError: they are of another fit.
        """
        parts: dict[str, dict[str, Tensor]] = {"parameter": {}, "optimiser": {}, "best": {}}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("|")
            parts[kind][name] = tensor
        shapes = {n: p.shape for n, p in self.parameters.items()}
        if {n: t.shape for n, t in parts["parameter"].items()} != shapes:
            raise RunError(f"{self.name}: the checkpoint is of another run")
        if self.parameters:
            self._put(parts["parameter"])
            load_state_tensors(self._optimiser, parts["optimiser"])
        self._best = parts["best"] or None
        self.early = EarlyStopping.from_state(state["early"])
        self.history = list(state["history"])
        self.alarms = [Alarm(**alarm) for alarm in state["alarms"]]
        self._shown = set(state["shown"])
        self.step, self.cut, self.failure = state["step"], state["cut"], state["failure"]

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[name])


_ADVICE = ". Try a lower optimiser.learning_rate, or precision: float32"
