"""One seed of a recipe of searches: each search on what the last one found, the final fit, the ensemble.

Every stage is left in its folder before the next one begins, and read where it stands already.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.errors import RunError
from softprompt.recipes.lm_bff.ensemble import leave_ensemble
from softprompt.recipes.lm_bff.results import (
    ENSEMBLE,
    FIT,
    Fitted,
    Found,
    SeedOutcome,
    product_place,
)
from softprompt.recipes.lm_bff.settings import (
    LmBffSettings,
    Step,
    TemplatesStep,
    WordsStep,
)
from softprompt.recipes.lm_bff.splits import fit_run, search_run, step_of
from softprompt.recipes.outcomes import Outcome, read_outcome
from softprompt.recipes.pet.members import stays
from softprompt.recipes.pet.pace import Pace
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_folder import DONE, PROMPT, RunFolder, remove, write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import seen_task
from softprompt.recipes.search.candidates import CANDIDATES, read_candidates
from softprompt.recipes.search.folder import BEST, FITS
from softprompt.recipes.search.settings import SearchSettings, TemplateSettings, WordSettings
from softprompt.recipes.search.templates.search import search_templates
from softprompt.recipes.search.triggers.search import search_triggers
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.recipes.search.words.search import search_words
from softprompt.recipes.sweeps import variants
from softprompt.recipes.train import train
from softprompt.recipes.watching import Fact, Part, Progress, Watcher
from softprompt.settings import to_yaml


class Within:
    """Passes on notes, warnings and steps of a search under the name of its stage.

    Args:
        told: the watcher of the whole.
        name: of the stage.
    """

    def __init__(self, told: Watcher, name: str):
        self._told, self._name = told, name

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def note(self, message: str) -> None:
        self._told.note(f"{self._name}: {message}")

    def warning(self, message: str) -> None:
        self._told.warning(f"{self._name}: {message}")

    def progress(self, progress: Progress) -> None:
        self._told.progress(replace(progress, name=f"{self._name}, {progress.name}"))


@dataclass(frozen=True)
class Course:
    """One seed.

    Args:
        settings, seed: what is run.
        place: the seed's folder.
        backbone, data: loaded and read, the seed's own rows.
        told: is told what happens.
        pace: of the whole recipe.
    """

    settings: LmBffSettings
    seed: int
    place: Path
    backbone: Backbone
    data: RunData
    told: Watcher
    pace: Pace

    def run(self) -> SeedOutcome:
        """Searches, ensemble, final fit."""
        settings = self.settings
        template: str | None = settings.template
        words: Mapping[str, Any] | None = settings.words
        found: list[Found] = []
        for number, step in enumerate(settings.search, start=1):
            one = self._found(number, step, template, words)
            found.append(one)
            template, words = one.template or template, one.words or words
        members = found[-1].ranked[: settings.ensemble] if settings.ensemble else []
        together = self._together(members)
        if not stays(settings.method) and not settings.training.keep_weights:
            remove(*self.place.glob(f"*-*/{FITS}/*/{PROMPT}"))
        fitted = self._fitted(template, words)
        return SeedOutcome(
            self.seed, self.place, template, words, found, fitted, together, len(members)
        )

    def _named(self, stage: str) -> str:
        seeds = self.settings.seeds
        own = f"seed {self.seed} ({seeds.index(self.seed) + 1} of {len(seeds)})"
        parts = [own] if len(seeds) > 1 else []
        return ", ".join([*parts, stage] if stage else parts) or "the recipe"

    # --- searches -------------------------------------------------------------------------------

    def _found(
        self, number: int, step: Step, template: str | None, words: Mapping[str, Any] | None
    ) -> Found:
        """What a search found; carried out where it is not finished."""
        place = self.place / f"{number}-{step.find}"
        if not (place / DONE).is_file():
            stage = self._named(step.find)
            self.told.note(f"{stage}{self.pace.left}")
            run = search_run(self.settings, self.seed, template, words, place)
            last = number == len(self.settings.search)
            keep = max(1, self.settings.ensemble) if last else 1
            step = step_of(self.settings, step, self.seed)
            data = RunData(seen_task(self.data.task), self.data.notes, self.data.skipped)
            carry_out(step, run, place, Within(self.told, stage), self.backbone, data, keep)
            self.pace.done(search_rows(self.settings, step))
        return read_search(step.find, place)

    # --- the ensemble ---------------------------------------------------------------------------

    def _together(self, members: Sequence[Path]) -> Outcome | None:
        """What the members predict together; None where there are none."""
        asked, told = self.settings.ensemble, Within(self.told, self._named(""))
        if len(members) < asked:
            end = "these predict together" if members else "there is no ensemble"
            told.warning(
                f"ensemble: the last search left {len(members)} fits of the {asked} asked for; {end}"
            )
        if not members:
            return None
        place = product_place(self.place, ENSEMBLE)
        return leave_ensemble(place, members, self.backbone, self.data.task, self.seed, told)

    # --- the final fit --------------------------------------------------------------------------

    def _fitted(self, template: str | None, words: Mapping[str, Any] | None) -> Fitted:
        place = product_place(self.place, FIT)
        run = fit_run(self.settings, self.seed, template, words, place)
        if not RunFolder(place).finished:
            stage = self._named("the fit")
            self.told.note(f"{stage}{self.pace.left}")
            prepared = prepare(run, self.backbone, self.data)
            for warning in prepared.warnings:
                self.told.warning(f"{stage}: {warning}")
            train(run, Part(self.told, stage), prepared=prepared)
            self.pace.done(fit_rows(self.settings))
        remove(*place.glob("checkpoints"), *place.glob("*=*/seed-*/checkpoints"))
        fitted = read_fit(place, self.seed)
        write_text(self.place / BEST, _best(run, fitted))
        return fitted


def carry_out(
    step: Step,
    run: RunSettings,
    place: Path,
    told: Watcher,
    backbone: Backbone,
    data: RunData,
    keep: int,
) -> None:
    """Search, or go on with a search; the recipe's own keys are none of a search."""
    own = step.model_dump(exclude={"find"})
    if isinstance(step, TemplatesStep):
        templates = TemplateSettings.read(own, "search")
        search_templates(run, templates, place, told, backbone=backbone, data=data, keep=keep)
    elif isinstance(step, WordsStep):
        found = WordSettings.read(own, "search")
        search_words(run, found, place, told, backbone=backbone, data=data, keep=keep)
    else:
        triggers = TriggerSettings.read(own, "search")
        search_triggers(run, triggers, place, told, backbone=backbone, data=data, keep=keep)


