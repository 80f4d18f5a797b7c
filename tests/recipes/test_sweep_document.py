"""The manual's page on sweeps: its command runs, and its run file means the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.run_file import read_run
from softprompt.recipes.sweeps import MOST_VARIANTS
from softprompt.recipes.train import TOGETHER
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/sweeps.md"


def test_the_command_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (typed,) = commands(PAGE)
    quick = ["training.steps=1", "training.batch_size=2", "dev_limit=4", "test_limit=4"]
    assert main([*typed[1:], *quick]) == 0, capsys.readouterr().err
    assert "chosen: length=" in capsys.readouterr().out
    assert (here / "runs/topics/seed-1/prompt/prompt.json").is_file()


def test_the_run_file_of_the_page_and_its_command_mean_the_same(here: Path) -> None:
    (typed,), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    (here / "run.yaml").write_text(f"backbone: b\ntask: sst2\n{text}", encoding="utf-8")
    one, other = read_run(here / "run.yaml"), read_run(None, typed[2:])
    assert one.sweep == other.sweep
    assert one.seeds == other.seeds


def test_the_page_says_what_the_code_does() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert f"up to {TOGETHER} at a time" in text
    assert f"At most {MOST_VARIANTS:,} variants" in text
    assert "@@" not in text
    assert "](sweeps.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
