"""One fit: what is learned, from which examples, how far it is. The loop steps a list of these.

Knows learners and renderings, not methods by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import BatchPlan
from softprompt.data.examples import Example, Target
from softprompt.data.metrics import find_metric, hard
from softprompt.errors import DataError, RunError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import Evaluation, evaluate, gold
from softprompt.inference.scoring import Scores, label_loss, label_scores, token_loss
from softprompt.methods.method import Learner
from softprompt.text.answers import FreeText, Poles
from softprompt.text.renderer import Rendering
from softprompt.tuning.alarms import Alarm, check_loss, check_predictions
from softprompt.tuning.checkpoints import Checkpoint
from softprompt.tuning.optimisers import (
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
    """

    train: Sequence[Example]
    dev: Sequence[Example]
    metrics: Sequence[str]
    labels: Sequence[str]


class Fit:
    """The whole state of one fit.

    Args:
        name: for messages.
        seed: of data order and initialisation.
        applied: template and answers bound to the backbone; its addition is replaced by what the
            learner has learned so far.
        learner: what is learned.
        data: examples and metrics.
        settings: the training settings.
        backbone: for its embeddings' RMS and for evaluation.
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
        self.best: dict[str, Tensor] | None = None
        self.cut = 0
        higher = find_metric(data.metrics[0])[0].higher_is_better
        self.early = EarlyStopping(settings.patience, higher)
        self._renderings: dict[int, Rendering] = {}
        if self.parameters:
            self._peak = resolved_learning_rate(settings.optimiser, backbone.rms)
            self.optimiser = build(
                list(self.parameters.values()), settings.optimiser, backbone.rms
            )
            lengths = [_text_length(example) for example in data.train]
            self._plan = BatchPlan(lengths, settings.batch_size, seed, settings.order)

    @property
    def applied(self) -> Applied:
        """Template, answers and what has been learned so far, with gradient."""
        return self._applied.with_addition(self.learner.addition())

    @property
    def done(self) -> bool:
        """Whether nothing is left to step."""
        finished = self.step >= self.settings.steps or self.early.should_stop
        return not self.parameters or finished

    # --- one step -----------------------------------------------------------------------------

    def draw(self) -> list[Rendering]:
        """The renderings of the step about to be taken."""
        return [self._render(index) for index in self._plan.step(self.step)]

    def targets(self) -> list[Target]:
        """The targets of the step about to be taken, in the order of `draw`."""
        return [self.data.train[index].target for index in self._plan.step(self.step)]

    def weight(self, renderings: Sequence[Rendering]) -> float:
        """What the step's summed loss is divided by: its examples, or its answer tokens."""
        if self._applied.objective.normalise == "labels":
            return float(len(renderings))
        return float(
            sum(len(read.tokens) for r in renderings for q in r.queries for read in q.reads)
        )

    def loss(
        self, scores: Scores, renderings: Sequence[Rendering], targets: Sequence[Target]
    ) -> Tensor:
        """The summed loss of some of a step's examples, a scalar."""
        objective = self._applied.objective
        if objective.normalise == "vocabulary":
            return token_loss(scores, objective.z_loss).sum()
        table = label_scores(scores, renderings, objective.mean)
        wanted = torch.tensor(
            [
                target_distribution(t, r, self._applied, table.shape[1])
                for t, r in zip(targets, renderings, strict=True)
            ],
            device=table.device,
            dtype=table.dtype,
        )
        return label_loss(table, wanted).sum()

    def update(self, loss: float) -> dict[str, float]:
        """Take the optimiser's step; return what the step's record holds.

        Raises:
            RunError: the loss or a gradient is not a number; nothing was changed.
        """
        s = self.settings.optimiser
        warmup = s.warmup_steps(self.settings.steps)
        rate = self._peak * learning_rate_factor(s.schedule, self.step, self.settings.steps, warmup)
        parameters = list(self.parameters.values())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not math.isfinite(loss) or not bool(torch.isfinite(norm)):
            what = f"the loss is {loss}" if not math.isfinite(loss) else "a gradient is not finite"
            raise RunError(
                f"{self.name}: {what} at step {self.step + 1}; nothing was changed at this step. "
                "Try a lower optimiser.learning_rate, or precision: float32"
            )
        if s.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, s.clip_norm, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": loss, "learning_rate": rate, "gradient_norm": float(norm)}

    def _render(self, index: int) -> Rendering:
        if index not in self._renderings:
            example = self.data.train[index]
            rendering = self._training_rendering(example)
            self.cut += rendering.cut > 0
            self._renderings[index] = rendering
        return self._renderings[index]

    def _training_rendering(self, example: Example) -> Rendering:
        """All candidates for a softmax over labels; the gold one alone for token cross-entropy."""
        applied = self._applied
        if applied.objective.normalise == "labels":
            return applied.render(example)
        return applied.render_gold(example, gold_words(example, applied))

    # --- evaluation ---------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether dev is due after the step just taken."""
        if not self.data.dev:
            return False
        return self.step % self.settings.evaluate_every == 0 or self.step >= self.settings.steps

    def look(self) -> Evaluation:
        """Evaluate on dev, remember the best parameters, raise alarms."""
        evaluation = evaluate(
            self._backbone,
            self.applied,
            self.data.dev,
            self.data.metrics,
            self.data.labels,
            token_budget=self.settings.token_budget,
            report=False,
        )
        self.history.append({"step": float(self.step), **evaluation.metrics})
        self.early = self.early.after(self.step, evaluation.metrics[self.data.metrics[0]])
        if self.early.improved:
            self.best = self._copy()
        self.alarms = self._alarms(evaluation)
        return evaluation

    def _alarms(self, evaluation: Evaluation) -> list[Alarm]:
        alarms: list[Alarm] = []
        if self.data.labels:
            golds = [str(hard(e.target)) for e in self.data.dev]
            shown = [p.label if p.label is not None else p.text for p in evaluation.predictions]
            alarms += check_predictions(shown, golds, self.data.labels)
        losses = [record["loss"] for record in self.history if "loss" in record]
        return alarms + check_loss(losses)

    # --- state --------------------------------------------------------------------------------

    def _copy(self) -> dict[str, Tensor]:
        return {n: p.detach().to("cpu", copy=True) for n, p in self.parameters.items()}

    def chosen(self) -> dict[str, Tensor]:
        """The parameters to keep: the best on dev, or the last."""
        if self.settings.keep == "best" and self.best is not None:
            return self.best
        return self._copy()

    @property
    def chosen_step(self) -> int:
        """The step that `chosen` is of."""
        if self.settings.keep == "best" and self.early.best_step is not None:
            return self.early.best_step
        return self.step

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Put parameters in place."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[name])

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on after this step, bit for bit."""
        tensors = {f"parameter|{n}": t for n, t in self._copy().items()}
        tensors |= {f"optimiser|{n}": t for n, t in state_tensors(self.optimiser).items()}
        tensors |= {f"best|{n}": t for n, t in (self.best or {}).items()}
        state: dict[str, Any] = {"early": self.early.to_state(), "history": self.history}
        return Checkpoint(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            RunError: a checkpoint of another fit.
        """
        parts: dict[str, dict[str, Tensor]] = {"parameter": {}, "optimiser": {}, "best": {}}
        for key, tensor in checkpoint.tensors.items():
            kind, _, name = key.partition("|")
            parts[kind][name] = tensor
        shapes = {n: p.shape for n, p in self.parameters.items()}
        if {n: t.shape for n, t in parts["parameter"].items()} != shapes:
            raise RunError(f"{self.name}: the checkpoint is of another run; use --overwrite")
        self.put(parts["parameter"])
        load_state_tensors(self.optimiser, parts["optimiser"])
        self.best = parts["best"] or None
        self.early = EarlyStopping.from_state(checkpoint.state["early"])
        self.history = list(checkpoint.state["history"])
        self.step = checkpoint.step


