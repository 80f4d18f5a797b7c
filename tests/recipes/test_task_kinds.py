"""One step on each kind of task: labels, own candidates, grouped rows, texts, numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.data.registry import load_task
from softprompt.errors import SettingsError
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.recipes.run_data import run_task
from softprompt.recipes.schema import RunSettings
from softprompt.tuning.run import fit
from tests.builders import Backbones, backbones
from tests.official_files import N, write_all

__all__ = ["backbones"]
STEP = {"steps": 1, "batch_size": 2, "evaluate_every": 1}
KINDS = (
    "super_glue/rte",  # labels
    "super_glue/copa",  # own candidates
    "chid",  # own candidates, in Chinese, inside the text
    "super_glue/multirc",  # grouped
    "glue/sts_b",  # a number between two poles
)
WRITTEN = ("glue/sts_b:t5", "super_glue/wsc:t5")
"""Texts; the number and the span as T5 writes them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


@pytest.mark.parametrize("family", ["bert", "t5-1.1", "gpt2"])
@pytest.mark.parametrize("name", KINDS)
def test_a_step_is_taken_and_scored_by_the_official_metrics(
    name: str, family: str, files: Path, backbones: Backbones
) -> None:
    task = load_task(name, files)
    run = fit(backbones(family), task, PromptTuning(length=2, init="vocabulary"), training=STEP)
    assert set(task.metrics) <= set(run.metrics["test"])
    assert all(-1 <= run.metrics["test"][metric] <= 1 for metric in task.metrics)


@pytest.mark.parametrize("name", WRITTEN)
def test_texts_are_written_by_an_encoder_decoder(
    name: str, files: Path, backbones: Backbones
) -> None:
    task = load_task(name, files)
    run = fit(backbones("t5-1.1"), task, PromptTuning(length=2, init="vocabulary"), training=STEP)
    assert set(task.metrics) <= set(run.metrics["test"])


def test_a_masked_backbone_cannot_write_and_says_so(files: Path, backbones: Backbones) -> None:
    with pytest.raises(SettingsError, match=r"'squad' is answered by writing, which a masked"):
        fit(backbones("bert"), load_task("squad", files), PromptTuning(length=2), training=STEP)


def test_a_run_file_names_a_form_behind_a_colon(files: Path) -> None:
    settings = RunSettings.read(
        {"backbone": "x", "task": "glue/rte:t5", "data": str(files), "variant": None}, "run"
    )
    task = run_task(settings).task
    assert task.name == "glue/rte:t5"
    assert task.template_for("encoder_decoder") == (
        "rte sentence1: {sentence1} sentence2: {sentence2}"
    )
    assert len(task.examples("test")) == N
