"""The fit loop: steps a list of fits over one backbone; their rows share batches.

Each fit keeps its own optimiser, data order, clipping, schedule, early stop and alarms; the loss is
the sum over fits, so each gets the gradient that it would have alone. All fits that go on stand at
the same step, and one checkpoint holds them all: a resumed loop forms the same batches.
Dropout draws by batch, so a fit with dropout has its batches to itself, seeded by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.errors import MemoryShortage, RunError
from softprompt.inference.budget import TokenBudget, out_of_memory, part_cost
from softprompt.inference.scoring import score
from softprompt.prompts.addition import stacked
from softprompt.tuning.budget import Budget
from softprompt.tuning.checkpoints import Checkpoint, checkpoint_folder, read, recover, write
from softprompt.tuning.fit import Fit
from softprompt.tuning.lessons import Lesson, Part
from softprompt.tuning.losses import Losses
from softprompt.tuning.trackers import JsonlTracker, TensorBoardTracker, Tracker

Report = Callable[[Fit, Mapping[str, Any]], None]


class Loop:
    """Steps fits until all are done.

    Args:
        backbone: shared by all fits.
        fits: one or several, fresh.
        folders: a run folder for each fit, for its metrics; the first one's also holds the
            checkpoint of all. None keeps nothing on disk. Where there is a checkpoint, it goes on.
        origins: what each fit was made from, as JSON; a checkpoint of other origins is refused.
        report: called after every step, when it is safe on disk, with each fit and its record.
    """

    def __init__(
        self,
        backbone: Backbone,
        fits: Sequence[Fit],
        folders: Sequence[Path] | None = None,
        origins: Sequence[Mapping[str, Any]] = (),
        report: Report = lambda fit, record: None,
    ):
        self.backbone, self.fits, self.report = backbone, list(fits), report
        self.folders, self.origins = folders, [dict(origin) for origin in origins]
        self.budgets = _budgets(self.fits)
        self._trackers: list[list[Tracker]] = [[] for _ in self.fits]
        self._kept: int | None = None  # the step of the checkpoint on disk

    def run(self) -> None:
        """Step until every fit is done; interrupted, the next call goes on from the checkpoint.

        A fit that fails (its loss is no longer a number) keeps its `failure`; the others go on.

        Raises:
            RunError: the checkpoint cannot be read or is of another run, or cannot be written.
            MemoryShortage: a single example does not fit into the memory.
        """
        with ExitStack() as closing:
            self._resume(closing)
            while active := [number for number, fit in enumerate(self.fits) if not fit.done]:
                self._step(active)

    def _step(self, active: Sequence[int]) -> None:
        losses = self.backward({number: self.fits[number].draw() for number in active})
        records = {number: self._take(self.fits[number], losses[number]) for number in active}
        well = [self.fits[number] for number in active if "failure" not in records[number]]
        for number in active:
            if self.fits[number] in well:
                for tracker in self._trackers[number]:
                    tracker.log(self.fits[number].step, records[number])
        # After a failure with nothing else to go on, the last good checkpoint stays.
        over = all(fit.done for fit in self.fits)
        if any(over or fit.step % fit.settings.checkpoint_every == 0 for fit in well):
            self._keep()
        for number in active:
            self.report(self.fits[number], {"step": self.fits[number].step, **records[number]})

    def _take(self, fit: Fit, losses: Losses) -> dict[str, Any]:
        """A fit's own step; its record, or why it failed."""
        try:
            record: dict[str, Any] = fit.update(losses)
            if fit.due():
                record |= fit.look()
        except MemoryShortage:  # says nothing of the fit
            raise
        except RunError as error:
            fit.fail(f"{error}{self._where_kept()}")
            return {**losses, "failure": fit.failure}
        return record

    # --- gradients ----------------------------------------------------------------------------

    def backward(self, lessons: Mapping[int, Sequence[Lesson]]) -> dict[int, Losses]:
        """Put the gradient of every fit's own mean loss in place; returns its parts, each a mean."""
        shared = [number for number in lessons if not self.fits[number].settings.dropout]
        alone = [[number] for number in lessons if self.fits[number].settings.dropout]
        losses: dict[int, dict[Part, Tensor]] = {}
        for group in [shared, *alone] if shared else alone:
            losses |= self._in_memory({number: lessons[number] for number in group})
        values = torch.stack([mean for n in lessons for mean in losses[n].values()]).tolist()
        ready = iter(values)  # all of them at once: a device is waited for once
        return {number: {part: next(ready) for part in losses[number]} for number in lessons}

    def _in_memory(self, lessons: Mapping[int, Sequence[Lesson]]) -> dict[int, dict[Part, Tensor]]:
        """Gradients of fits that share batches, begun again in smaller parts where they do not fit."""
        fits = [self.fits[number] for number in lessons]
        budget = self.budgets[_sharing(next(iter(lessons)), fits[0])]
        while True:
            try:
                with self._dropping_out(fits[0]):
                    return self._accumulate(lessons, budget)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            for fit in fits:
                fit.drop_gradients()
            budget.shrink([one.rendering.length for own in lessons.values() for one in own])

    def _accumulate(
        self, lessons: Mapping[int, Sequence[Lesson]], budget: Budget
    ) -> dict[int, dict[Part, Tensor]]:
        """Run the lessons of some fits in shared micro-batches."""
        fits = [self.fits[number] for number in lessons]
        divisors = [
            {part: fit.divisor(part, own) for part in fit.parts}
            for fit, own in zip(fits, lessons.values(), strict=True)
        ]
        rows = [(n, lesson) for n, own in enumerate(lessons.values()) for lesson in own]
        losses = [
            {part: torch.zeros((), device=self.backbone.device) for part in own} for own in divisors
        ]
        lengths = [lesson.rendering.length for _, lesson in rows]
        for batch in micro_batches(lengths, budget.positions, self._part_cost(fits)):
            chosen = [rows[place] for place in sorted(batch)]
            # Fresh from each learner: a graph is used up by its backward pass.
            additions = [fit.learner.addition() for fit in fits]
            prompts = stacked(additions)
            owners, renderings = [n for n, _ in chosen], [lesson.rendering for _, lesson in chosen]
            kinds = [(n, lesson.part) for n, lesson in chosen]
            full = any(fits[n].needs_normaliser(part) for n, part in set(kinds))
            model, longest = self.backbone.model, max(lengths[place] for place in batch)
            with budget.counting(model, len(batch), longest):
                scores = score(self.backbone, prompts, renderings, owners, normalised=full)
            parts: list[Tensor] = []
            for (n, part), first, last in _spans(kinds):
                own = [lesson for _, lesson in chosen[first:last]]
                mean = fits[n].loss(scores.of_examples(renderings, first, last), own)
                mean = mean / divisors[n][part]
                losses[n][part] = losses[n][part] + mean.detach()
                parts.append(fits[n].share(part) * mean)
            # A part that is not a number leaves the others' gradients as they are: rows are
            # independent of each other, and each part's own gradient is its share, 1 or less.
            total = torch.stack(parts).sum()
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
        return dict(zip(lessons, losses, strict=True))

    def _part_cost(self, fits: Sequence[Fit]) -> int:
        """What one more part of a step costs, in positions: a pass, and what all rows of a prompt share."""
        again = 0
        if self.backbone.family == "causal" and self.backbone.shares_prefix:
            again = sum(fit.applied.renderer.total_rows for fit in fits)
        return part_cost(self.backbone.device) + again

    @contextmanager
    def _dropping_out(self, fit: Fit) -> Iterator[None]:
        """Dropout in the network, if the fit wants it, drawn from its seed and step alone."""
        if not fit.settings.dropout:
            yield
            return
        device = self.backbone.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), self.backbone.dropout():
            torch.manual_seed(fit.seed * 1_000_003 + fit.step)
            yield

    # --- disk ---------------------------------------------------------------------------------

    def _resume(self, closing: ExitStack) -> None:
        if not self.folders:
            return
        place = checkpoint_folder(self.folders[0], "last")
        recover(place)
        checkpoint = read(place)
        if checkpoint is not None:
            self._restore(checkpoint, place)
        for fit, folder, trackers in zip(self.fits, self.folders, self._trackers, strict=True):
            resumed = None if checkpoint is None else fit.step
            trackers.append(JsonlTracker(folder / "metrics.jsonl", resumed))
            closing.callback(trackers[-1].close)
            if fit.settings.tensorboard:
                trackers.append(TensorBoardTracker(folder / "tensorboard", resumed))
                closing.callback(trackers[-1].close)

    def _restore(self, checkpoint: Checkpoint, place: Path) -> None:
        differ = _differing(checkpoint.state.get("origins", []), self.origins)
        if differ:
            raise RunError(
                f"{place} is a checkpoint of another run (other: {', '.join(differ)}); go on with "
                "what that run was given, or choose another folder"
            )
        self._kept = checkpoint.step
        for name, budget in self.budgets.items():
            budget.restore(checkpoint.state.get("budgets", {}).get(name))
        for number, (fit, state) in enumerate(
            zip(self.fits, checkpoint.state["fits"], strict=True)
        ):
            start = f"{number}|"
            own = {k: t for k, t in checkpoint.tensors.items() if k.startswith(start)}
            fit.restore({k.removeprefix(start): t for k, t in own.items()}, state)

    def _keep(self) -> None:
        """One checkpoint of all fits. Records of these steps were logged before."""
        if not self.folders:
            return
        tensors = {
            f"{number}|{name}": tensor
            for number, fit in enumerate(self.fits)
            for name, tensor in fit.tensors().items()
        }
        state = {
            "origins": self.origins,
            "fits": [fit.state() for fit in self.fits],
            "budgets": {name: budget.state() for name, budget in self.budgets.items()},
        }
        step = max(fit.step for fit in self.fits)
        write(checkpoint_folder(self.folders[0], "last"), Checkpoint(step, tensors, state))
        self._kept = step

    def _where_kept(self) -> str:
        if not self.folders:
            return ""
        if self._kept is None:
            return ". No checkpoint had been written yet"
        place = checkpoint_folder(self.folders[0], "last")
        return f". The checkpoint of step {self._kept} is kept in {place}"


