"""A saved prompt predicts what it predicted in its run, alone and beside others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import PromptError, UsageError
from softprompt.inference.predictor import Predictor
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.run import Run, fit_many
from tests.builders import FAMILIES, Backbones, job, mood

TEXTS = ("the film was good", "dull", "a very very slow book that one says is funny")


def saved(backbones: Backbones, name: str, folder: Path, **given: Any) -> Run:
    (run,) = fit_many(backbones(name), [job(mood(test=5), training={"steps": 3}, **given)])
    run.prompt.save(folder)
    return run


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_prompt_predicts_what_the_evaluation_in_its_run_did(
    backbones: Backbones, tmp_path: Path, name: str
):
    run = saved(backbones, name, tmp_path / "p")
    predictor = Predictor(backbones(name), tmp_path / "p")
    examples, wanted = mood(test=5).examples("test"), run.evaluations["test"].predictions
    assert list(predictor.predict_examples(examples)) == list(wanted)
    for got, whole in zip(predictor.predict_examples(examples, chunk=2), wanted, strict=True):
        assert dict(got.probabilities) == pytest.approx(dict(whole.probabilities), abs=1e-5)
    assert predictor.predict([TEXTS[0]]) == Predictor(backbones(name), run.prompt).predict(
        [{"text": TEXTS[0]}]
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_several_prompts_in_one_batch_are_as_one_by_one(
    backbones: Backbones, tmp_path: Path, name: str
):
    template = "{soft:2}so {text}{soft} . {mask}" if name != "t5-1.1" else "{soft:2}so {text}{soft}"
    saved(backbones, name, tmp_path / "a", seed=1)
    saved(backbones, name, tmp_path / "b", method=PromptTuning(length=4), template=template)
    saved(backbones, name, tmp_path / "c", method=PromptDesign())
    folders = {key: tmp_path / key for key in "abc"}
    predictor = Predictor(backbones(name), folders)
    asked = [(key, text) for text in TEXTS for key in "bca"]
    for (key, text), got in zip(asked, predictor.predict(asked), strict=True):
        (alone,) = Predictor(backbones(name), folders[key]).predict([text])
        assert got.label == alone.label
        assert dict(got.probabilities) == pytest.approx(dict(alone.probabilities), abs=1e-5)


def test_what_is_asked_wrongly_is_said(backbones: Backbones, tmp_path: Path):
    saved(backbones, "bert", tmp_path / "a")
    predictor = Predictor(backbones("bert"), {"a": tmp_path / "a", "b": tmp_path / "a"})
    wrong: list[tuple[Any, str]] = [
        ("dull", "which prompt\\? there are: a, b"),
        (("c", "dull"), "no prompt 'c'; there are: a, b"),
        (("a", {"text": 5}), "input 0, field 'text': expected a text or a list of texts, got 5"),
        (("a", 5), "input 0: expected a text or a mapping of fields, got int"),
        (("a", {"review": "dull"}), "example 0: .*expected a field 'text'"),
    ]
    for given, message in wrong:
        with pytest.raises(UsageError, match=message):
            predictor.predict([given])
    with pytest.raises(UsageError, match="no prompts given"):
        Predictor(backbones("bert"), {})


def test_a_prompt_of_another_backbone_is_refused_from_disk_and_from_memory(
    backbones: Backbones, tmp_path: Path
):
    run = saved(backbones, "bert", tmp_path / "a")
    for given in (tmp_path / "a", run.prompt):
        with pytest.raises(PromptError, match="does not fit"):
            Predictor(backbones("gpt2"), given)


def test_the_record_of_a_full_tuning_cannot_predict(backbones: Backbones, tmp_path: Path):
    saved(backbones, "bert", tmp_path / "a", method=FullTuning())
    with pytest.raises(PromptError, match=r"'full_tuning'.*cannot predict"):
        Predictor(backbones("bert"), tmp_path / "a")
