"""Trigger tokens found by gradient (AutoPrompt, Shin et al. 2020, arXiv 2010.15980): run and folder.

The soft slots of a run's template are the places of the triggers: their rows hold the embeddings of
tokens while the search goes on, and become plain text at its end. What was best on dev is then an ordinary
template. Composes the parts beside this file; prints nothing. Interrupted at any moment, the same call goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.methods.prompt_design import PromptDesign
from softprompt.recipes.run_data import RunData
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import begin
from softprompt.recipes.search.candidates import Candidate, write_candidates
from softprompt.recipes.search.finishing import Searched, finish
from softprompt.recipes.search.triggers.climb import (
    Climb,
    Look,
    State,
    Swap,
    all_allowed,
)
from softprompt.recipes.search.triggers.losses import TriggerLoss
from softprompt.recipes.search.triggers.report import found_blocks, keep_rows
from softprompt.recipes.search.triggers.scene import Scene, check_method, make_scene, starts
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.recipes.watching import Progress, Watcher

LISTED = 20
"""Triggers, the best on dev, that are written as text."""


def search_triggers(
    run: RunSettings,
    settings: TriggerSettings,
    out: Path,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    data: RunData | None = None,
    keep: int = 1,
) -> Searched:
    """Search trigger tokens for a run's template, one search for each of its seeds.

    Args:
        run: `{soft:5}` in its template is the place of five triggers; without soft slots they go in front.
        settings: of the search.
        out: its folder; an unfinished search there is gone on with.
        watcher: is told facts, iterations and what is best so far.
        overwrite: begin anew where a search stands already.
        backbone, data: what `run` names, where it was loaded or read already.
        keep: how many of the best fits keep the weights that they tuned.
    Raises:
        UsageError: a run, template or backbone that does not fit.
        RunError: a loss that is not a number, or the disk refuses.
    """
    check_method(run)
    search = begin(
        "triggers",
        run,
        settings,
        out,
        watcher,
        overwrite=overwrite,
        backbone=backbone,
        data=data,
        keep=keep,
    )
    with search.refusing():
        scene = make_scene(search, settings)
    states = [_climb(scene, seed) for seed in run.seeds]
    looks = [look for state in states for look in state.looks]
    order = scene.ranked(looks)
    texts = [scene.text(look.ids) for look in order[:LISTED]]
    candidates = [
        Candidate(str(text), scene.run.words, _scores(scene, look))
        for look, text in zip(order, texts, strict=False)
        if text is not None
    ]
    if candidates and not search.folder.candidates.is_file():
        write_candidates(search.folder.candidates, candidates)
    blocks = found_blocks(scene, settings, states, order, texts)
    if texts[0] is not None:
        return finish(
            replace(search, run=_fitted_run(scene.run)), "Triggers", blocks, f"dev {scene.metric}"
        )
    search.told.warning(
        "the best triggers are not read back as the same tokens when they are written as text; they are "
        "kept as the rows of a prompt, in prompt/"
    )
    return keep_rows(search, scene, order[0], blocks, candidates)


# --- the search ---------------------------------------------------------------------------------


def _climb(scene: Scene, seed: int) -> State:
    search, settings = scene.search, scene.settings
    budget = search.run.training.token_budget
    start, as_words = starts(scene, seed)
    climb = Climb(
        loss=TriggerLoss(scene.backbone, scene.applied, settings.loss, budget),
        lessons=scene.lessons,
        allowed=all_allowed(scene.allowed),
        settings=settings,
        seed=seed,
        dev=scene.dev,
        fits=scene.reads_back if as_words else None,
    )
    told = _Telling(scene, search.run.seeds.index(seed), seed)
    return climb.run(start, search.folder.work / f"seed-{seed}.json", told)


class _Telling:
    """Tells the watcher of each iteration, and of triggers that are the best so far."""

    def __init__(self, scene: Scene, number: int, seed: int):
        self._scene, self._number, self._seed = scene, number, seed
        self._best: Look | None = None

    def __call__(self, state: State, swap: Swap | None) -> None:
        scene, settings = self._scene, self._scene.settings
        best = scene.ranked(state.looks)[0]
        fresh = self._best is None or best.ids != self._best.ids
        self._best = best
        if fresh:
            value = best.metrics[scene.metric]
            scene.search.told.note(
                f"seed {self._seed}, iteration {best.iteration}: dev {scene.metric} {value:.3f} with "
                f"{' '.join(scene.pieces(best.ids))}"
            )
        if swap is None:
            return
        record: dict[str, Any] = {"loss": min((swap.before, *swap.losses))}
        if fresh:
            record["dev"] = dict(best.metrics)
        scene.search.told.progress(
            Progress(
                fit=self._number,
                name=f"seed {self._seed}",
                step=state.iteration,
                steps=settings.iterations,
                examples=settings.batch_size * (len(swap.candidates) + 2),
                metric=scene.metric,
                record=record,
            )
        )


# --- after the search ---------------------------------------------------------------------------


def _scores(scene: Scene, look: Look) -> dict[str, Any]:
    found = {
        f"dev {scene.metric}": look.metrics[scene.metric],
        "seed": look.seed,
        "iteration": look.iteration,
    }
    loss = look.metrics.get("loss")
    beside = {} if loss is None else {"dev cross-entropy": loss}
    return {**found, **beside, "triggers": scene.pieces(look.ids)}


def _fitted_run(run: RunSettings) -> RunSettings:
    """What is made of triggers that are text: nothing is learned, unless the run tunes weights."""
    if run.method.opens_weights:
        return run
    return RunSettings.read({**run.resolved(), "method": PromptDesign.name}, "run")
