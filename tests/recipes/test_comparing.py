"""Whole comparisons on a tiny backbone: what a cell is, what goes on, what is a row and no crash."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from pyarrow import parquet

from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings, read_compare
from softprompt.recipes.comparing import Comparison, compare
from softprompt.recipes.comparison_folder import leave
from softprompt.recipes.comparison_results import Result
from softprompt.recipes.run_file import read_run
from softprompt.recipes.train import train
from softprompt.recipes.watching import Fact, Progress
from softprompt.settings import to_yaml
from tests.small_runs import BAD, GOOD, write_reviews
from tests.tiny_models import save_checkpoint

TASK = {"train": "reviews.csv", "test": "held.csv", "fields": ["review"], "target": "mood"}


def write(folder: Path, model: Path, **changes: Any) -> Path:
    """reviews.csv, held.csv, hotels.csv and compare.yaml."""
    write_reviews(folder / "reviews.csv")
    rows = [(f"{text} here", "positive") for text in GOOD] + [(f"{t} too", "negative") for t in BAD]
    held = "".join(f'"{text}",{mood}\n' for text, mood in rows)
    (folder / "held.csv").write_text(f"review,mood\n{held}", encoding="utf-8")
    (folder / "hotels.csv").write_text(f"text,mood\n{held}", encoding="utf-8")
    values = {
        "backbone": str(model),
        "tasks": [{"task": TASK, "label": "reviews"}],
        "template": "{review} It was {mask}.",
        "words": {"positive": "great", "negative": "terrible"},
        "dev_size": 8,
        "methods": [
            {"name": "prompt_tuning", "length": 3, "label": "rows"},
            {"name": "full_tuning", "label": "full"},
        ],
        "training": {"steps": 4, "batch_size": 4, "evaluate_every": 2, "checkpoint_every": 1},
        "seeds": [0, 1],
        "resamples": 100,
        "out": "compared",
        **changes,
    }
    path = folder / "compare.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    return path


def settings(folder: Path, model: Path, **changes: Any) -> CompareSettings:
    return read_compare(write(folder, model, **changes))


def found(comparison: Comparison, label: str) -> Result:
    return next(r for r in comparison.tables[0].results if r.label == label)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Told:
    """Remembers what it is told, and may stop everything at a step."""

    def __init__(self, stop_at: int | None = None):
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._stop_at, self._steps = stop_at, 0

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def progress(self, progress: Progress) -> None:
        self._steps += 1
        if self._steps == self._stop_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Comparison:
    """A finished comparison; not to be changed."""
    folder = tmp_path_factory.mktemp("compared")
    comparison = compare(settings(folder, bert, test_on={"reviews": [_hotels(folder)]}))
    leave(comparison)
    return comparison


def _hotels(folder: Path) -> dict[str, Any]:
    return {"train": str(folder / "hotels.csv"), "dev": str(folder / "hotels.csv")} | {
        **{"fields": ["text"], "target": "mood", "name": "hotels"}
    }


def test_a_cell_is_what_train_gives_alone(done: Comparison, here: Path) -> None:
    cell = done.folder / "cells/bert/reviews/rows"
    alone = train(read_run(cell / "config.yaml", [f"out={here / 'alone'}"]))
    for name in ("prompt/prompt.safetensors", "predictions.jsonl", "metrics.jsonl"):
        one = (cell / "seed-1" / name).read_bytes()
        assert one == (alone.folder / "seed-1" / name).read_bytes(), name
    assert [run.metrics for run in alone.runs] == [t.metrics for t in found(done, "rows").tested]


def test_the_tidy_rows_are_the_fits_own_numbers(done: Comparison) -> None:
    rows = rows_of(done.folder / "results.csv")
    keys = [(r["backbone"], r["task"], r["row"], r["seed"], r["set"], r["metric"]) for r in rows]
    assert len(set(keys)) == len(keys)
    fit = json.loads((done.folder / "cells/bert/reviews/rows/seed-1/fit.json").read_text("utf-8"))
    own = {
        (r["set"], r["metric"]): float(r["value"])
        for r in rows
        if r["row"] == "rows" and r["seed"] == "1"
    }
    assert own == {(s, m): v for s, values in fit["metrics"].items() for m, v in values.items()}
    table = parquet.read_table(done.folder / "results.parquet")
    assert [row["value"] for row in table.to_pylist()] == [float(row["value"]) for row in rows]


def test_the_table_is_the_mean_of_the_fits(done: Comparison) -> None:
    (row,) = [r for r in rows_of(done.folder / "table.csv") if r["row"] == "full"]
    scores = [one.metrics["test"]["accuracy"] for one in found(done, "full").tested]
    assert float(row["mean"]) == pytest.approx(mean(scores))
    assert row["selection"] == "dev"
    assert row["set"] == "test"


def test_parameters_agree_with_their_formulas(done: Comparison, bert: Path) -> None:
    rows, full = found(done, "rows").costs, found(done, "full").costs
    assert rows is not None
    assert full is not None
    assert rows.agrees
    assert full.agrees
    assert rows.learned == rows.stored == rows.applied == 3 * rows.n_bytes // 12
    assert full.learned == full.backbone == full.applied
    assert rows.operations is not None
    assert full.operations is not None
    assert rows.operations > full.operations > 0  # three more positions


def test_baselines_stand_beside(done: Comparison) -> None:
    labels = [result.label for result in done.tables[0].results]
    assert labels == ["rows", "full", "zero-shot", "majority class", "bag of words"]
    zero, most = found(done, "zero-shot"), found(done, "majority class")
    assert (zero.kind, zero.selection, len(zero.tested)) == ("baseline", "none", 1)
    assert most.tested[0].metrics["test"]["accuracy"] == 0.5


def test_other_tasks_are_scored_as_they_are(done: Comparison) -> None:
    for label in ("rows", "full", "zero-shot"):  # the same texts under another field's name
        one = found(done, label).tested[0].metrics
        assert one["on hotels"]["accuracy"] == one["test"]["accuracy"]
    report = (done.folder / "report.md").read_text(encoding="utf-8")
    assert "domain shift" in report
    assert "train and on hotels" in report or "on hotels and train" in report


def test_interrupted_and_resumed_is_uninterrupted(
    done: Comparison, tmp_path: Path, bert: Path
) -> None:
    given = settings(tmp_path, bert, test_on={"reviews": [_hotels(tmp_path)]})
    for stop_at in (3, 3):
        with pytest.raises(KeyboardInterrupt):
            compare(given, Told(stop_at))
    resumed = compare(given)
    leave(resumed)
    one, other = (rows_of(c.folder / "results.csv") for c in (done, resumed))
    assert one == other


def test_what_is_done_is_not_run_again(done: Comparison) -> None:
    told = Told(stop_at=1)
    again = compare(done.settings, told)
    assert not [note for note in told.notes if note.startswith(("cell", "loading"))]
    assert again.tables == done.tables or [r.tested for r in again.tables[0].results] == [
        r.tested for r in done.tables[0].results
    ]


def test_a_comparison_may_grow_and_its_cells_may_not_change(tmp_path: Path, bert: Path) -> None:
    one = [{"name": "prompt_tuning", "length": 3, "label": "rows"}]
    more = [*one, {"name": "prompt_tuning", "length": 2, "label": "fewer"}]
    compare(settings(tmp_path, bert, methods=one, baselines=[], overlap=False))
    told = Told()
    compare(settings(tmp_path, bert, methods=more, baselines=[], overlap=False), told)
    assert [n for n in told.notes if n.startswith("cell")] == [
        "cell 2 of 2: fewer on reviews, bert"
    ]
    changed = settings(tmp_path, bert, methods=one, baselines=[], seeds=[0, 2])
    with pytest.raises(SettingsError, match=r"a finished run with other settings.*seeds"):
        compare(changed)
    compare(changed, overwrite=True)


def test_what_is_refused_or_fails_is_a_row_and_the_others_go_on(tmp_path: Path, bert: Path) -> None:
    methods = [
        {"name": "prompt_tuning", "length": 3, "label": "rows"},
        {"name": "prompt_tuning", "length": 3, "label": "no slot", "template": "{review} good"},
        {
            **{"name": "prompt_tuning", "length": 3, "label": "wild"},
            "training": {"optimiser": {"name": "adamw", "learning_rate": 1e30, "relative": False}},
        },
        {"name": "prompt_tuning", "length": 2, "label": "last"},
    ]
    told = Told()
    comparison = compare(settings(tmp_path, bert, methods=methods, baselines=[]), told)
    leave(comparison)
    assert found(comparison, "rows").tested
    assert found(comparison, "last").tested
    assert "mask" in (found(comparison, "no slot").refused or "")
    assert "the loss is nan" in (found(comparison, "wild").failed or "")
    assert any("wild" in warning for warning in told.warnings)
    report = (comparison.folder / "report.md").read_text(encoding="utf-8")
    assert "| no slot | refused |" in report
    assert "What was not run" in report


def test_a_method_may_have_the_plain_template(tmp_path: Path, bert: Path) -> None:
    head = {"name": "classification_head", "training": {"keep_weights": True}}
    methods = [{**head, "label": "plain", "template": "plain"}, {**head, "label": "cloze"}]
    given = settings(tmp_path, bert, methods=methods, baselines=[], seeds=[0])
    comparison = compare(given)
    templates = []
    for label in ("plain", "cloze"):
        assert found(comparison, label).tested
        place = comparison.folder / f"cells/bert/reviews/{label}/prompt/prompt.json"
        templates.append(json.loads(place.read_text(encoding="utf-8"))["template"])
    assert templates == ["{mask}{review}", "{review} It was {mask}."]


def test_a_refusal_does_not_say_the_rows_name_twice(tmp_path: Path) -> None:
    model = save_checkpoint("t5-1.1", tmp_path / "t5")
    told = Told()
    template, methods = "{review} It was", ["bitfit", {"name": "prompt_tuning", "length": 2}]
    given = settings(tmp_path, model, template=template, methods=methods, baselines=[], seeds=[0])
    comparison = compare(given, told)
    (note,) = [note for note in told.notes if "refused" in note]
    assert note.startswith("cell 1 of 2: BitFit on reviews, t5: refused: ")
    assert "bitfit" not in note
    assert "has no biases to train" in (found(comparison, "BitFit").refused or "")


def test_nothing_that_can_be_run_is_an_error(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(SettingsError, match="no cell of the comparison could be run; the first"):
        compare(settings(tmp_path, bert, template="{review} good", baselines=[]))
    assert not (tmp_path / "compared").exists()
    with pytest.raises(SettingsError, match=r"missing\.csv"):
        compare(settings(tmp_path, bert, tasks=[{"task": {**TASK, "train": "missing.csv"}}]))


def test_a_folder_of_something_else_is_refused(tmp_path: Path, bert: Path) -> None:
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"no comparison \(thesis\.txt\)"):
        compare(settings(tmp_path, bert))


def test_without_a_test_set_the_dev_file_is_the_test_and_dev_comes_out_of_train(
    tmp_path: Path, bert: Path
) -> None:
    task = {"train": "reviews.csv", "dev": "held.csv", "fields": ["review"], "target": "mood"}
    methods = [{"name": "prompt_tuning", "length": 2, "label": "rows"}]
    comparison = compare(
        settings(tmp_path, bert, tasks=[{"task": task}], methods=methods, baselines=["majority"])
    )
    data = comparison.tables[0].data.task
    assert {name: len(data.examples(name)) for name in data.split_names} == {
        **{"train": 32, "dev": 8, "test": 20}
    }


def test_with_one_file_alone_no_score_is_shown_where_dev_chose(tmp_path: Path, bert: Path) -> None:
    task = {"train": "reviews.csv", "fields": ["review"], "target": "mood"}
    methods = [{"name": "prompt_tuning", "length": 2, "label": "rows"}]
    comparison = compare(settings(tmp_path, bert, tasks=[{"task": task}], methods=methods))
    leave(comparison)
    table = {row["row"]: row for row in rows_of(comparison.folder / "table.csv")}
    assert (table["rows"]["mean"], table["bag of words"]["mean"]) == ("", "")
    assert (table["zero-shot"]["set"], table["majority class"]["set"]) == ("dev", "dev")
    report = (comparison.folder / "report.md").read_text(encoding="utf-8")
    assert "| rows | no test set |" in report


def test_each_seed_draws_its_own_split(tmp_path: Path, bert: Path) -> None:
    methods = [{"name": "prompt_tuning", "length": 2, "label": "rows"}]
    given = settings(
        tmp_path, bert, methods=methods, split_seed_with_seed=True, k_shot=4, dev_size=None
    )
    comparison = compare(given)
    leave(comparison)
    tested = found(comparison, "rows").tested
    assert [(one.split, one.seed, one.n["dev"]) for one in tested] == [(0, 0, 8), (1, 1, 8)]
    assert len(found(comparison, "bag of words").tested) == 2
    places = [run.place for run in comparison.plan.cells[0].runs]
    hashes = [json.loads((p / "data.json").read_text("utf-8")) for p in places]
    assert hashes[0]["train"] != hashes[1]["train"]
    assert hashes[0]["test"] == hashes[1]["test"]


def test_a_sweep_is_chosen_on_dev_and_said(tmp_path: Path, bert: Path) -> None:
    methods = [
        {"name": "prompt_tuning", "length": 2, "label": "swept"}
        | {"sweep": {"training.optimiser.learning_rate": [0.1, 0.3]}}
    ]
    comparison = compare(settings(tmp_path, bert, methods=methods, baselines=[]))
    result = found(comparison, "swept")
    assert result.selection == "dev"
    assert "the best of 2 variants (learning_rate=0." in result.chosen
    assert result.costs is not None
    assert result.costs.agrees


def test_a_task_of_other_labels_cannot_be_tested_on(tmp_path: Path, bert: Path) -> None:
    given = settings(tmp_path, bert, test_on={"reviews": ["softprompt/topics-en"]})
    with pytest.raises(SettingsError, match=r"test_on: task 'softprompt/topics-en' has the labels"):
        compare(given)


def test_two_backbones_have_a_table_each_and_pictures_over_their_size(
    tmp_path: Path, bert: Path
) -> None:
    both = [
        {"name": str(bert), "label": "one"},
        {"name": str(bert), "label": "two", "note": "same"},
    ]
    changes: dict[str, Any] = {"methods": ["prompt_tuning"], "baselines": ["majority"]}
    path = write(tmp_path, bert, **changes)
    text = path.read_text(encoding="utf-8").replace(f"backbone: {bert}\n", "")
    path.write_text(text + to_yaml({"backbones": both}), encoding="utf-8")
    comparison = compare(read_compare(path))
    leave(comparison)
    assert [table.backbone for table in comparison.tables] == ["one", "two"]
    report = (comparison.folder / "report.md").read_text(encoding="utf-8")
    assert "## reviews on one" in report
    assert "two (" in report
    assert "[same]" in report
    one, two = ([r.tested for r in t.results if r.kind == "method"] for t in comparison.tables)
    assert [t.metrics for t in one[0]] == [t.metrics for t in two[0]]
