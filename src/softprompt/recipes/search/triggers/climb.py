"""The search itself: swap one trigger token after another, keep a swap that is better on a fresh batch.

AutoPrompt (Shin et al. 2020, section 2.2). An iteration is a function of seed, iteration and triggers
alone, so a search that was interrupted goes on as if it had not been. Knows losses and looks at dev, not
folders' other files or reports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from softprompt.data.sampling import permutation
from softprompt.errors import RunError
from softprompt.recipes.run_folder import write_text
from softprompt.recipes.search.triggers.gradient import best_replacements
from softprompt.recipes.search.triggers.losses import TriggerLoss
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.tuning.lessons import Lesson, Lessons

Ids = tuple[int, ...]
Metrics = Mapping[str, float]

POSITIONS, STARTS, BATCHES = 1, 2, 3
"""What is drawn, as a part of the key: so that no two draws are of one key."""

LOOKED_AT = 10
"""For each token that is tried, how many of the likeliest are looked at where not all may be."""


@dataclass(frozen=True)
class Look:
    """Triggers and their scores on dev.

    Args:
        seed: of the search that found them.
        iteration: after how many iterations.
        ids: the triggers.
        metrics: the task's, and `loss` where labels are ranked.
    """

    seed: int
    iteration: int
    ids: Ids
    metrics: Metrics


@dataclass(frozen=True)
class Swap:
    """What an iteration tried.

    Args:
        loss: mean loss on the gradient's batch.
        position: of the trigger.
        candidates: tokens that were tried, the likeliest first.
        before: loss on the fresh batch as it was.
        losses: with each candidate.
        ids: the triggers afterwards.
    """

    loss: float
    position: int
    candidates: tuple[int, ...]
    before: float
    losses: tuple[float, ...]
    ids: Ids


@dataclass
class State:
    """How far a search of one seed is: all that is needed to go on.

    Args:
        iteration: how many are done.
        ids: the triggers now.
        kept: how many swaps were kept.
        looks: at dev, in order.
    """

    iteration: int
    ids: Ids
    kept: int
    looks: list[Look]


@dataclass(frozen=True)
class Climb:
    """A search of one seed.

    Args:
        loss: what is made small.
        lessons: train.
        allowed: tokens that may become triggers, ascending, `[n]`.
        settings: of the search.
        seed: of starts, positions and batches.
        dev: triggers to their metrics on dev.
        fits: whether triggers may be tried, such as that they can be read back from text; None: all may.
    """

    loss: TriggerLoss
    lessons: Lessons
    allowed: Int[Tensor, " n"]
    settings: TriggerSettings
    seed: int
    dev: Callable[[Ids], Metrics]
    fits: Callable[[Ids], bool] | None = None

    def batches(self, iteration: int) -> tuple[list[Lesson], list[Lesson]]:
        """The rows of train of an iteration: for the gradient, and others for the swap; half of train each
        where it is smaller than both."""
        n = len(self.lessons.examples)
        size = max(1, min(self.settings.batch_size, n // 2))
        order = permutation(n, self.seed, BATCHES, iteration)
        fresh = order[size : 2 * size] or order[:size]
        return self.lessons.draw(order[:size]), self.lessons.draw(fresh)

    def swap(self, iteration: int, ids: Ids) -> Swap:
        """Try to better one trigger: iteration `iteration`, from 0.

        The best of the first-order candidates takes its place if the loss on a batch that the gradient
        has not seen is lower with it; of equals the likeliest.
        """
        known, fresh = self.batches(iteration)
        loss, gradient = self.loss.gradient(ids, known)
        position = permutation(len(ids), self.seed, POSITIONS, iteration)[0]
        tokens, trials = self._trials(ids, position, gradient[position])
        before, *losses = self.loss.of([ids, *trials], fresh)
        best = min(range(len(losses)), key=losses.__getitem__, default=None)
        after = ids if best is None or not losses[best] < before else trials[best]
        return Swap(loss, position, tokens, before, tuple(losses), after)

    def _trials(self, ids: Ids, position: int, gradient: Tensor) -> tuple[Ids, list[Ids]]:
        """The tokens to try at a position, the likeliest first, and the triggers with each."""
        k, fits = self.settings.top_k, self.fits
        others = self.allowed[self.allowed != ids[position]]
        most = k if fits is None else LOOKED_AT * k
        found, _ = best_replacements(gradient, self.loss.backbone.embed, others, most)
        each = ((*ids[:position], token, *ids[position + 1 :]) for token in found)
        trials = list(islice((one for one in each if fits is None or fits(one)), k))
        return tuple(trial[position] for trial in trials), trials

    def run(self, start: Ids, place: Path, told: Callable[[State, Swap | None], None]) -> State:
        """Go through all iterations, from where an earlier call was interrupted.

        Args:
            start: the triggers to begin with.
            place: the file of the checkpoint.
            told: called after each iteration, and at the beginning with None.
        Raises:
            RunError: a loss that is not a number, or a checkpoint that cannot be read.
        """
        s = self.settings
        state = read_state(place)
        if state is None:
            state = State(0, start, 0, [])
            self._look(state)
            write_state(place, state)
        told(state, None)
        while state.iteration < s.iterations:
            try:
                made = self.swap(state.iteration, state.ids)
            except RunError as error:
                raise type(error)(
                    f"seed {self.seed}, iteration {state.iteration + 1}: {error}"
                ) from None
            state.kept += made.ids != state.ids
            state.iteration, state.ids = state.iteration + 1, made.ids
            last = state.iteration == s.iterations
            if last or state.iteration % s.evaluate_every == 0:
                self._look(state)
            if last or state.iteration % s.checkpoint_every == 0:
                write_state(place, state)
            told(state, made)
        return state

    def _look(self, state: State) -> None:
        """At dev, unless these triggers were looked at before."""
        if all(look.ids != state.ids for look in state.looks):
            metrics = dict(self.dev(state.ids))
            state.looks.append(Look(self.seed, state.iteration, state.ids, metrics))


def drawn_start(allowed: Sequence[int], n: int, seed: int, attempt: int = 0) -> Ids:
    """n tokens to start from, drawn one by one; another attempt draws others."""
    keys = [(seed, STARTS, attempt, slot) for slot in range(n)]
    return tuple(allowed[permutation(len(allowed), *key)[0]] for key in keys)


def ranked(looks: Sequence[Look], metric: str, higher: bool) -> list[Look]:
    """Best first: by the metric, of equals by dev loss, then by seed and iteration; the same triggers
    once."""
    sign = -1.0 if higher else 1.0

    def rank(look: Look) -> tuple[float, float, int, int]:
        loss = look.metrics.get("loss", 0.0)
        return sign * look.metrics[metric], loss, look.seed, look.iteration

    found: dict[Ids, Look] = {}
    for look in sorted(looks, key=rank):
        found.setdefault(look.ids, look)
    return list(found.values())


def write_state(path: Path, state: State) -> None:
    """In one motion; numbers come back bit for bit."""
    write_text(path, json.dumps(asdict(state)) + "\n")


def read_state(path: Path) -> State | None:
    """What `write_state` left; None where nothing is.

    Raises:
        RunError: it is not as it was written.
    """
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        looks = [Look(**{**look, "ids": tuple(look["ids"])}) for look in values["looks"]]
        return State(values["iteration"], tuple(values["ids"]), values["kept"], looks)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: this checkpoint cannot be read ({error}); delete it to begin this seed anew"
        ) from None


def all_allowed(allowed: Sequence[int]) -> Int[Tensor, " n"]:
    """Ids as the search takes them."""
    return torch.tensor(sorted(allowed), dtype=torch.long)
