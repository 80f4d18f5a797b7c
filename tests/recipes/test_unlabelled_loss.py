"""A run file asks for the language-model loss on unlabelled rows, a hinge, or a temperature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softprompt.errors import SettingsError
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import key_table
from softprompt.recipes.train import train
from softprompt.recipes.watching import Silent
from tests.small_runs import write_run_yaml


class Stopping(Silent):
    """Presses Ctrl-C after 3 steps."""

    def progress(self, progress: object) -> None:
        if getattr(progress, "step", 0) == 3:
            raise KeyboardInterrupt


def test_a_run_learns_from_the_rows_of_train_that_it_has_no_labels_of(here: Path, bert: Path):
    asked = {"train_limit": 8, "unlabelled": "train", "training__auxiliary": {"weight": 0.2}}
    train(read_run(write_run_yaml(here, bert, **asked)))
    lines = (here / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["auxiliary_loss"] > 0 for line in lines)
    prompt = Prompt.load(here / "run" / "prompt")
    assert prompt.task["unlabelled_rows"] == 40 - 8 - 8  # neither learned from nor chosen on
    before = (here / "run" / "metrics.jsonl").read_bytes()
    again = read_run(write_run_yaml(here, bert, **asked, out="again"))
    with pytest.raises(KeyboardInterrupt):
        train(again, Stopping())
    train(again)
    assert (here / "again" / "metrics.jsonl").read_bytes() == before


def test_without_unlabelled_rows_the_run_file_is_told_what_to_give(here: Path, bert: Path):
    asked = read_run(write_run_yaml(here, bert, training__auxiliary={"weight": 0.2}))
    with pytest.raises(SettingsError, match="in a run file the key `unlabelled`"):
        train(asked)
    assert not (here / "run" / "prompt").exists()


def test_a_hinge_or_a_temperature_is_kept_in_the_prompt(here: Path, bert: Path):
    for number, objective in enumerate(({"loss": "hinge"}, {"temperature": 2.0})):
        asked = write_run_yaml(here, bert, objective=objective, out=f"run-{number}")
        train(read_run(asked))
        kept = Prompt.load(here / f"run-{number}" / "prompt").objective
        assert {key: kept[key] for key in objective} == objective


def test_every_key_has_its_line_of_help():
    known = {key: help for key, _, help in key_table()}
    for key in ("weight", "per_example", "rate"):
        assert known[f"training.auxiliary.{key}"]
    assert "hinge" in known["objective.loss"]
    assert "T²" in known["objective.temperature"]
