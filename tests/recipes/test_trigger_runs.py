"""A whole search for triggers on tiny models: folder, resumption, text and rows, label words, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.cli.main import main
from softprompt.cli.search_triggers import triggers as command
from softprompt.data.loading import Skipped
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.inference.evaluate import evaluate
from softprompt.inference.predictor import Predictor, applied_prompt
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.finishing import Searched
from softprompt.recipes.search.triggers.search import search_triggers
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.recipes.train import train
from softprompt.recipes.watching import Progress, Silent
from softprompt.settings import read_yaml
from tests.builders import Backbones, mood
from tests.small_runs import write_run_yaml

SMALL = {"iterations": 4, "top_k": 3, "batch_size": 6, "evaluate_every": 2, "fits": 2}


def run_of(backbone: Backbone, **changes: Any) -> RunSettings:
    values = {"backbone": backbone.name, "task": "mood", "out": "run"}
    template = "{text}{soft:2} it was {mask}."
    return RunSettings.read({**values, "template": template, **changes})


def searched(
    backbone: Backbone,
    out: Path,
    task: Task | None = None,
    run: dict[str, Any] | None = None,
    watcher: Silent | None = None,
    **settings: Any,
) -> Searched:
    return search_triggers(
        run_of(backbone, **(run or {})),
        TriggerSettings.read({**SMALL, **settings}),
        out,
        watcher,
        backbone=backbone,
        data=RunData(task or mood(24, dev=8, test=6), (), Skipped()),
    )


class StopsAt(Silent):
    """A watcher that is interrupted at an iteration."""

    def __init__(self, step: int):
        self._step = step

    def progress(self, progress: Progress) -> None:
        if progress.step == self._step:
            raise KeyboardInterrupt


class Remembers(Silent):
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def looks(out: Path, seed: int = 0) -> list[dict[str, Any]]:
    state = json.loads((out / "work" / f"seed-{seed}.json").read_text("utf-8"))
    found: list[dict[str, Any]] = state["looks"]
    return found


@pytest.mark.parametrize("family", ["bert", "t5-1.1", "gpt2"])
@pytest.mark.parametrize("loss", ["words", "labels"])
def test_the_best_triggers_become_text_that_scores_as_their_rows_did(
    backbones: Backbones, here: Path, family: str, loss: str
) -> None:
    made = searched(backbones(family), here / "s", loss=loss)
    best = made.best
    assert best.template is not None
    assert "{soft" not in best.template
    assert made.ranking is not None
    fit = made.ranking.best.outcomes[0]
    seen = {look["iteration"]: look["metrics"] for look in looks(here / "s")}
    found = seen[best.scores["iteration"]]
    assert fit.metrics["dev"]["accuracy"] == found["accuracy"]
    assert fit.metrics["dev"]["loss"] == pytest.approx(found["loss"], abs=1e-5)
    assert fit.n_learned == 0
    assert set(made.ranking.test) == {"accuracy", "loss"}
    report = (here / "s/report.md").read_text("utf-8")
    assert "Without triggers the template has dev accuracy" in report
    assert "dev − test" in report


def test_the_best_run_file_is_trained_as_it_is_and_its_prompt_predicts_the_same(
    backbones: Backbones, here: Path
) -> None:
    backbone, task = backbones("bert"), mood(24, dev=8, test=6)
    made = searched(backbone, here / "s", task)
    best = read_run(here / "s/best.yaml", ["out=again"])
    assert best.template == made.best.template
    assert best.method.name == "prompt_design"
    prompt = Prompt.load(here / "s/fits/001/prompt")
    predictor = Predictor(backbone, {"mood": here / "s/fits/001/prompt"})
    rows = task.examples("test")
    again = predictor.predict([("mood", example.fields) for example in rows])
    applied = applied_prompt(backbone, prompt)
    scored = evaluate(backbone, applied, rows, task.metrics, task.labels, both_ways=False)
    for one, other in zip(again, scored.predictions, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_an_interrupted_run_leaves_what_an_uninterrupted_one_leaves(
    backbones: Backbones, here: Path, step: int
) -> None:
    backbone = backbones("bert")
    settings = {"checkpoint_every": 2, "fits": 1}
    searched(backbone, here / "whole", run={"seeds": [0, 1]}, **settings)
    with pytest.raises(KeyboardInterrupt):
        searched(backbone, here / "cut", run={"seeds": [0, 1]}, watcher=StopsAt(step), **settings)
    assert not (here / "cut/done.json").exists()
    searched(backbone, here / "cut", run={"seeds": [0, 1]}, **settings)
    for name in (
        "work/seed-0.json",
        "work/seed-1.json",
        "candidates.jsonl",
        "best.yaml",
        "report.md",
    ):
        assert (here / "cut" / name).read_bytes() == (here / "whole" / name).read_bytes(), name


def test_a_search_goes_on_under_the_same_settings_only(backbones: Backbones, here: Path) -> None:
    searched(backbones("bert"), here / "s")
    with pytest.raises(SettingsError, match=r"these differ: search\.top_k"):
        searched(backbones("bert"), here / "s", top_k=5)


def test_excluded_words_label_words_and_special_tokens_never_are_triggers(
    backbones: Backbones, here: Path
) -> None:
    backbone = backbones("bert")
    tokenizer = backbone.tokenizer
    searched(backbone, here / "s", tokens="words", exclude=["Film"], iterations=8, top_k=40)
    never = {*tokenizer.special}
    pieces = tokenizer.pieces(tuple(range(tokenizer.size)))
    never |= {n for n, piece in enumerate(pieces) if piece in ("great", "awful", "film")}
    found = {number for look in looks(here / "s") for number in look["ids"]}
    assert not found & never
    for line in (here / "s/candidates.jsonl").read_text("utf-8").splitlines():
        shown = json.loads(line)["scores"]["triggers"]
        assert not {"great", "awful", "film"} & set(shown)
        assert not any(piece.startswith(("##", "[")) for piece in shown)


def test_triggers_that_are_no_text_are_kept_as_the_rows_of_a_prompt(
    backbones: Backbones, here: Path
) -> None:
    backbone, task = backbones("bert"), mood(24, dev=8, test=6)
    tokenizer = backbone.tokenizer
    written = [p for p in tokenizer.pieces(tuple(range(tokenizer.size))) if p[:2] != "##"]
    told = Remembers()
    made = searched(backbone, here / "s", task, tokens="any", exclude=written, watcher=told)
    assert made.ranking is None
    assert any("kept as the rows of a prompt" in warning for warning in told.warnings)
    prompt = Prompt.load(here / "s/prompt", backbone.identity)
    best = json.loads((here / "s/done.json").read_text("utf-8"))["best"]
    assert prompt.rows is not None
    assert bool((prompt.rows == backbone.rows(best["ids"])).all())
    predictor = Predictor(backbone, {"mood": here / "s/prompt"})
    predictions = predictor.predict([("mood", e.fields) for e in task.examples("dev")])
    golds = [example.target for example in task.examples("dev")]
    right = sum(p.label == gold for p, gold in zip(predictions, golds, strict=True))
    scores = {(s["split"], s["metric"]): s["value"] for s in prompt.scores}
    assert scores["dev", "accuracy"] == right / len(golds)
    assert ("test", "accuracy") in scores
    assert "kept as the rows of a prompt" in (here / "s/report.md").read_text("utf-8")
    run = read_run(here / "s/best.yaml", ["out=again", "training.steps=1"])
    assert run.method.name == "prompt_tuning"
    from softprompt.recipes.prepare import prepare

    trained = train(run, prepared=prepare(run, backbone, RunData(task, (), Skipped())))
    assert trained.runs[0].prompt.rows is not None


def test_a_mask_start_and_words_of_the_template_are_where_triggers_begin(
    backbones: Backbones, here: Path
) -> None:
    backbone = backbones("bert")
    template = "{text}{soft:'so long'}{soft:1} it was {mask}."
    searched(backbone, here / "s", run={"template": template}, start="mask", iterations=1)
    first = looks(here / "s")[0]["ids"]
    assert backbone.tokenizer.pieces(tuple(first)) == ["so", "long", "[MASK]"]
    with pytest.raises(SettingsError, match="no mask token"):
        searched(backbones("gpt2"), here / "t", start="mask", iterations=1)


def test_label_words_of_a_probe_are_used_and_stand_in_the_best_run_file(
    backbones: Backbones, here: Path
) -> None:
    told = Remembers()
    settings = {"label_words": "probe", "words_per_label": 2}
    made = searched(backbones("bert"), here / "s", watcher=told, **settings)
    words = read_yaml(here / "s/best.yaml")["words"]
    assert set(words) == {"positive", "negative"}
    assert all(len(own) == 2 for own in words.values())
    assert not set(words["positive"]) & set(words["negative"])
    assert made.best.words == words
    assert any(note.startswith("label words of a probe") for note in told.notes)
    found = {word for look in made.candidates for word in look.scores["triggers"]}
    assert not found & {word for own in words.values() for word in own}


def test_a_run_that_tunes_weights_tunes_them_with_the_triggers(
    backbones: Backbones, here: Path
) -> None:
    run = {"method": "bitfit", "training": {"steps": 2, "evaluate_every": 1, "batch_size": 4}}
    made = searched(backbones("bert"), here / "s", run=run, fits=1)
    assert made.ranking is not None
    assert made.ranking.best.outcomes[0].n_learned > 0
    assert read_yaml(here / "s/best.yaml")["method"]["name"] == "bitfit"


@pytest.mark.parametrize("method", ["p_tuning", "prefix_tuning", "warp", "linear_probe"])
def test_methods_that_learn_beside_the_template_are_refused(
    backbones: Backbones, here: Path, method: str
) -> None:
    with pytest.raises(SettingsError, match=f"method: {method}"):
        searched(backbones("bert"), here / "s", run={"method": method})
    assert not (here / "s").exists()


def test_two_lengths_are_refused(backbones: Backbones, here: Path) -> None:
    run = {"method": {"name": "prompt_tuning", "length": 3}}
    with pytest.raises(SettingsError, match="two different lengths"):
        searched(backbones("bert"), here / "s", run=run)


def test_poles_of_a_number_have_triggers_too(backbones: Backbones, here: Path) -> None:
    from softprompt.data.examples import Example
    from tests.builders import rows, task_of

    def numbered(n: int, seed: int) -> list[Example]:
        return [
            Example(e.id, e.fields, 4.0 if e.target == "positive" else 1.0) for e in rows(n, seed)
        ]

    task = task_of(
        {"train": numbered(16, 1), "dev": numbered(8, 2)},
        name="stars",
        fields=("text",),
        kind="number",
        bounds=(0.0, 5.0),
        metrics=("pearson",),
        words={"low": ("awful",), "high": ("great",)},
    )
    made = searched(backbones("bert"), here / "s", task)
    assert made.ranking is not None
    assert made.ranking.metric == "pearson"


def options(names: Sequence[str]) -> set[str]:
    return set(names) - {"arguments", "out", "overwrite", "return"}


def test_the_command_has_every_setting_as_an_option(here: Path) -> None:
    assert options(list(command.__annotations__)) == set(TriggerSettings.model_fields)


def test_the_command_searches_and_says_what_comes_next(
    here: Path, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run_yaml(here, bert, template="{review}{soft:2} It was {mask}.", method="prompt_tuning")
    line = ["search", "triggers", "run.yaml", "--out", "found", "--iterations", "2"]
    line += ["--top-k", "2", "--batch-size", "4", "--fits", "1", "--exclude", "film"]
    assert main(line) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "chosen: {review}" in printed
    assert "next: softprompt train found/best.yaml" in printed
    assert main(["train", "found/best.yaml", "out=trained"]) == 0
    assert main([*line[:5], "--iterations", "0"]) == 2
    assert "'iterations': expected at least 1" in capsys.readouterr().err
