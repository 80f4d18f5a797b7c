from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import RunError, SettingsError
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.prompt import Prompt
from softprompt.recipes import train as training
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import TOGETHER, Trained, groups, train
from softprompt.recipes.watching import Progress, Silent
from softprompt.tuning.run import Job
from tests.builders import mood
from tests.small_runs import write_reviews, write_run_yaml

RATE = "training.optimiser.learning_rate"
SWEEP: dict[str, Any] = {"method.length": [2, 3], RATE: [0.02, 0.2]}


class Diary(Silent):
    """Keeps what it is told, and presses Ctrl-C at a step of a group."""

    def __init__(self, stop: tuple[int, int] | None = None) -> None:
        self.stop, self.steps, self.warnings = stop, list[Progress](), list[str]()

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)
        if (progress.fit, progress.step) == self.stop:
            raise KeyboardInterrupt


def settings(here: Path, bert: Path, **changes: Any) -> RunSettings:
    return read_run(write_run_yaml(here, bert, **{"sweep": SWEEP, **changes}))


@pytest.fixture
def swept(here: Path, bert: Path) -> Trained:
    write_reviews(here / "test.csv", times=1)
    return train(settings(here, bert, seeds=[1, 2], task__test="test.csv"))


def test_each_swept_fit_is_the_fit_alone(here: Path, bert: Path) -> None:
    templates = ["{review} It was {mask}.", "{soft}{review} ({mask})"]
    values = {"method.length": [2, 4], "training.steps": [4, 7], "template": templates}
    made = train(settings(here, bert, sweep=values, seeds=[0, 3]))
    assert len(made.tried) == 8
    for one in made.tried[::3]:
        alone = train(
            one.bound.settings.model_copy(update={"out": str(here / "alone")}), overwrite=True
        )
        for together, apart in zip(one.outcomes, alone.runs, strict=True):
            assert together.step == apart.step
            assert together.metrics["dev"] == pytest.approx(apart.metrics["dev"], abs=1e-4)
            rows, expected = together.prompt.rows, apart.prompt.rows
            assert rows is not None
            assert expected is not None
            # Other shapes in a batch change the order of sums: f32 rounding over seven steps.
            assert (rows - expected).abs().max() < 1e-4 * expected.abs().max()


def test_every_variant_has_a_folder_with_prompts_of_its_own(here: Path, swept: Trained) -> None:
    places = sorted(path.name for path in (here / "run").iterdir() if "=" in path.name)
    assert places == sorted(one.bound.variant.name for one in swept.tried)
    assert "length=2,learning_rate=0.2" in places
    for name in places:
        config = read_run(here / "run" / name / "config.yaml")
        assert (config.sweep, config.out) == ({}, str(here / "run" / name))
        prompts = [Prompt.load(here / "run" / name / f"seed-{seed}/prompt") for seed in (1, 2)]
        assert [prompt.settings["seed"] for prompt in prompts] == [1, 2]
        assert prompts[0].rows is not None
        assert len(prompts[0].rows) == config.method.n_rows(None)
    assert "sweep:" in (here / "run/config.yaml").read_text()


def test_the_best_on_dev_is_handed_on_as_an_ordinary_run_has_it(here: Path, swept: Trained) -> None:
    metric = {
        one.bound.variant.name: sum(o.metrics["dev"]["accuracy"] for o in one.outcomes)
        for one in swept.tried
    }
    best = swept.chosen.variant.name
    assert metric[best] == max(metric.values())
    assert [str(place.relative_to(here)) for place in swept.prompts] == [
        "run/seed-1/prompt",
        "run/seed-2/prompt",
    ]
    for seed in (1, 2):
        copy = Prompt.load(here / f"run/seed-{seed}/prompt")
        own = Prompt.load(here / "run" / best / f"seed-{seed}/prompt")
        assert copy.content_hash == own.content_hash
        assert {s["selection"] for s in copy.scores} == {"dev: the best of 4 variants × 2 steps"}
        for name in ("predictions.jsonl", "metrics.jsonl"):
            left = (here / f"run/seed-{seed}" / name).read_bytes()
            assert left == (here / "run" / best / f"seed-{seed}" / name).read_bytes()


def test_one_seed_leaves_its_prompt_in_the_run_folder(here: Path, bert: Path) -> None:
    made = train(settings(here, bert, sweep={"method.length": [2, 3]}))
    assert made.prompts == [here / "run/prompt"]
    assert (here / "run/length=2/seed-0/prompt/prompt.json").is_file()
    assert Prompt.load(here / "run/prompt").rows is not None


def test_the_report_shows_dev_of_all_and_test_of_the_chosen_alone(
    here: Path, swept: Trained
) -> None:
    report = (here / "run/report.md").read_text()
    best = swept.chosen.variant
    assert "| sweep | `4 variants × 2 seeds = 8 fits` |" in report
    assert f"| **{best.name}** |" in report
    for one in swept.tried:
        assert one.bound.variant.name in report
    assert "Selection: dev, 4 variants × 2 steps." in report
    assert report.count("| test |") == 2  # accuracy and loss, once
    assert "its scores below are those of the chosen variant alone" in report
    done = json.loads((here / "run/done.json").read_text())
    assert set(done["scores"]) == {"seed 1", "seed 2"}
    assert done["sweep"]["chosen"] == best.name
    assert done["sweep"]["values"] == best.values
    assert {len(values) for values in done["sweep"]["dev"].values()} == {2}