def target_distribution(
    target: Target, rendering: Rendering, applied: Applied, width: int
) -> list[float]:
    """A target as probabilities over the labels of its example, `[width]`.

    Raises:
        DataError: a target that is none of the labels.
    """
    shares = [0.0] * width
    if isinstance(applied.answers, Poles) and isinstance(target, int | float):
        shares[0], shares[1] = applied.answers.mixture(float(target))
        return shares
    given = target if isinstance(target, Mapping) else {str(gold(target, applied)): 1.0}
    for label, share in given.items():
        if label not in rendering.labels:
            raise DataError(
                f"target '{label}' is none of the possible answers: {', '.join(rendering.labels)}"
            )
        shares[rendering.labels.index(label)] = float(share)
    return shares


def gold_words(example: Example, applied: Applied) -> tuple[str, ...]:
    """The words that the answer slots should hold for an example's target.

    Raises:
        DataError: no target, or one that is none of the labels.
    """
    target = hard(gold(example.target, applied))
    if target is None:
        raise DataError(f"example {example.id} has no target, so nothing can be learned from it")
    if isinstance(applied.answers, FreeText):
        return (target[0] if isinstance(target, tuple) else str(target),)
    if isinstance(applied.answers, Poles):
        low, high = applied.answers.mixture(float(target))
        return (applied.answers.words[int(high > low)],)
    labels = applied.answers.labels(example.candidates)
    for candidate in applied.answers.candidates(example.candidates):
        if labels[candidate.label] == target:
            return candidate.words
    raise DataError(f"example {example.id}: target '{target}' is none of: {', '.join(labels)}")


def _text_length(example: Example) -> int:
    """A length to sort by, known without tokenising: UTF-8 bytes of all fields."""
    total = 0
    for value in example.fields.values():
        texts = (value,) if isinstance(value, str) else value
        total += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return total
