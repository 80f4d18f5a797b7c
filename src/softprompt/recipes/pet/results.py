"""What a recipe leaves in memory; its folder holds the same. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from softprompt.data.pool import Pool
from softprompt.data.task import Task
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.pet.generations import Picked
from softprompt.recipes.pet.members import Made, Member
from softprompt.recipes.pet.settings import Cloze, PetSettings
from softprompt.recipes.run_folder import PROMPT


@dataclass(frozen=True)
class Generation:
    """The models of one generation.

    Args:
        number: from 0.
        members, made: what they are and what came of them.
        weights: of each in an ensemble.
        picked: rows that each was given beside the labelled ones; empty in generation 0.
    """

    number: int
    members: Sequence[Member]
    made: Sequence[Made]
    weights: Sequence[float]
    picked: Sequence[Picked] = ()


@dataclass(frozen=True)
class SeedOutcome:
    """What a seed of a recipe left.

    Args:
        seed, place: its folder.
        clozes: the patterns.
        generations: the first one, and iPET's further ones.
        products: by name, the ensemble first.
        notes: what was decided on the way.
    """

    seed: int
    place: Path
    clozes: Sequence[Cloze]
    generations: Sequence[Generation]
    products: Mapping[str, Outcome]
    notes: Sequence[str]


@dataclass(frozen=True)
class RecipeRun:
    """A finished recipe.

    Args:
        folder: everything is there.
        settings, task: what was run.
        pool: the unlabelled rows; None: there are none.
        seeds: what came of each.
        warnings: what to know of words and rows.
    """

    folder: Path
    settings: PetSettings
    task: Task
    pool: Pool | None
    seeds: Sequence[SeedOutcome]
    warnings: Sequence[str] = ()

    @property
    def prompts(self) -> list[Path]:
        """The prompt folders of what the ensembles were distilled into."""
        places = [outcome.place / PROMPT for one in self.seeds for outcome in one.products.values()]
        return [place for place in places if place.is_dir()]