def read_search(kind: str, place: Path) -> Found:
    """What a finished search left.

    Raises:
        RunError: triggers of which none can be written as text.
    """
    done = json.loads((place / DONE).read_text(encoding="utf-8"))
    best, dev, note = done["best"], done.get("scores", {}).get("dev", {}), ""
    listed = read_candidates(place / CANDIDATES) if (place / CANDIDATES).is_file() else []
    if (place / PROMPT).is_dir():  # triggers that are no text: the best of those that are
        if not listed:
            raise RunError(
                f"{place}: none of the best triggers that were looked at on dev are read back as the same "
                "tokens when they are written as text; search them with tokens: text, with start: random "
                "in place of start: mask, or with more iterations"
            )
        best = {"template": listed[0].template, "words": listed[0].words}
        scores = listed[0].scores
        dev = {name.removeprefix("dev "): scores[name] for name in scores if name[:4] == "dev "}
        note = (
            f"the best triggers ({' '.join(done['best']['triggers'])}) could not be written as text, so the "
            "best of those that could were taken"
        )
    ranked = [place / FITS / name for name in done.get("ranked", ())]
    return Found(
        kind=kind,
        place=place,
        template=best["template"],
        words=best["words"],
        n_candidates=len(listed),
        n_fits=len(ranked) + len(done.get("failed", ())),
        dev=dev,
        tied=int(done.get("tied", 0)),
        settled=str(done.get("settled", "")),
        ranked=ranked,
        note=note,
    )


def read_fit(place: Path, seed: int) -> Fitted:
    """What the final fit left, of a sweep the chosen variant.

    Raises:
        RunError: it is not finished.
    """
    done = json.loads((place / DONE).read_text(encoding="utf-8"))
    swept = done.get("sweep")
    variant = str(swept["chosen"]) if swept else ""
    outcome = read_outcome(RunFolder(place).fit(variant, seed, several=False))
    if outcome is None or outcome.failure is not None:
        raise RunError(f"{place}: {outcome.failure if outcome else 'no fit.json'}")
    if not swept:
        return Fitted(outcome)
    return Fitted(
        outcome, variant, swept["values"], len(swept["dev"]), int(swept["tied"]), swept["settled"]
    )


def search_rows(settings: LmBffSettings, step: SearchSettings) -> float:
    """Rows that pass the network forwards and backwards in a search's fits."""
    training = settings.searched_training()
    return step.fits * training.steps * training.batch_size


def fit_rows(settings: LmBffSettings) -> float:
    """The same of the final fit, all variants of its sweep."""
    count = math.prod(map(len, settings.sweep.values()))
    return count * settings.training.steps * settings.training.batch_size


def _best(run: RunSettings, fitted: Fitted) -> str:
    """The final run with what its sweep chose, for `softprompt train`."""
    chosen = next(one for one in variants(run) if one.name == fitted.variant)
    values = chosen.settings.resolved()
    values.pop("out", None)
    return to_yaml(values)
