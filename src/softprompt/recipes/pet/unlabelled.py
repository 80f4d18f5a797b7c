"""The unlabelled rows of a recipe: made into a pool once, before anything in the folder is touched; which of
them an auxiliary loss meets, and which are left aside to be audited on.

Knows pools and settings, not models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softprompt.data.examples import Example
from softprompt.data.pool import Pool, read_pool, source_hash, write_pool
from softprompt.data.sampling import permutation
from softprompt.errors import SettingsError
from softprompt.recipes.pet.settings import PetSettings
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_folder import remove, writing
from softprompt.recipes.unlabelled_rows import UNLABELLED
from softprompt.tuning.settings import TrainingSettings

POOL, MADE_BESIDE = "pool", ".pool.partial"
AUDITED = 200
"""Rows whose language-model loss is measured before and after."""


@contextmanager
def pool_beside(
    home: Path, settings: PetSettings, data: RunData, goes_on: bool
) -> Iterator[Pool | None]:
    """The unlabelled rows without those that repeat labelled or evaluation rows; None: there are no rows.

    A new pool is made beside what stands in the folder, and takes its place when the block ends; where
    rows are refused, or the block is, all stays as it was.

    Args:
        home: the recipe's folder.
        goes_on: whether the recipe that stands there does; its pool is then read.
    Raises:
        SettingsError: the rows of the pool that stands there were others.
        DataError: a bad row, with file, line and field.
        RunError: the disk refuses.
    """
    if data.unlabelled is None:
        yield None
        return
    known = read_pool(home / POOL) if goes_on else None
    if known is not None:
        if known.source_hash and known.source_hash != source_hash(data.unlabelled.rows()):
            raise SettingsError(
                f"{home} holds a recipe on other data: the unlabelled rows changed since. Put them back, or "
                "give --overwrite or another out=…"
            )
        yield known
        return
    task = data.task
    try:
        made = write_pool(
            home / MADE_BESIDE,
            data.unlabelled.rows(),
            against={name: task.examples(name) for name in task.split_names if name != UNLABELLED},
            limit=settings.unlabelled_limit,
            seed=settings.data_seed,
            transductive=settings.transductive,
        )
        yield made.moved(home / POOL)
        with writing(home / POOL):
            (home / MADE_BESIDE).rename(home / POOL)
    except BaseException:
        remove(home / MADE_BESIDE)
        with contextlib.suppress(OSError):
            home.rmdir()
        raise


def met(
    pool: Pool | None, training: TrainingSettings, seed: int, aside: bool = False
) -> dict[str, list[Example]]:
    """The rows of the pool that a fit's auxiliary loss can meet, as the split that it reads; none where there
    is no such loss.

    Args:
        aside: leave out the rows of `set_aside`.
    """
    if not training.auxiliary.on or pool is None:
        return {}
    left = set(_aside(pool)) if aside else set()
    most = training.steps * training.batch_size * training.auxiliary.per_example
    chosen = [row for row in permutation(len(pool), seed) if row not in left][:most]
    return {UNLABELLED: pool.examples(sorted(chosen))}


def set_aside(pool: Pool) -> list[Example]:
    """The rows that language-model losses are measured on: the same for all models, met by none."""
    return pool.examples(_aside(pool))


def _aside(pool: Pool) -> list[int]:
    """At most half of the pool."""
    return sorted(permutation(len(pool), pool.seed, 1)[: min(AUDITED, (len(pool) + 1) // 2)])
