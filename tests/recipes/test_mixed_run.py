"""One prompt, or one set of weights, for several tasks: whole runs, and what they leave."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softprompt.analysis.baselines import majority
from softprompt.cli.main import main
from softprompt.data.metrics import score
from softprompt.data.mixture import mix_tasks
from softprompt.data.registry import load_task
from softprompt.errors import SettingsError, UsageError
from softprompt.inference.applied import apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.methods.full_tuning import FullTuning
from softprompt.recipes.compare_file import read_compare
from softprompt.recipes.comparing import compare
from softprompt.recipes.comparison_folder import leave
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.settings import to_yaml
from softprompt.text.answers import FreeText
from softprompt.text.template import parse
from softprompt.tuning.jobs import Job, training_settings
from softprompt.tuning.run import Run, fit_many
from tests.builders import Backbones, content
from tests.official_files import N, write_all
from tests.small_runs import write_reviews
from tests.tiny_models import save_checkpoint

MOODS = {"train": "reviews.csv", "fields": ["review"], "target": "mood", "name": "moods"}
MIXED = ("super_glue/rte:t5", "super_glue/multirc:t5")
ROWS = N + 1
"""Of a test set of SuperGLUE there."""
TRAINING = {"steps": 4, "batch_size": 4, "evaluate_every": 2, "checkpoint_every": 1}


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("t5-1.1", tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture
def files(here: Path) -> Path:
    write_reviews(here / "reviews.csv")
    return write_all(here / "data")


def values(files: Path, model: str | Path = "x", **changes: Any) -> dict[str, Any]:
    return {
        "backbone": str(model),
        "task": {"mix": ["super_glue/rte", "super_glue/copa:t5"], "rates": "equal", "size": 20},
        "data": str(files),
        "method": {"name": "prompt_tuning", "length": 2, "init": "vocabulary"},
        "training": TRAINING,
        "max_answer_tokens": 4,
        "out": "run",
        **changes,
    }


def test_a_run_file_mixes_tasks_in_t5s_form(files: Path) -> None:
    found = run_task(RunSettings.read(values(files), "run"))
    task = found.task
    assert list(task.parts) == ["super_glue/rte:t5", "super_glue/copa:t5"]
    assert task.metrics == (
        "task_mean",
        *("task:super_glue/rte:t5 accuracy", "task:super_glue/rte:t5 illegal"),
        *("task:super_glue/copa:t5 accuracy", "task:super_glue/copa:t5 illegal"),
    )
    assert (len(task.examples("train")), len(task.examples("test"))) == (20, 2 * ROWS)
    drawn = sum(row.group == "super_glue/rte:t5" for row in task.examples("train"))
    own = len(task.parts["super_glue/rte:t5"].examples("train"))
    share = f"{drawn / 20:.0%}"
    assert (
        f"super_glue/rte:t5: {drawn} rows of train ({share}), drawn from its {own}" in found.notes
    )


def test_own_files_are_mixed_in_and_their_paths_are_the_files(files: Path) -> None:
    path = files.parent / "sub" / "run.yaml"
    path.parent.mkdir()
    mixed = {"mix": [{**MOODS, "train": "../reviews.csv"}, "softprompt/topics-en"]}
    path.write_text(to_yaml(values(files, task=mixed, dev_size=6)), encoding="utf-8")
    with pytest.raises(UsageError, match="'moods' has no test split"):
        run_task(read_run(path))
    given = {**MOODS, "train": "../reviews.csv", "test": "../reviews.csv"}
    path.write_text(
        to_yaml(values(files, task={"mix": [given, "softprompt/topics-en"]}, dev_size=6)),
        encoding="utf-8",
    )
    settings = read_run(path)
    task = run_task(settings).task
    rows = [row for row in task.examples("dev") if row.group == "moods"]
    assert len(rows) == 6  # topics-en keeps the dev split that it has
    assert len(task.examples("dev")) == 6 + len(load_task("softprompt/topics-en").examples("dev"))
    assert str(rows[0].fields["text"]).startswith("moods review: ")
    again = RunSettings.read(settings.resolved(), "run")
    assert run_task(again).task.content_hash("train") == task.content_hash("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_on": ["glue/mrpc:t5"]}, "a mixture is scored on its own tasks"),
        ({"task": "glue/rte:t5", "test_on": [{"mix": ["a", "b"]}]}, "name its tasks one by one"),
    ],
)
def test_other_test_sets_are_refused(files: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run_task(RunSettings.read(values(files, **changes), "run"))


@pytest.mark.parametrize("mix", [["glue/rte"], "glue/rte", {"a": 1}])
def test_a_mixture_has_two_tasks_or_more(mix: Any) -> None:
    with pytest.raises(SettingsError, match=r"task\.mix"):
        RunSettings.read({"backbone": "x", "task": {"mix": mix}}, "run")


@pytest.mark.parametrize("name", ["t5-1.1", "gpt2"])
def test_a_row_is_read_as_in_the_form_alone(name: str, files: Path, backbones: Backbones) -> None:
    backbone, alone = backbones(name), load_task("super_glue/rte:t5", files)
    mixed = mix_tasks([alone, load_task("super_glue/boolq:t5", files)])

    def sources(source: str, rows: Any) -> list[Any]:
        objective = resolve_objective(ObjectiveSettings(), backbone.family, True, False)
        applied = apply(backbone, parse(source), FreeText(4), objective)
        return [applied.source(row).ids for row in rows]

    source, template = alone.template_for(backbone.family), mixed.template_for(backbone.family)
    assert source is not None
    assert template is not None
    rows = mixed.examples("test")[:ROWS]
    assert sources(template, rows) == sources(source, alone.examples("test"))


@pytest.mark.parametrize("name", ["t5-1.1", "gpt2"])
def test_resumed_is_uninterrupted_and_scores_are_those_of_each_task(
    name: str, files: Path, backbones: Backbones, tmp_path: Path
) -> None:
    backbone = backbones(name)
    parts = [load_task(one, files) for one in ("super_glue/rte:t5", "super_glue/copa:t5")]
    task, method = mix_tasks(parts, "equal", size=12), FullTuning()
    job = Job(task, method, answers=FreeText(4), training=training_settings(method, TRAINING))

    def stop(fit: Any, record: Any) -> None:
        if fit.step == 3:
            raise KeyboardInterrupt

    whole = _fit(backbone, replace(job, folder=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        fit_many(backbone, [replace(job, folder=tmp_path / "cut")], stop)
    resumed = _fit(backbone, replace(job, folder=tmp_path / "cut"))
    assert resumed.metrics == whole.metrics
    assert resumed.history == whole.history
    assert (
        content(tmp_path / "cut")["metrics.jsonl"] == content(tmp_path / "whole")["metrics.jsonl"]
    )
    said = [one.text for one in whole.evaluations["test"].predictions]
    for number, part in enumerate(parts):
        known = {word: label for label, words in part.written_words.items() for word in words}
        labels = [known.get(str(text)) for text in said[number * ROWS : (number + 1) * ROWS]]
        golds = [row.target for row in part.examples("test")]
        wanted = score(["accuracy"], labels, golds, part.labels)["accuracy"]
        assert whole.metrics["test"][f"task:{part.name} accuracy"] == wanted
    assert {one["n"] for one in whole.prompt.scores if one["metric"] != "task_mean"} >= {ROWS}


def _fit(backbone: Any, job: Job) -> Run:
    return fit_many(backbone, [job])[0]


def test_the_whole_command(files: Path, t5: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text(to_yaml(values(files, t5)), encoding="utf-8")
    assert main(["train", "run.yaml"]) == 0, capsys.readouterr().err
    report = Path("run/report.md").read_text(encoding="utf-8")
    assert "| test | task_mean | 18 |" in report
    rte = majority(load_task("super_glue/rte:t5", files)).metrics["test"]["accuracy"]
    (line,) = [one for one in report.splitlines() if "test | task:super_glue/rte:t5 acc" in one]
    assert line.endswith(f"| {rte:.3f} |")
    assert "| test | task:super_glue/copa:t5 accuracy | 9 |" in report
    capsys.readouterr()
    assert main(["evaluate", "run/prompt"]) == 0, capsys.readouterr().err
    assert "task:super_glue/rte:t5 accuracy" in capsys.readouterr().out


def test_a_masked_backbone_cannot_write(
    files: Path, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.yaml").write_text(to_yaml(values(files, bert)), encoding="utf-8")
    assert main(["train", "run.yaml"]) == 2
    assert "answered by writing, which a masked backbone cannot" in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_comparison_has_a_table_for_each_task(files: Path, t5: Path) -> None:
    given = {
        "backbone": str(t5),
        "tasks": [{"task": {"mix": list(MIXED), "rates": "equal", "size": 20}, "label": "both"}],
        "data": str(files),
        "max_answer_tokens": 4,
        "methods": ["full_tuning", {"name": "prompt_tuning", "length": 2, "init": "vocabulary"}],
        "training": TRAINING,
        "seeds": [0],
        "baselines": ["majority", "bag_of_words"],
        "resamples": 100,
        "out": "compared",
    }
    Path("compare.yaml").write_text(to_yaml(given), encoding="utf-8")
    tables = leave(compare(read_compare(Path("compare.yaml"))))
    names = [one.compared.task for one in tables]
    assert names == ["both", *(f"both: {name}" for name in MIXED)]
    assert [one.metric for one in tables] == ["task_mean", "accuracy", "multirc_f1a"]
    for table, name in zip(tables[1:], MIXED, strict=True):
        assert table.table is not None
        alone = load_task(name, files)
        assert table.table.n == len(alone.examples("test"))
        wanted = majority(alone).metrics["test"][table.metric]
        assert table.table.row("majority class").spread.mean == wanted
        assert table.table.row("bag of words").spread.mean >= 0
    with Path("compared/results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    means = {row["row"]: row["value"] for row in rows if row["metric"] == "task_mean"}
    assert tables[0].table is not None
    for row in tables[0].table.rows:
        assert row.spread.mean == pytest.approx(float(means[row.name]))
        assert row.interval is not None
    assert set(means) >= {"full tuning"}
