"""One seed of a recipe, from its labelled rows to its products: models, generations, ensemble, products.

Every stage is left in its folder before the next one begins, and read where it stands already. Knows what
was prepared, not settings' files or the folder above.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from softprompt.backbones.backbone import Backbone
from softprompt.data.columns import listed
from softprompt.data.examples import Example
from softprompt.data.pool import Pool
from softprompt.data.task import Task
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.pet.generations import Picked, n_generations, others, pick, sizes
from softprompt.recipes.pet.members import MEMBER, Made, made, make, members_of, scored_pool
from softprompt.recipes.pet.pace import SCORED, Pace
from softprompt.recipes.pet.products import backbone_of, distil, leave_ensemble, product_run
from softprompt.recipes.pet.results import Generation, SeedOutcome
from softprompt.recipes.pet.settings import (
    ENSEMBLE,
    Cloze,
    IpetSettings,
    PetSettings,
    Product,
    product_place,
)
from softprompt.recipes.pet.unlabelled import met
from softprompt.recipes.pet.votes import weights_of
from softprompt.recipes.run_folder import RunFolder
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.watching import Part, Watcher
from softprompt.tuning.settings import TrainingSettings


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
        self._counts = _label_counts(self._labelled, task.labels)
        self._distilled = self._distillations()
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
                self._pace.done(self._member_rows(number))
        before = [np.nan if one.before is None else one.before for one in found]
        weights = weights_of(before, self._settings.weights).tolist()
        return Generation(number, members, found, weights, picked)

    # --- how long it takes --------------------------------------------------------------------

    def _planned(self) -> float:
        """Rows of all that is still to be done."""
        models, numbers = len(self._clozes) * self._settings.repetitions, [0]
        if isinstance(self._settings, IpetSettings):
            numbers += self._fitting(self._settings)
        rows = 0.0
        for number in numbers:
            there = list((self._place / f"generation-{number}").glob(f"*/{MEMBER}"))
            rows += (models - len(there)) * self._member_rows(number)
        runs = [run for _, run, _ in self._distilled]
        return rows + sum(_taught(run.training) for run in runs if not _finished(run))

    def _member_rows(self, generation: int) -> float:
        """Rows of one model; without labelled ones those of generation 0 are taught nothing."""
        taught = _taught(self._settings.training) if generation or self._labelled else 0
        return taught + SCORED * len(scored_pool(self._task, self._pool) or ())

    # --- iPET ---------------------------------------------------------------------------------

    def _n_generations(self, settings: IpetSettings) -> int:
        if settings.generations is not None:
            return settings.generations
        return n_generations(round(sum(self._counts)), settings.growth, settings.first)

    def _wanted(self, settings: IpetSettings, number: int) -> list[int]:
        """How many rows of each label a generation adds."""
        return sizes(self._counts, settings.growth, number, settings.first)

    def _fitting(self, settings: IpetSettings) -> list[int]:
        """The generations that the pool has rows for."""
        numbers, most = range(1, self._n_generations(settings) + 1), len(self._pool or ())
        return list(takewhile(lambda one: sum(self._wanted(settings, one)) <= most, numbers))

    def _picked(self, settings: IpetSettings, last: Generation, number: int) -> list[Picked] | None:
        """The rows that each model of the next generation is given; None: the pool has not so many."""
        assert self._pool is not None
        wanted = self._wanted(settings, number)
        if sum(wanted) > len(self._pool):
            self._say(
                f"generation {number} would label {sum(wanted):,} rows, the pool has "
                f"{len(self._pool):,}: the last generation is {number - 1}"
            )
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
        if absent := self._absent(found):
            self._say(
                f"generation {number}: no row of the pool looked like {absent} of {len(found)} models, so "
                "they are taught fewer rows of it"
            )
        short = sum(one.exhausted for one in found)
        if short:
            self._say(
                f"generation {number}: for {short} of {len(found)} models the pool had too few rows "
                "of a label, which are repeated"
            )
        return found

    def _absent(self, found: Sequence[Picked]) -> str:
        """The labels that no row looked like, and to how many models: `'bad' to 3, 'so so' to 2`."""
        counts = Counter(label for one in found for label in one.absent)
        named: defaultdict[int, list[str]] = defaultdict(list)
        for label in sorted(counts):
            named[counts[label]].append(self._task.labels[label])
        return ", ".join(f"{listed(named[count])} to {count}" for count in sorted(named)[::-1])

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

    @property
    def _undistilled(self) -> str | None:
        """Why nothing can be distilled; None: something can."""
        if self._pool is None:
            return "there are no unlabelled rows; the ensemble is the end"
        if not self._task.labels:
            return "examples have answers of their own, which no product shares"
        return None

    def _distillations(self) -> list[tuple[Product, RunSettings, Backbone]]:
        """The products that are made, each with its run and its backbone."""
        found = []
        for product in () if self._undistilled else self._settings.distil:
            own = backbone_of(product, self._settings, self._backbone, self._others)
            place = product_place(self._place, product.title)
            run = product_run(self._settings, product, self._clozes, self._seed, place, own)
            found.append((product, run, own))
        return found

    def _products(self, ensemble: Path) -> dict[str, Outcome]:
        if self._settings.distil and self._undistilled:
            self._say(f"nothing is distilled: {self._undistilled}")
        found: dict[str, Outcome] = {}
        for product, run, own in self._distilled:
            title = f"{self._named}distilled into {product.title}"
            fresh = not _finished(run)
            if fresh:
                self._told.note(f"{title}{self._pace.left}")
            assert self._pool is not None
            watcher = Part(self._told, title)
            found[product.title] = distil(
                run, product, own, self._task, self._pool, ensemble, watcher
            )
            if fresh:
                self._pace.done(_taught(run.training))
        return found

    def _say(self, message: str) -> None:
        self._notes.append(message)
        self._told.warning(f"{self._named}{message}")


def _label_counts(rows: Sequence[Example], labels: Sequence[str]) -> list[float]:
    """The rows of each label, `[C]`; one whose target is a distribution adds its share to each."""
    counts: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        target = row.target
        shares = target if isinstance(target, Mapping) else {str(target): 1.0}
        total = sum(shares.values())  # 1 to within a thousandth
        for label, share in shares.items():
            counts[label] += share / total
    return [counts[label] for label in labels]


def _taught(training: TrainingSettings) -> float:
    """Rows that a fit is taught, those of an auxiliary loss among them."""
    beside = training.auxiliary.per_example if training.auxiliary.on else 0
    return training.steps * training.batch_size * (1 + beside)


def _finished(run: RunSettings) -> bool:
    return RunFolder(Path(str(run.out))).finished