def _sharing(number: int, fit: Fit) -> str:
    """Whose batches a fit is in: everyone's, or its own."""
    return f"fit {number}" if fit.settings.dropout else "shared"


def _budgets(fits: Sequence[Fit]) -> dict[str, Budget]:
    """A budget for each of the batches' owners: dropout draws by batch, so its cut is a fit's own."""
    given: dict[str, list[TokenBudget]] = {}
    for number, fit in enumerate(fits):
        given.setdefault(_sharing(number, fit), []).append(fit.settings.token_budget)
    return {name: Budget(budgets) for name, budgets in given.items()}


def _spans(values: Sequence[tuple[int, Part]]) -> Iterator[tuple[tuple[int, Part], int, int]]:
    """(value, first, last + 1) of each run of equal values."""
    for value, places in groupby(range(len(values)), key=values.__getitem__):
        run = list(places)
        yield value, run[0], run[-1] + 1


def _differing(there: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between two lists of origins, by name; nested ones with a dot."""
    if len(there) != len(here):
        return [f"{len(there)} fits, not {len(here)}"]
    found: dict[str, None] = {}
    for old, new in zip(there, here, strict=True):
        for key in sorted({*old, *new}):
            a, b = old.get(key), new.get(key)
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                found |= dict.fromkeys(f"{key}.{inner}" for inner in _differing([a], [b]))
            elif a != b:
                found[key] = None
    return list(found)
