"""`softprompt ensemble` as a user runs it: several seeds of a run, one backbone, one answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.cli.main import main
from softprompt.data.metrics import score
from softprompt.inference.predictor import Predictor
from softprompt.recipes.ensemble import member_folders
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.tuning.jobs import labelled
from tests.cli.conftest import Command
from tests.small_runs import run_values, write_reviews, write_run_yaml


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Path:
    """The run folder of three seeds, its task with a test split; not to be changed."""
    folder = tmp_path_factory.mktemp("three")
    write_reviews(folder / "test.csv", times=1)
    task = {**run_values(bert)["task"], "test": "test.csv"}
    run = write_run_yaml(folder, bert, task=task, seeds=[0, 1, 2])
    assert main(["train", str(run)]) == 0
    return folder / "run"


def test_the_table_says_what_the_members_and_their_mean_are_worth(
    softprompt: Command, here: Path, three: Path
) -> None:
    outcome = softprompt("ensemble", three, "--out", "p.jsonl", "--picture", "r.png")
    assert outcome.code == 0, outcome.err
    assert "test (20)" in outcome.out
    assert "best by dev" in outcome.out
    assert (here / "r.png").read_bytes().startswith(b"\x89PNG")

    task = run_task(read_run(three.parent / "run.yaml")).task
    backbone = load_backbone(read_run(three.parent / "run.yaml").backbone)
    examples = labelled(task, "test")
    golds = [example.target for example in examples]
    said, alone = [], []
    for seed in range(3):
        predictor = Predictor(backbone, three / f"seed-{seed}" / "prompt")
        own = list(predictor.predict_examples(examples))
        alone.append(score(["accuracy"], [p.answer for p in own], golds, task.labels)["accuracy"])
        said.append(own)
    mean = re.search(r"mean of 3 +(\S+)", outcome.out)
    assert mean is not None
    assert float(mean[1]) == pytest.approx(sum(alone) / 3, abs=1e-3)

    rows = [json.loads(line) for line in (here / "p.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    for number, row in enumerate(rows):
        for label, value in row["probabilities"].items():
            expected = sum(own[number].probabilities[label] for own in said) / 3
            assert value == pytest.approx(expected, abs=1e-4)


def test_what_is_not_an_ensemble_is_refused(softprompt: Command, here: Path, three: Path) -> None:
    one = softprompt("ensemble", three / "seed-0")
    assert one.code == 2
    assert "1 prompt given, an ensemble needs at least two" in one.err
    nothing = softprompt("ensemble", here)
    assert nothing.code == 2
    assert "holds no prompt" in nothing.err
    dev = softprompt("ensemble", three, "--split", "dev")
    assert dev.code == 2
    assert "the best prompt is chosen there" in dev.err
    (here / "r.png").write_bytes(b"mine")
    picture = softprompt("ensemble", three, "--picture", "r.png")
    assert picture.code == 2
    assert "--overwrite" in picture.err
    assert (here / "r.png").read_bytes() == b"mine"


def test_a_task_without_the_split_is_refused(softprompt: Command, trained: Path) -> None:
    outcome = softprompt("ensemble", trained, trained / "prompt")
    assert outcome.code == 2
    assert "has no split 'test'" in outcome.err


def test_members_have_names_of_their_own(three: Path, trained: Path) -> None:
    assert list(member_folders([three])) == ["seed-0", "seed-1", "seed-2"]
    assert len(member_folders([trained, trained])) == 2