def files(folder: Path) -> dict[str, bytes]:
    """What a run leaves, without what says where it is."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "config.yaml" and "checkpoints" not in path.parts
    }


@pytest.mark.parametrize(("stop", "left"), [((0, 3), {0, 2}), ((2, 1), {2}), ((2, 6), set())])
def test_an_interrupted_sweep_ends_as_an_uninterrupted_one(
    here: Path, bert: Path, stop: tuple[int, int], left: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "TOGETHER", 2)
    train(settings(here, bert, out="whole"))
    again = settings(here, bert, out="parts")
    with pytest.raises(KeyboardInterrupt):
        train(again, Diary(stop))
    assert not (here / "parts/done.json").exists()
    diary = Diary()
    train(again, diary)
    # A group that was finished is not fitted again.
    assert {progress.fit for progress in diary.steps} == left
    assert files(here / "whole") == files(here / "parts")


def test_a_sweep_cut_off_while_results_are_written_goes_on(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings(here, bert, out="whole"))
    again = settings(here, bert, out="parts")
    real, written = training.write_outcome, list[Path]()

    def cut_off(place: Path, *given: Any, **named: Any) -> Any:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(place)
        return real(place, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_outcome", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(again)
    train(again)
    assert files(here / "whole") == files(here / "parts")


def test_another_sweep_is_refused_by_key_when_resuming(here: Path, bert: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings(here, bert), Diary((0, 4)))
    other = {"method.length": [2, 4], RATE: [0.02, 0.2]}
    with pytest.raises(SettingsError, match=r"these differ: sweep\.method\.length"):
        train(settings(here, bert, sweep=other))
    train(settings(here, bert, sweep={"method.length": [2]}), overwrite=True)
    assert [path.name for path in (here / "run").glob("*=*")] == ["length=2"]


def test_overwriting_keeps_folders_that_no_sweep_made(here: Path, bert: Path) -> None:
    train(settings(here, bert, sweep={"method.length": [2]}))
    (here / "run/a=b").mkdir()
    train(settings(here, bert, sweep={"method.length": [3]}), overwrite=True)
    assert sorted(path.name for path in (here / "run").glob("*=*")) == ["a=b", "length=3"]


def test_a_variant_that_diverges_does_not_stop_the_others(here: Path, bert: Path) -> None:
    optimiser = {"name": "adamw", "relative": False, "learning_rate": 0.01}
    diary = Diary()
    made = train(
        settings(here, bert, training__optimiser=optimiser, sweep={RATE: [1e30, 0.01]}), diary
    )
    assert made.chosen.variant.values == {RATE: 0.01}
    assert any("the others go on" in warning for warning in diary.warnings)
    report = (here / "run/report.md").read_text()
    assert "| learning_rate=1e+30 | failed | – |" in report
    assert not (here / "run/learning_rate=1e+30/seed-0/prompt").exists()
    with pytest.raises(RunError, match="learning_rate=1e"):
        train(settings(here, bert, training__optimiser=optimiser, sweep={RATE: [1e30]}, out="bad"))


def test_methods_with_and_without_open_weights_are_swept_together(here: Path, bert: Path) -> None:
    methods = ["prompt_tuning", "full_tuning", "prompt_design"]
    diary = Diary()
    made = train(settings(here, bert, sweep={"method": methods}, method="prompt_tuning"), diary)
    sizes = [one.n_learned for one in made.tried]
    assert sizes[0] == 20 * 32
    assert sizes[1] > 10_000
    assert sizes[2] == 0
    assert not (here / "run/method=full_tuning/seed-0/prompt").exists()
    assert (here / "run/method=prompt_design/seed-0/prompt/prompt.json").is_file()
    assert any("the tuned weights are not" in warning for warning in diary.warnings)


def test_fits_are_grouped_in_order_and_open_ones_are_alone() -> None:
    soft, full = Job(mood(), PromptTuning()), Job(mood(), FullTuning())
    found = groups([soft] * (TOGETHER + 1) + [full, full, soft])
    assert [len(group) for group in found] == [TOGETHER, 1, 1, 1, 1]


def test_what_a_later_group_refuses_is_found_before_the_first_one_trains(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "TOGETHER", 1)
    methods = ["prompt_tuning", {"init": "prompt", "init_from": "nowhere"}]
    diary = Diary()
    with pytest.raises(Exception, match="nowhere"):
        train(settings(here, bert, sweep={"method": methods}), diary)
    assert diary.steps == []
    assert not (here / "run").exists()


def test_without_dev_there_is_nothing_to_choose_by(here: Path) -> None:
    run = settings(here, here / "no-such-model", dev_size=0)
    with pytest.raises(SettingsError, match="no dev split, so there is nothing to choose by"):
        prepare(run)


def test_a_variant_that_does_not_fit_the_backbone_is_named(here: Path, bert: Path) -> None:
    templates = ["{review} {mask}", "{text} {mask}"]
    with pytest.raises(SettingsError, match="sweep, variant template=2: template field 'text'"):
        prepare(settings(here, bert, sweep={"template": templates}))
    words = [{"positive": "great", "negative": "bad"}, {"positive": "great"}]
    with pytest.raises(SettingsError, match="sweep, variant words=2: words: none are given for"):
        prepare(settings(here, here / "no-such-model", sweep={"words": words}))


def test_the_summary_of_a_group_counts_its_fits(here: Path, bert: Path) -> None:
    diary = Diary()
    train(settings(here, bert, sweep={"training.steps": [3, 6]}, seeds=[0, 1]), diary)
    assert [progress.step for progress in diary.steps] == [1, 2, 3, 4, 5, 6]
    assert {progress.name for progress in diary.steps} == {"fits 1–4 of 4"}
    assert diary.steps[2].record["dev"]["best accuracy of 4"] >= 0.0
