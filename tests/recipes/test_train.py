from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import RunError, SettingsError, UsageError
from softprompt.inference.predictor import Predictor
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import Trained, train
from softprompt.recipes.watching import Fact, Progress, Silent
from tests.small_runs import write_reviews, write_run_yaml


class Diary(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[Progress] = []

    def facts(self, facts: Sequence[Fact]) -> None:
        self.lines += [f"{fact.name} {fact.value}" for fact in facts]

    def note(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)


class Impatient(Silent):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def progress(self, progress: Progress) -> None:
        if progress.step == self.steps:
            raise KeyboardInterrupt


def settings(here: Path, bert: Path, **changes: Any) -> RunSettings:
    return read_run(write_run_yaml(here, bert, **changes))


@pytest.fixture
def trained(here: Path, bert: Path) -> Trained:
    write_reviews(here / "test.csv", times=1)
    return train(settings(here, bert, task__test="test.csv"))


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_run_leaves_everything_in_its_folder(here: Path, trained: Trained) -> None:
    left = [name for name in names(here / "run") if not name.startswith("checkpoints/")]
    assert left == [
        "config.yaml",
        "data.json",
        "done.json",
        "fit.json",
        "metrics.jsonl",
        "plots/training.png",
        "predictions.jsonl",
        "prompt/README.md",
        "prompt/prompt.json",
        "prompt/prompt.safetensors",
        "report.md",
    ]
    metrics = [json.loads(line) for line in (here / "run/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6]
    assert ["dev" in record for record in metrics] == [False, False, True, False, False, True]
    done = json.loads((here / "run/done.json").read_text())
    assert set(done["scores"]["seed 0"]) == {"dev", "test"}


def test_predictions_are_those_of_the_test_split(here: Path, trained: Trained) -> None:
    rows = [json.loads(line) for line in (here / "run/predictions.jsonl").read_text().splitlines()]
    examples = trained.prepared.task.examples("test")
    assert [row["id"] for row in rows] == [example.id for example in examples]
    assert [row["target"] for row in rows] == [example.target for example in examples]
    right = sum(row["prediction"] == row["target"] for row in rows) / len(rows)
    assert right == pytest.approx(trained.runs[0].metrics["test"]["accuracy"])
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1.0, abs=2e-6)


def test_the_saved_prompt_is_the_one_in_memory(here: Path, trained: Trained) -> None:
    saved = Prompt.load(here / "run/prompt")
    assert saved.content_hash == trained.runs[0].prompt.content_hash
    assert {score["split"] for score in saved.scores} == {"dev", "test"}


def test_the_report_holds_scores_selection_words_and_baseline(here: Path, trained: Trained) -> None:
    report = (here / "run/report.md").read_text()
    value = trained.runs[0].metrics["test"]["accuracy"]
    assert f"| test | accuracy | 20 | {value:.3f} | 0.500 |" in report
    assert "the best of 2 evaluations on dev by accuracy" in report
    assert "| positive | great | `great` |  |" in report
    assert "dev has 8 rows only" in report


def test_facts_and_steps_are_told(here: Path, bert: Path) -> None:
    diary = Diary()
    train(settings(here, bert), diary)
    assert any(line.startswith("learned 96 of ") for line in diary.lines)
    assert [progress.step for progress in diary.steps] == [1, 2, 3, 4, 5, 6]
    assert diary.steps[2].record["dev"]["accuracy"] >= 0.0
    assert diary.steps[0].metric == "accuracy"


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(here: Path, bert: Path, stop: int) -> None:
    train(settings(here, bert, out="whole"))
    again = settings(here, bert, out="parts")
    with pytest.raises(KeyboardInterrupt):
        train(again, Impatient(stop))
    assert not (here / "parts/done.json").exists()
    train(again)
    for name in (
        "metrics.jsonl",
        "prompt/prompt.safetensors",
        "predictions.jsonl",
        "plots/training.png",
        "done.json",
    ):
        whole, parts = (here / "whole" / name).read_bytes(), (here / "parts" / name).read_bytes()
        assert whole == parts, name


def test_a_changed_setting_is_named_when_resuming(here: Path, bert: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings(here, bert), Impatient(4))
    with pytest.raises(SettingsError, match=r"these differ: training\.batch_size"):
        train(settings(here, bert, training__batch_size=5))
    train(settings(here, bert, training__batch_size=5), overwrite=True)


def test_a_setting_that_an_earlier_version_did_not_know_is_no_change(
    here: Path, bert: Path
) -> None:
    run = settings(here, bert)
    with pytest.raises(KeyboardInterrupt):
        train(run, Impatient(4))
    config = Path(str(run.out)) / "config.yaml"
    lines = config.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if "training_score" not in line]
    assert len(kept) == len(lines) - 1
    config.write_text("".join(kept), encoding="utf-8")
    assert train(run).folder == Path(str(run.out))


def test_changed_data_are_named_when_resuming(here: Path, bert: Path) -> None:
    run = settings(here, bert)
    with pytest.raises(KeyboardInterrupt):
        train(run, Impatient(4))
    with (here / "reviews.csv").open("a") as file:
        file.write("one more,positive\n")
    with pytest.raises(SettingsError, match="other data: train"):
        train(run)


def test_a_finished_run_is_kept(here: Path, trained: Trained) -> None:
    with pytest.raises(SettingsError, match="holds a finished run"):
        train(trained.prepared.settings)


def test_several_seeds_have_a_folder_each(here: Path, bert: Path) -> None:
    made = train(settings(here, bert, seeds=[1, 2]))
    assert {"seed-1/prompt/prompt.json", "seed-2/metrics.jsonl", "report.md", "done.json"} <= set(
        names(here / "run")
    )
    assert not (here / "run/metrics.jsonl").exists()
    values = [run.metrics["dev"]["accuracy"] for run in made.runs]
    report = (here / "run/report.md").read_text()
    assert "mean ± sd of 2 seeds" in report
    assert f"| {values[0]:.3f} | {values[1]:.3f} |" in report
    hashes = {Prompt.load(place).content_hash for place in made.prompts}
    assert len(hashes) == 2


def test_a_seed_in_company_learns_what_it_learns_alone(here: Path, bert: Path) -> None:
    together = train(settings(here, bert, seeds=[1, 2], out="both"))
    alone = train(settings(here, bert, seeds=[2], out="one"))
    one, both = alone.runs[0].prompt.rows, together.runs[1].prompt.rows
    assert one is not None
    assert both is not None
    # Other shapes in a batch change the order of sums: f32 rounding over six steps.
    assert (one - both).abs().max() < 1e-4 * one.abs().max()


def test_full_tuning_leaves_scores_and_no_prompt(here: Path, bert: Path) -> None:
    diary = Diary()
    changes: dict[str, Any] = {"method": "full_tuning", "seeds": [0, 1]}
    made = train(settings(here, bert, **changes), diary)
    assert made.prompts == []
    assert not (here / "run/seed-0/prompt").exists()
    assert (here / "run/seed-1/predictions.jsonl").exists()
    assert any("the tuned weights are not" in warning for warning in diary.warnings)


@pytest.mark.parametrize(
    ("method", "kept"), [("lora", "adapter_model"), ("full_tuning", "weights")]
)
def test_weights_that_are_kept_predict_from_the_run_folder(
    here: Path, bert: Path, method: str, kept: str
) -> None:
    diary = Diary()
    changes = {"training__keep_weights": True} if method == "full_tuning" else {}
    made = train(settings(here, bert, method=method, **changes), diary)
    assert not any("are not" in warning for warning in diary.warnings)
    (place,) = made.prompts
    assert (place / "weights" / f"{kept}.safetensors").is_file()
    assert made.runs[0].n_learned == made.chosen.account.learned
    dev = made.prepared.task.examples("dev")
    found = Predictor(made.prepared.backbone, place).predict_examples(dev)
    rows = map(json.loads, (here / "run/predictions.jsonl").read_text().splitlines())
    assert [p.label for p in found] == [row["prediction"] for row in rows]


def test_prompt_design_learns_nothing_and_is_scored(here: Path, bert: Path) -> None:
    made = train(settings(here, bert, method="prompt_design"))
    assert made.runs[0].n_learned == 0
    assert Prompt.load(here / "run/prompt").rows is None


def test_a_setting_that_only_the_method_refuses_leaves_no_folder(here: Path, bert: Path) -> None:
    with pytest.raises(UsageError, match="init_text"):
        train(settings(here, bert, method={"name": "prompt_tuning", "init": "text"}))
    assert not (here / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(here: Path, bert: Path) -> None:
    optimiser = {"learning_rate": 1e30, "relative": False, "name": "adamw"}
    with pytest.raises(RunError):
        train(settings(here, bert, training__optimiser=optimiser))
    assert not (here / "run/prompt").exists()
