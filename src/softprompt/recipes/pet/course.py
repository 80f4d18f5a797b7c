"""One seed of a recipe, from its labelled rows to its products: models, generations, ensemble, products.

Every stage is left in its folder before the next one begins, and read where it stands already. Knows what
was prepared, not settings' files or the folder above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from softprompt.backbones.backbone import Backbone
from softprompt.data.columns import listed
from softprompt.data.examples import Example
from softprompt.data.pool import Pool
from softprompt.data.task import Task
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.pet.generations import Picked, n_generations, others, pick, sizes
from softprompt.recipes.pet.members import Made, made, make, members_of
from softprompt.recipes.pet.pace import SCORED, Pace
from softprompt.recipes.pet.products import backbone_of, distil, leave_ensemble, product_run
from softprompt.recipes.pet.results import Generation, SeedOutcome
from softprompt.recipes.pet.settings import (
    ENSEMBLE,
    Cloze,
    IpetSettings,
    PetSettings,
    product_place,
)
from softprompt.recipes.pet.unlabelled import met
from softprompt.recipes.pet.votes import weights_of
from softprompt.recipes.run_folder import RunFolder
from softprompt.recipes.watching import Part, Watcher


class Course:
    """One seed of a recipe, from its labelled rows to its products."""

    def __init__(
        self,
        settings: PetSettings,
        seed: int,
        place: Path,
        backbone: Backbone,
        others: dict[str, Backbone],
        task: Task,
        pool: Pool | None,
        clozes: Sequence[Cloze],
        told: Watcher,
    ):
        self._settings, self._seed, self._place = settings, seed, place
        self._backbone, self._others = backbone, others
        self._task, self._pool, self._clozes = task, pool, clozes
        self._told = told
        self._labelled = task.examples("train")
        self._notes: list[str] = []
        self._pace = Pace(self._planned())

    def run(self, splits: Sequence[str]) -> SeedOutcome:
        """Models, generations, ensemble, products."""
        generations = [self._generation(0, (), splits)]
        if isinstance(self._settings, IpetSettings):
            for number in range(1, self._n_generations(self._settings) + 1):
                picked = self._picked(self._settings, generations[-1], number)
                if picked is None:
                    break
                generations.append(self._generation(number, picked, splits))
        last = generations[-1]
        place = product_place(self._place, ENSEMBLE)
        if not RunFolder(place).finished:
            self._told.note(f"{self._named}the ensemble of {len(last.members)} models")
        products = {
            ENSEMBLE: leave_ensemble(
                place,
                last.members,
                last.made,
                last.weights,
                self._task,
                self._pool,
                splits,
                self._seed,
            )
        }
        products |= self._products(place)
        return SeedOutcome(
            self._seed, self._place, self._clozes, generations, products, tuple(self._notes)
        )

    @property
    def _named(self) -> str:
        return f"seed {self._seed}: " if len(self._settings.seeds) > 1 else ""

    def _generation(
        self, number: int, picked: Sequence[Picked], splits: Sequence[str]
    ) -> Generation:
        home = self._place / f"generation-{number}"
        members = members_of(self._settings, self._clozes, self._seed, home)
        found: list[Made] = []
        for place, member in enumerate(members):
            title = f"{self._named}model {place + 1} of {len(members)}, {member.name}"
            title += f", generation {number}" if picked else ""
            rows = self._labelled
            if picked:
                rows = self._labelled + self._newly(picked[place])
            fresh = made(member) is None
            if fresh:
                self._told.note(f"{title}{self._pace.left}")
            beside = met(
                self._pool, self._settings.training, member.seed, aside=self._settings.audit
            )
            task = self._task.with_splits(train=rows, **beside)
            found.append(
                make(
                    self._settings,
                    member,
                    self._backbone,
                    task,
                    self._labelled,
                    self._pool,
                    Part(self._told, title),
                    splits,
                )
            )
            if fresh:
                self._pace.done(self._member_rows())
        before = [np.nan if one.before is None else one.before for one in found]
        weights = weights_of(before, self._settings.weights).tolist()
        return Generation(number, members, found, weights, picked)

    # --- how long it takes --------------------------------------------------------------------

    def _planned(self) -> float:
        """Rows of all that is still to be done, as far as it is known."""
        settings, models = self._settings, len(self._clozes) * self._settings.repetitions
        generations = 1
        if isinstance(settings, IpetSettings):
            generations += self._n_generations(settings)
        there = sum(1 for _ in self._place.glob("generation-*/*/member.json"))
        rows = (models * generations - there) * self._member_rows()
        for product in settings.distil if self._pool is not None else ():
            run = product_run(settings, product, self._clozes, self._seed, self._place)
            rows += run.training.steps * run.training.batch_size
        return rows

    def _member_rows(self) -> float:
        training = self._settings.training
        beside = training.auxiliary.per_example if training.auxiliary.on else 0
        taught = training.steps * training.batch_size * (1 + beside)
        return taught + SCORED * len(self._pool or ())

    # --- iPET ---------------------------------------------------------------------------------

    def _n_generations(self, settings: IpetSettings) -> int:
        if settings.generations is not None:
            return settings.generations
        return n_generations(len(self._labelled), settings.growth, settings.first)

    def _picked(self, settings: IpetSettings, last: Generation, number: int) -> list[Picked] | None:
        """The rows that each model of the next generation is given; None: the pool has not so many."""
        assert self._pool is not None
        counts = Counter(str(row.target) for row in self._labelled)
        labels = self._task.labels
        wanted = sizes([counts[label] for label in labels], settings.growth, number, settings.first)
        if sum(wanted) > len(self._pool):
            self._say(
                f"generation {number} would label {sum(wanted):,} rows, the pool has "
                f"{len(self._pool):,}: the last generation is {number - 1}"
            )
            unmade = self._n_generations(settings) - number + 1
            self._pace.spare(unmade * len(last.members) * self._member_rows())
            return None
        scores = [member.shards.whole() for member in last.members]
        zero_shot = number == 1 and not self._labelled
        found = []
        for own in range(len(last.members)):
            generator = np.random.default_rng([self._seed, number, own])
            chosen = others(len(last.members), own, settings.share, generator)
            found.append(
                pick(
                    [scores[other] for other in chosen],
                    [last.weights[other] for other in chosen],
                    wanted,
                    generator,
                    likeliest=settings.likeliest if zero_shot else None,
                )
            )
        short = sum(one.exhausted for one in found)
        lacking = [one.absent for one in found if one.absent]
        if lacking:
            none = sorted({labels[label] for absent in lacking for label in absent})
            self._say(
                f"generation {number}: to {len(lacking)} of {len(found)} models no row of the pool looked "
                f"like {listed(none)}, so they are taught fewer rows of it"
            )
        if short:
            self._say(
                f"generation {number}: for {short} of {len(found)} models the pool had too few rows "
                "of a label, which are repeated"
            )
        return found

    def _newly(self, picked: Picked) -> list[Example]:
        """The rows that were picked, with their labels; one that stands twice under two ids."""
        assert self._pool is not None
        seen: Counter[str] = Counter()
        found = []
        for row, label in zip(self._pool.examples(picked.rows), picked.labels, strict=True):
            seen[row.id] += 1
            name = f"pool:{row.id}" + (f"#{seen[row.id]}" if seen[row.id] > 1 else "")
            found.append(replace(row, id=name, target=self._task.labels[label]))
        return found

    # --- products -----------------------------------------------------------------------------

    def _products(self, ensemble: Path) -> dict[str, Outcome]:
        if not self._settings.distil:
            return {}
        if self._pool is None:
            self._say("nothing is distilled: there are no unlabelled rows; the ensemble is the end")
            return {}
        if not self._task.labels:
            self._say(
                "nothing is distilled: examples have answers of their own, which no product shares"
            )
            return {}
        found: dict[str, Outcome] = {}
        for product in self._settings.distil:
            place = product_place(self._place, product.title)
            run = product_run(self._settings, product, self._clozes, self._seed, place)
            title = f"{self._named}distilled into {product.title}"
            if not RunFolder(place).finished:
                self._told.note(f"{title}{self._pace.left}")
            watcher = Part(self._told, title)
            own = backbone_of(product, run, self._backbone, self._others)
            found[product.title] = distil(
                run, product, own, self._task, self._pool, ensemble, watcher
            )
        return found

    def _say(self, message: str) -> None:
        self._notes.append(message)
        self._told.warning(f"{self._named}{message}")
