"""What a recipe of searches leaves in memory; its folder holds the same. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softprompt.data.task import Task
from softprompt.recipes.lm_bff.settings import LmBffSettings
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.run_folder import PROMPT

FIT, ENSEMBLE = "fit", "ensemble"
"""The products, and their folders."""


def product_place(home: Path, product: str) -> Path:
    """Where a product lies in the folder of a seed."""
    return home / product


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        kind: templates, words or triggers.
        place: its folder.
        template, words: the best; None: not searched.
        n_candidates, n_fits: how many there were, how many of them were fitted.
        dev: metrics of the best on dev; empty where none was fitted.
        tied: how many share the best dev score.
        settled: what told those apart.
        ranked: folders of the fits that did not fail, the best one first.
        note: what a reader should know of it.
    """

    kind: str
    place: Path
    template: str | None
    words: Mapping[str, Any] | None
    n_candidates: int
    n_fits: int = 0
    dev: Mapping[str, float] = field(default_factory=dict)
    tied: int = 0
    settled: str = ""
    ranked: Sequence[Path] = ()
    note: str = ""


@dataclass(frozen=True)
class Fitted:
    """The final fit.

    Args:
        outcome: of the chosen variant.
        variant, values: of a sweep, which one was chosen.
        n_variants, tied: of a sweep, how many there were and how many share the best dev score.
        settled: what told those apart.
    """

    outcome: Outcome
    variant: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    n_variants: int = 1
    tied: int = 1
    settled: str = ""


@dataclass(frozen=True)
class SeedOutcome:
    """What a seed left.

    Args:
        seed, place: its folder.
        template, words: the final prompt's; None: the task's own.
        found: by each search, in their order.
        fit: the final one.
        ensemble: of the best fits of the last search; None: not asked for, or there were no fits.
        members: how many fits it has.
    """

    seed: int
    place: Path
    template: str | None
    words: Mapping[str, Any] | None
    found: Sequence[Found]
    fit: Fitted
    ensemble: Outcome | None
    members: int = 0

    @property
    def products(self) -> dict[str, Outcome]:
        """What came of it, by name."""
        own = {FIT: self.fit.outcome}
        return own if self.ensemble is None else {**own, ENSEMBLE: self.ensemble}


@dataclass(frozen=True)
class LmBffRun:
    """A finished recipe.

    Args:
        folder: everything is there.
        settings: what was run.
        task: as the first seed reads it.
        seeds: what came of each.
        seconds: spent over all sessions.
    """

    folder: Path
    settings: LmBffSettings
    task: Task
    seeds: Sequence[SeedOutcome]
    seconds: float

    @property
    def prompts(self) -> list[Path]:
        """The prompt folders of the final fits."""
        places = [one.place / FIT / PROMPT for one in self.seeds]
        return [place for place in places if place.is_dir()]
