"""The fit loop: steps a list of fits over one backbone; their rows share batches.

Each fit keeps its own optimiser, data order, clipping, schedule, early stop and alarms; the loss is
the sum over fits, so each gets the gradient that it would have alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Target
from softprompt.errors import RunError
from softprompt.inference.scoring import Scores, score
from softprompt.prompts.addition import stack
from softprompt.text.renderer import Rendering
from softprompt.tuning.checkpoints import checkpoint_folder, read, write
from softprompt.tuning.fit import Fit
from softprompt.tuning.trackers import JsonlTracker, TensorBoardTracker, Tracker

Report = Callable[[Fit, Mapping[str, Any]], None]


class Loop:
    """Steps fits until all are done.

    Args:
        backbone: shared by all fits.
        fits: one or several.
        folders: a run folder for each fit, or None to keep nothing on disk. A folder that holds a
            checkpoint is gone on from.
        report: called after every step of every fit with its record.
    """

    def __init__(
        self,
        backbone: Backbone,
        fits: Sequence[Fit],
        folders: Sequence[Path] | None = None,
        report: Report = lambda fit, record: None,
    ):
        self.backbone, self.fits, self.report = backbone, list(fits), report
        self.folders = list(folders) if folders is not None else [None] * len(self.fits)
        self._trackers: list[list[Tracker]] = []

    def run(self) -> None:
        """Step until every fit is done; interrupted, the next call goes on from the checkpoints.

        Raises:
            RunError: a loss that is not a number; the last checkpoint stands.
        """
        self._resume()
        try:
            while active := [fit for fit in self.fits if not fit.done]:
                self._step(active)
        finally:
            for trackers in self._trackers:
                for tracker in trackers:
                    tracker.close()

    def _resume(self) -> None:
        for fit, folder in zip(self.fits, self.folders, strict=True):
            checkpoint = read(checkpoint_folder(folder, "last")) if folder else None
            if checkpoint is not None:
                fit.restore(checkpoint)
            trackers: list[Tracker] = []
            if folder is not None:
                resumed = fit.step if checkpoint is not None else None
                trackers.append(JsonlTracker(folder / "metrics.jsonl", resumed))
                if fit.settings.tensorboard:
                    trackers.append(TensorBoardTracker(folder / "tensorboard", resumed))
            self._trackers.append(trackers)

    def _step(self, active: Sequence[Fit]) -> None:
        drawn = [fit.draw() for fit in active]
        targets = [fit.targets() for fit in active]
        losses = self._backward(active, drawn, targets)
        for fit, loss in zip(active, losses, strict=True):
            number = self.fits.index(fit)
            try:
                record: dict[str, Any] = fit.update(loss)
            except RunError as error:
                raise RunError(f"{error}{self._where_kept(number)}") from None
            if fit.due():
                record["dev"] = dict(fit.look().metrics)
                record["alarms"] = [alarm.kind for alarm in fit.alarms]
                if fit.early.improved:
                    self._keep(number, "best")
            for tracker in self._trackers[number]:
                tracker.log(fit.step, record)
            if fit.step % fit.settings.checkpoint_every == 0 or fit.done:
                self._keep(number, "last")
            self.report(fit, {"step": fit.step, **record})

    def _backward(
        self,
        active: Sequence[Fit],
        drawn: Sequence[Sequence[Rendering]],
        targets: Sequence[Sequence[Target]],
    ) -> list[float]:
        """Gradients of every fit's own mean loss; returns those losses."""
        rows = [(n, i) for n, renderings in enumerate(drawn) for i in range(len(renderings))]
        weights = [fit.weight(renderings) for fit, renderings in zip(active, drawn, strict=True)]
        losses = [0.0] * len(active)
        budget = min(fit.settings.token_budget for fit in active)
        dropout = any(fit.settings.dropout for fit in active)
        with self.backbone.dropout(dropout), torch.random.fork_rng(enabled=dropout):
            if dropout:
                torch.manual_seed(active[0].seed * 1_000_003 + active[0].step)
            for batch in micro_batches([drawn[n][i].length for n, i in rows], budget):
                chosen = sorted(rows[place] for place in batch)
                # Fresh from each learner: a graph is used up by its backward pass.
                additions = [fit.learner.addition() for fit in active]
                prompts = None if all(a.rows is None for a in additions) else stack(additions)
                renderings = [drawn[n][i] for n, i in chosen]
                scores = score(self.backbone, prompts, renderings, [n for n, _ in chosen])
                total = torch.zeros((), device=scores.summed.device)
                for number, fit in enumerate(active):
                    places = [p for p, (n, _) in enumerate(chosen) if n == number]
                    if not places:
                        continue
                    own = _part(scores, places[0], places[-1] + 1)
                    wanted = [targets[number][chosen[p][1]] for p in places]
                    loss = fit.loss(own, [renderings[p] for p in places], wanted) / weights[number]
                    losses[number] += float(loss.detach())
                    total = total + loss
                if total.requires_grad and bool(torch.isfinite(total)):
                    total.backward()  # type: ignore[no-untyped-call]
        return losses

    def _keep(self, number: int, which: str) -> None:
        folder = self.folders[number]
        if folder is not None:
            place = checkpoint_folder(folder, "best" if which == "best" else "last")
            write(place, self.fits[number].checkpoint())

    def _where_kept(self, number: int) -> str:
        folder = self.folders[number]
        if folder is None:
            return ""
        kept = read(checkpoint_folder(folder, "last"))
        if kept is None:
            return f". No checkpoint had been written yet in {folder}"
        return f". The checkpoint of step {kept.step} is kept in {folder / 'checkpoints'}"


def _part(scores: Scores, first: int, last: int) -> Scores:
    """The scores of examples first … last−1, their numbers counted from 0."""
    keep = (scores.example >= first) & (scores.example < last)
    return Scores(
        summed=scores.summed[keep],
        tokens=scores.tokens[keep],
        squared_z=scores.squared_z[keep],
        example=scores.example[keep] - first,
        label=scores.label[keep],
    )
