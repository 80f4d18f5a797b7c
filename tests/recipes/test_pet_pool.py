"""What PET and iPET read without labels: never a row that is scored, and refused before anything is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.pool import read_pool
from softprompt.errors import DataError, SettingsError
from softprompt.recipes.pet.run import run_recipe
from softprompt.recipes.pet.unlabelled import met, set_aside
from softprompt.tuning.settings import TrainingSettings
from tests.recipes.test_pet import Told, recipe
from tests.small_runs import BAD, GOOD

LOSS = {"auxiliary": {"weight": 0.5, "per_example": 2}}
PROMPT = {"name": "prompt_tuning", "length": 2}
SHORT = {"steps": 2, "batch_size": 4}


def texts(folder: Path, n_test: int, n_own: int) -> dict[str, Any]:
    """Unlabelled rows of which some repeat test rows."""
    seen = [f"{text} here" for text in GOOD][:n_test]
    own = [f"{word} film number {n}" for n, word in enumerate([*BAD, *GOOD][:n_own])]
    rows = "".join(f'"{text}"\n' for text in [*seen, *own])
    (folder / "more.csv").write_text(f"words\n{rows}", "utf-8")
    return {"files": "more.csv", "fields": {"review": "words"}}


def read_beside(folder: Path) -> int:
    record = json.loads((folder / "prompt" / "prompt.json").read_text("utf-8"))
    return int(record["task"]["unlabelled_rows"])


def test_no_auxiliary_loss_reads_a_row_that_is_scored(here: Path, bert: Path):
    product = {"method": PROMPT, "training": {**SHORT, **LOSS}}
    given = recipe(
        here,
        bert,
        method=PROMPT,
        training={**SHORT, **LOSS},
        distil=[product],
        unlabelled=texts(here, n_test=4, n_own=5),
    )
    run = run_recipe(given)
    assert run.pool is not None
    assert len(run.pool) == 5
    folder = here / "run"
    assert read_beside(folder / "products" / "prompt_tuning") == 5
    assert read_beside(folder / "generation-0" / "pattern-1-1") == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": {**SHORT, **LOSS}}, "training.auxiliary.weight"),
        ({"distil": [{"training": {**SHORT, **LOSS}}]}, "distil: training.auxiliary.weight"),
    ],
)
def test_the_auxiliary_loss_needs_rows(here: Path, bert: Path, changes: dict[str, Any], named: str):
    none = recipe(here, bert, unlabelled=None, **changes)
    with pytest.raises(SettingsError, match=f"^{named} needs unlabelled rows, and 'reviews'"):
        run_recipe(none)
    seen = recipe(here, bert, unlabelled=texts(here, n_test=4, n_own=0), **changes)
    with pytest.raises(SettingsError, match=rf"^{named} needs .*repeating one of test: 4"):
        run_recipe(seen)
    assert not (here / "run").exists()


def test_a_bad_row_leaves_a_finished_recipe_as_it_was(here: Path, bert: Path):
    run_recipe(recipe(here, bert, distil=[]))
    before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
    rows = texts(here, n_test=0, n_own=3)
    with (here / "more.csv").open("a") as file:
        file.write('"one","too many"\n')
    with pytest.raises(DataError, match="line 5"):
        run_recipe(recipe(here, bert, distil=[], unlabelled=rows), overwrite=True)
    after = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
    assert after == before


def test_wrong_rows_leave_nothing_and_right_ones_are_taken(here: Path, bert: Path):
    rows = texts(here, n_test=0, n_own=5)
    wrong = {**rows, "fields": {"review": "wrods"}}
    with pytest.raises(DataError, match="wrods"):
        run_recipe(recipe(here, bert, distil=[], unlabelled=wrong))
    assert not (here / "run").exists()
    run = run_recipe(recipe(here, bert, distil=[], unlabelled=rows))
    assert run.pool is not None
    assert read_pool(run.pool.folder) == run.pool


def test_killed_while_rows_were_read_it_begins_anew(here: Path, bert: Path):
    (here / "run" / ".pool.partial").mkdir(parents=True)
    (here / "run" / ".pool.partial" / "rows.partial").write_text("half a row")
    run_recipe(recipe(here, bert, distil=[]))
    assert not (here / "run" / ".pool.partial").exists()


def test_rows_that_changed_since_are_told(here: Path, bert: Path):
    given = {"distil": [], "unlabelled": texts(here, n_test=0, n_own=5)}
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(here, bert, **given), Told(stop_at=2))
    texts(here, n_test=0, n_own=6)
    with pytest.raises(SettingsError, match="the unlabelled rows changed since"):
        run_recipe(recipe(here, bert, **given))
    texts(here, n_test=0, n_own=5)
    run_recipe(recipe(here, bert, **given))


def test_transductive_rows_may_repeat_another_tasks_test_rows(here: Path, bert: Path):
    rows = texts(here, n_test=2, n_own=3)
    first = f'"{BAD[0]} film number 0",negative\n'
    (here / "other.csv").write_text(f"review,mood\n{first}", "utf-8")
    other = {
        "test": "other.csv",
        "fields": ["review"],
        "target": "mood",
        "labels": ["negative", "positive"],
    }
    run = run_recipe(
        recipe(here, bert, distil=[], unlabelled=rows, transductive=True, test_on=[other])
    )
    assert run.pool is not None
    assert run.pool.left_out == {}
    assert sorted(run.pool.stayed.values()) == [1, 2]


def test_what_is_audited_no_auxiliary_loss_met(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, distil=[], unlabelled=texts(here, n_test=0, n_own=9)))
    pool = run.pool
    aside = {row.id for row in set_aside(pool)} if pool is not None else set()
    training = TrainingSettings.read({**SHORT, **LOSS, "steps": 100})
    left = {row.id for row in met(pool, training, 0, aside=True)["unlabelled"]}
    assert len(aside) == 5
    assert len(left) == 4
    assert not aside & left
    assert len(met(pool, training, 0)["unlabelled"]) == 9
    few = met(pool, training.model_copy(update={"steps": 1, "batch_size": 1}), 0)
    assert len(few["unlabelled"]) == 2
